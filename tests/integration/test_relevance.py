"""Which deviations matter: above or below what was expected, and from which size on; what does not
matter is set aside, offline and online, by the model file's word or the configuration's."""

import json
import random
import subprocess

import pytest

from conftest import ANOMALYD, FEATURES, NORMAL, wait_for
from ctl import fail, succeed, succeed_json
from learner import FAST, normal_rows, start_learner

CAUSE = FEATURES[4]  # hangs together with no other


def with_change(amount, feature=4):
    row = list(NORMAL)
    row[feature] += amount
    return row


def check_config(config):
    done = subprocess.run([ANOMALYD, "--check-config", "--config", config], capture_output=True,
                          encoding="utf-8", check=False)
    assert done.returncode == 78
    return done.stderr.splitlines()


def csv_of(tmp_path, rows, name="rows.csv"):
    path = tmp_path / name
    path.write_text("\n".join([",".join(FEATURES), *(",".join(map(repr, row)) for row in rows)]) + "\n")
    return path


def score(model, data, *options):
    out = succeed("score", "--model", model, "--data", data, "--format", "ndjson", *options).stdout
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def data(model_file):
    return model_file.with_name("normal.csv")


@pytest.fixture(scope="module")
def train(data, tmp_path_factory):
    """train(options): like model_file."""
    def train_with(*options):
        model = tmp_path_factory.mktemp("model") / "web.safetensors"
        succeed("train", "--data", data, "--output", model, "--false-alarm-rate", "0.05",
                "--epochs", "40", *options)
        return model
    return train_with


@pytest.fixture(scope="module")
def above(train):
    return train("--direction", f"{CAUSE}=above", "--tolerance", f"{FEATURES[0]}=50%")


def test_a_fall_is_no_anomaly_where_only_the_rise_matters(above, model_file, tmp_path):
    rows = csv_of(tmp_path, [with_change(-5), with_change(5), NORMAL])
    plain, lowered = score(model_file, rows), score(above, rows)
    assert [verdict["anomaly"] for verdict in plain] == [True, True, False]
    assert [verdict["anomaly"] for verdict in lowered] == [False, True, False]
    assert lowered[0]["set_aside"] == [CAUSE]
    assert lowered[0]["score"] <= 1 and lowered[0]["p_value"] > plain[0]["p_value"]
    for i in (1, 2):  # nothing was set aside: all is as it was
        assert lowered[i] == plain[i]


def test_what_is_set_aside_has_no_share_in_a_row_that_stays_an_anomaly(above, tmp_path):
    row = with_change(-5)
    row[3] += 20
    verdict, = score(above, csv_of(tmp_path, [row]), "--explain", len(FEATURES), "--detail")
    assert verdict["anomaly"] and verdict["set_aside"] == [CAUSE]
    parts = {part["feature"]: part for part in verdict["contributions"]}
    assert parts[CAUSE]["share"] == 0 and parts[CAUSE]["value"] == row[4]
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1)
    assert verdict["contributions"][0]["feature"] == FEATURES[3]
    assert CAUSE not in verdict["summary"]
    assert CAUSE not in verdict["counterfactual"]["features"]


def test_a_deviation_below_the_tolerance_is_set_aside(train, tmp_path):
    model = train("--tolerance", f"{CAUSE}=3")
    verdicts = score(model, csv_of(tmp_path, [with_change(2.5), with_change(-2.5), with_change(5)]))
    assert [verdict["anomaly"] for verdict in verdicts] == [False, False, True]


def test_evaluate_counts_the_same_verdicts(above, model_file, tmp_path):
    rows = csv_of(tmp_path, [with_change(-5)] * 3 + [with_change(5)] * 2)
    lines = rows.read_text().splitlines()
    labels = ["label", "0", "0", "0", "1", "1"]
    rows.write_text("\n".join(f"{line},{label}" for line, label in zip(lines, labels)) + "\n")
    found = {model: succeed_json("evaluate", "--model", model, "--data", rows, "--label-column",
                                 "label", "--json") for model in (above, model_file)}
    assert found[above]["false_positive_rate"] == 0 and found[above]["recall"] == 1
    assert found[model_file]["false_positive_rate"] == 1


def test_the_daemon_judges_as_the_command_line_does(start_daemon, above, tmp_path):
    daemon = start_daemon({"web": {"file": above}})
    rows = [with_change(-5), with_change(5), NORMAL]
    rows.append([value - 40 * (i == 4) + 20 * (i == 3) for i, value in enumerate(NORMAL)])
    offline = score(above, csv_of(tmp_path, rows), "--explain", len(FEATURES), "--independent-rows")
    online = daemon.score({"instances": rows, "series": None, "explain": "all",
                           "top": len(FEATURES)}).json()["results"]
    for i, verdict in enumerate(online):
        verdict.pop("event", None)
        offline[i].pop("row"), offline[i].pop("threshold")
        assert verdict == offline[i]


def test_a_lowered_verdict_says_so_also_where_nothing_is_explained(start_daemon, above):
    daemon = start_daemon({"web": {"file": above}})
    verdict = daemon.score({"features": with_change(-5), "explain": "none"}).json()
    assert not verdict["anomaly"] and verdict["set_aside"] == [CAUSE]
    assert "contributions" not in verdict
    rows = [with_change(-5), with_change(9), with_change(-5), with_change(9)]
    results = daemon.score({"instances": rows, "series": "s"}).json()["results"]
    assert ["contributions" in result for result in results] == [False, True] * 2
    alone = [daemon.score({"features": row, "series": "t"}).json() for row in rows]
    assert [one.get("contributions") for one in alone] == \
        [result.get("contributions") for result in results]


def test_the_configuration_goes_before_the_model_file(start_daemon, above):
    daemon = start_daemon({"plain": {"file": above},
                           "all": {"file": above, "direction": "none"},
                           "below": {"file": above, "direction": f"{CAUSE} = below"}})
    def flags(model):
        reply = daemon.request("POST", f"/v1/models/{model}/score",
                               {"instances": [with_change(-5), with_change(5)]})
        results = reply.json()["results"]
        return [result["anomaly"] for result in results]
    assert flags("plain") == [False, True]
    assert flags("all") == [True, True]
    assert flags("below") == [True, False]


def test_a_reload_changes_which_deviations_matter(start_daemon, model_file):
    daemon = start_daemon({"web": {"file": model_file}})
    assert daemon.score({"features": with_change(-5)}).json()["anomaly"]
    daemon.write_config({"web": {"file": model_file, "direction": f"{CAUSE}=above"}})
    daemon.reload("reloaded")
    assert not daemon.score({"features": with_change(-5)}).json()["anomaly"]


def test_inspect_and_a_retraining_have_what_was_asked_for(above, start_learner):
    options = succeed_json("inspect", above, "--json")["training"]["options"]
    assert options["direction"] == f"{CAUSE}=above"
    assert options["tolerance"] == f"{FEATURES[0]}=50%"
    assert f"--direction {CAUSE}=above" in succeed("inspect", above).stdout

    learner = start_learner({**FAST, "file": above, "tolerance": f"{CAUSE}=3, {FEATURES[1]}=1%"})
    learner.observe(normal_rows(400))
    learner.train_version()
    again = succeed_json("inspect", learner.file_of(2), "--json")["training"]["options"]
    assert again["direction"] == f"{CAUSE}=above"  # the file's
    assert again["tolerance"] == f"{CAUSE}=3,{FEATURES[1]}=1%"  # the configuration's
    assert not learner.score({"features": with_change(-5)}).json()["anomaly"]


def test_rows_set_aside_open_no_incident(start_learner, above):
    keys = {"file": above, "learn": "auto", "sample_rate": "all", "retrain_rows": "never",
            "alarm": "3 of 5"}
    learner = start_learner(keys)
    for _ in range(20):
        assert learner.post("/score", {"features": with_change(-5), "series": "s"}).status == 200
    assert learner.get("/incidents")["incidents"] == []
    for _ in range(5):
        learner.post("/score", {"features": with_change(5), "series": "s"})
    wait_for(lambda: learner.get("/incidents")["incidents"], "the incident")


def test_wrong_words_and_unknown_features_are_told(train, data, tmp_path):
    output = tmp_path / "web.safetensors"
    def refuse(*options, status=1):
        return fail(status, "train", "--data", data, "--output", output, "--epochs", 1, *options)
    assert refuse("--direction", f"{CAUSE}=up", status=2) == (
        f"train: --direction {CAUSE}=up: must say above, below or both of each feature, as in "
        f"cpu=above,memory=below; {CAUSE}=up does not")
    assert refuse("--tolerance", f"{CAUSE}=5x", status=2).endswith(f"; {CAUSE}=5x does not")
    near = refuse("--tolerance", f"{CAUSE}x=5")
    assert near.endswith(f"tolerance: there is no feature {CAUSE}x; did you mean {CAUSE}?")
    assert not output.exists()


def test_the_configuration_is_refused_with_its_line(start_daemon, model_file, tmp_path):
    config = tmp_path / "a.conf"
    config.write_text(f"[model a]\nfile = {model_file}\ndirection = {CAUSE}=up\n"
                      f"tolerance = {CAUSE}\n")
    errors = check_config(config)
    assert errors[0].startswith(f"{config}:3: direction: {CAUSE}=up must say above, below or both")
    assert errors[1].startswith(f"{config}:4: tolerance: {CAUSE} must give each feature a number")
    config.write_text(f"[model a]\nfile = {model_file}\nfeatures = {', '.join(FEATURES)}\n"
                      f"tolerance = {CAUSE}x=5\n")
    assert check_config(config)[0] == \
        f"{config}:4: tolerance: there is no feature {CAUSE}x; did you mean {CAUSE}?"

    daemon = start_daemon({"web": {"file": model_file}})
    daemon.write_config({"web": {"file": model_file, "direction": f"{CAUSE}x=above"}})
    said = daemon.reload("reload failed")
    assert f"there is no feature {CAUSE}x; did you mean {CAUSE}?" in said
    assert daemon.score({"features": with_change(-5)}).json()["anomaly"]


def test_an_incident_blames_nothing_on_what_does_not_matter(start_learner, above):
    learner = start_learner({"file": above, "learn": "off", "alarm": "3 of 5"})
    row = with_change(-5)
    row[3] += 20
    for _ in range(5):
        learner.post("/score", {"features": row, "series": "s"})
    incident, = wait_for(lambda: learner.get("/incidents")["incidents"], "the incident")
    assert incident["reason"].startswith(FEATURES[3]) and CAUSE not in incident["reason"]


def test_of_prepared_inputs_the_users_values_decide(tmp_path):
    """latency is seen as its logarithm, requests as a rate, and both over three rows."""
    chance = random.Random(4)
    def rows_of(n, change=lambda i, latency, rate: (latency, rate)):
        rows, total = [], 1000
        for i in range(n):
            latency, rate = change(i, 100 + chance.gauss(0, 5), 50 + chance.gauss(0, 2))
            total += 10 * rate
            rows.append((1_700_000_000 + 10 * i, round(latency, 3), round(total, 3), chance.gauss(0, 1)))
        return rows
    def write(name, rows):
        path = tmp_path / name
        path.write_text("\n".join(["timestamp,latency,requests,other",
                                  *(",".join(map(str, row)) for row in rows)]) + "\n")
        return path
    def train(name, *options):
        succeed("train", "--data", write("normal.csv", rows_of(800)), "--output", tmp_path / name,
                "--prepare", "latency=log1p,requests=rate", "--context", 3, "--epochs", 20,
                "--false-alarm-rate", 0.01, *options)
        return tmp_path / name
    plain = train("plain.safetensors")
    model = train("model.safetensors", "--direction", "requests=above", "--tolerance", "latency=100")
    def judge(model, change):
        return score(model, write("rows.csv", rows_of(60, change)))[59]
    def flags(model, latency=0, rate=0):
        late = lambda i, a, b: (a + latency * (i >= 56), b + rate * (i >= 56))
        return judge(model, late)
    assert flags(plain, latency=80)["anomaly"] and flags(plain, rate=-45)["anomaly"]
    lowered = flags(model, latency=80)
    assert not lowered["anomaly"] and lowered["set_aside"] == ["latency"]
    assert flags(model, latency=300)["anomaly"]
    lowered = flags(model, rate=-45)
    assert not lowered["anomaly"] and lowered["set_aside"] == ["requests"]
    assert flags(model, rate=60)["anomaly"]
    said = fail(1, "train", "--data", write("normal.csv", rows_of(100)), "--output",
                tmp_path / "bad.safetensors", "--prepare", "timestamp=hour-of-day", "--direction",
                "hour-of-day=above")
    assert "hour-of-day is prepared as hour-of-day, of which nothing is above or below" in said
