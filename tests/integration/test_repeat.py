"""anomalyctl incident export and replay --incident: the same scores, bit for bit."""

import json

import ctl
import pytest
from conftest import FEATURES, NORMAL, ODD
from test_flight import export, rough_rows
from test_incidents import start  # noqa: F401 a fixture
from test_inputs import PREPARE, features_of, make_rows, train
from test_learning_api import MODEL, QUICK


@pytest.fixture(name="story")
def fixture_story(start, tmp_path):
    """A daemon with one incident, its export and the model file of its version."""
    daemon = start()
    daemon.send(rough_rows(80), series="db")
    incident = daemon.alarm("db", n=6)
    daemon.send([[*ODD[:-1], None]] * 2, series="db")
    daemon.end("db")
    daemon.send(rough_rows(10, seed=3), series="db")
    file, model = tmp_path / "incident.ndjson", tmp_path / "version.safetensors"
    daemon.ctl("incident", "export", incident, "--model", "web", "--output", file, "--with-model",
               model)
    return daemon, incident, file, model


def url(daemon):
    return "--url", f"http://127.0.0.1:{daemon.port}"


def edit(file, line, **members):
    """One line of an export (0: the header) with other members."""
    lines = file.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **members})
    file.write_text("\n".join(lines) + "\n")


def train_other(folder):
    """A model of the same features."""
    rows, file = folder / "rows.csv", folder / "other.safetensors"
    lines = [FEATURES, *rough_rows(500, seed=9)]
    rows.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    ctl.succeed("train", "--data", rows, "--output", file, "--preset", "fast", "--epochs", 20)
    return file


# ---- export ----


def test_an_export_is_what_the_daemon_gives(story):
    daemon, incident, file, model = story
    reply = daemon.request("GET", f"{MODEL}/incidents/{incident}/rows")
    assert file.read_bytes() == reply.body
    assert ctl.succeed("incident", "export", incident, *url(daemon)).stdout == reply.body.decode()
    assert model.read_bytes() == daemon.request("GET", f"{MODEL}/versions/1/file").body
    header, rows = export(daemon, incident)
    assert len(rows) == 64 + 6 - 2 + 2 + 5 + 10 and header["incident"]["rows"] == 6 + 2 + 5


def test_the_model_of_an_incident_is_found(story):
    daemon, incident, _, _ = story
    assert daemon.ctl("incident", "export", incident).startswith("{\"anomalyd_incident\":1,")
    assert ctl.fail(1, "incident", "export", incident + 7, *url(daemon)) == (
        f"incident: no model has an incident {incident + 7}; see anomalyctl incidents MODEL")
    told = ctl.fail(1, "incident", "export", 99, "--model", "web", *url(daemon))
    assert "no incident 99" in told


def test_json_says_what_was_written(story, tmp_path):
    daemon, incident, _, _ = story
    told = ctl.succeed_json("incident", "export", incident, "--json", "--output", tmp_path / "x",
                            *url(daemon))
    assert told == {"incident": incident, "model": "web", "version": 1, "file": f"{tmp_path}/x"}


@pytest.mark.parametrize("arguments, told", [
    (["import", 5], "incident: import: must be export"),
    (["export", "x"], "incident: x: must be the number of an incident"),
    (["export", 0], "incident: 0: must be the number of an incident"),
    (["export", 5, "--model", "../x"], "incident: ../x: is no name of a model"),
    (["export"], "incident: give ID"),
])
def test_wrong_usage_of_export_is_told(arguments, told):
    assert ctl.fail(2, "incident", *arguments).startswith(told)


def test_a_longer_incident_is_said_to_be_cut(start, tmp_path):
    daemon = start()
    incident = daemon.alarm("db", n=2100)
    done = ctl.succeed("incident", "export", incident, "--output", tmp_path / "rows", *url(daemon))
    assert "it is longer, " in done.stderr and "judged by version 1" in done.stdout


# ---- replay ----


def test_a_replay_says_the_same_offline(story):
    _, incident, file, model = story
    done = ctl.succeed("replay", "--incident", file, "--model", model)
    assert done.stdout == f"Incident {incident} of web: 85 of 85 rows are the same bit for bit\n"
    assert not done.stderr
    with file.open() as export_file:
        piped = ctl.succeed("replay", "--incident", "-", "--model", model, "--json",
                            stdin=export_file)
    assert json.loads(piped.stdout) == {"model": "web", "incident": incident, "rows": 85,
                                        "judged": 85, "repeated": 85, "differences": []}


def test_a_replay_says_the_same_online_and_leaves_no_trace(story):
    daemon, incident, file, _ = story
    before = daemon.metrics(), daemon.get("events?kind=verdict"), daemon.incidents()
    for model in ([], ["--model", "web"]):
        done = ctl.succeed("replay", "--incident", file, *model, *url(daemon))
        assert f"Incident {incident} of web: 85 of 85 rows" in done.stdout and not done.stderr
    after = daemon.metrics(), daemon.get("events?kind=verdict"), daemon.incidents()
    assert before[1:] == after[1:]
    assert not any(before[0][name] != after[0][name] for name in before[0]
                   if name.startswith(("anomalyd_rows", "anomalyd_anomalies", "anomalyd_score")))


def test_an_incident_of_several_versions_is_replayed_by_each(start, tmp_path):
    daemon = start()
    other = train_other(tmp_path)
    incident = daemon.alarm("db", n=20)
    reply = daemon.request("PUT", MODEL, other.read_bytes(),
                           {"Content-Type": "application/octet-stream"})
    assert reply.status == 200
    daemon.send([ODD] * 10, series="db")
    file, model = tmp_path / "incident.ndjson", tmp_path / "most.safetensors"
    daemon.ctl("incident", "export", incident, "--output", file, "--with-model", model)
    assert {row["version"] for row in export(daemon, incident)[1]} == {1, 2}
    done = ctl.succeed("replay", "--incident", file, *url(daemon))
    assert "30 of 30 rows are the same bit for bit" in done.stdout
    done = ctl.succeed("replay", "--incident", file, "--model", model)
    assert "20 of 20 rows are the same" in done.stdout
    assert "10 rows are not compared: the files of the versions" in done.stderr
    done = ctl.succeed("replay", "--incident", file, "--model", other)
    assert "10 of 10 rows are the same" in done.stdout


@pytest.mark.parametrize("context", [[], ["--context", 4]])
def test_prepared_inputs_are_replayed_as_the_model_saw_them(start, tmp_path, context):
    model = train(tmp_path, make_rows(500), "--prepare", PREPARE, *context)
    daemon = start({"file": model, "false_alarm_rate": 0.01})
    rows = [row for row in make_rows(40, seed=2) if row["series"] == "a"]
    for row in rows[:30]:
        daemon.send([features_of(row)], series="a")
    for row in rows[30:]:
        daemon.send([{**features_of(row), "load": 50, "state": "never seen"}], series="a")
    incident, file = daemon.incidents()[0]["id"], tmp_path / "incident.ndjson"
    daemon.ctl("incident", "export", incident, "--output", file)
    n = len(file.read_text().splitlines()) - 1
    assert n == 40
    for way in (["--model", model], url(daemon)):
        done = ctl.succeed("replay", "--incident", file, *way)
        assert done.stdout == f"Incident {incident} of web: 40 of 40 rows are the same bit for bit\n"


def with_change(amount, feature=4):
    row = [*NORMAL]
    row[feature] += amount
    return row


@pytest.fixture(name="lowered")
def fixture_lowered(start, model_file, tmp_path):
    """An incident in which deviations were set aside by the model file's word, by that of the
    configuration, and after a reload by another one: the daemon, the export, the model file."""
    model = tmp_path / "rules.safetensors"
    ctl.succeed("train", "--data", model_file.with_name("normal.csv"), "--output", model,
                "--epochs", 40, "--direction", "temp=above")
    keys = {**QUICK, "learn": "off", "file": model, "false_alarm_rate": 0.01, "alarm": "1 of 1",
            "alarm_clear": "50 below 0.8"}
    daemon = start({**keys, "tolerance": "temp=8"})
    rows = [NORMAL, with_change(-20), with_change(5), with_change(20), [ODD[0], *with_change(-20)[1:]]]
    daemon.send(rows, series="db")
    for changed in ({"tolerance": "temp=40"}, {"direction": "none"}):
        daemon.write_config({"web": {**keys, **changed}})
        daemon.reload("reloaded")
        daemon.send(rows, series="db")
    file = tmp_path / "incident.ndjson"
    daemon.ctl("incident", "export", daemon.incidents()[0]["id"], "--output", file)
    return daemon, file, model


def test_an_export_has_the_rules_that_each_row_was_judged_by(lowered):
    _, file, _ = lowered
    header, *rows = map(json.loads, file.read_text().splitlines())
    above = {"temp": "above"}
    assert header["rules"] == [{"direction": above, "tolerance": {"temp": "8"}},
                               {"direction": above, "tolerance": {"temp": "40"}}]
    assert [row.get("rules") for row in rows] == [1] * 5 + [2] * 5 + [None] * 5
    aside = ["set_aside" in row for row in rows]
    assert aside == [False, True, True, False, True, False, True, True, True, True] + [False] * 5
    assert [row["anomaly"] for row in rows[:10]] == [False] * 3 + [True] * 2 + [False] * 4 + [True]


def test_a_replay_sets_the_same_deviations_aside(lowered):
    daemon, file, model = lowered
    for way in (["--model", model], url(daemon)):
        done = ctl.succeed("replay", "--incident", file, *way)
        assert "15 of 15 rows are the same bit for bit" in done.stdout and not done.stderr


def test_other_rules_are_found(lowered):
    daemon, file, model = lowered
    header = json.loads(file.read_text().splitlines()[0])
    edit(file, 0, rules=[{**header["rules"][0], "direction": {"temp": "below"}}, header["rules"][1]])
    for way in (["--model", model], url(daemon)):
        done = ctl.run("replay", "--incident", file, *way)
        assert done.returncode == 1
        lines = [line.split(":")[1] for line in done.stdout.splitlines()[:-1]]
        assert lines == ["3", "5", "6"]  # what rose does not matter now, what fell does
        assert "set_aside 1 is 0 now" in done.stdout and "set_aside 0 is 1 now" in done.stdout
    edit(file, 0, rules=header["rules"])
    edit(file, 7, rules=1)
    told = ctl.run("replay", "--incident", file, "--model", model, "--json")
    assert told.returncode == 0  # by these it is set aside too
    edit(file, 9, rules=1)
    told = json.loads(ctl.run("replay", "--incident", file, "--model", model, "--json").stdout)
    assert [each["line"] for each in told["differences"]] == [10]
    assert told["differences"][0]["was"]["set_aside"] and "set_aside" not in told["differences"][0]["is"]


@pytest.mark.parametrize("line, members, told", [
    (0, {"rules": {}}, "1: \"rules\" must be a list of at most 1000"),
    (0, {"rules": [{}] * 1001}, "1: \"rules\" must be a list of at most 1000"),
    (0, {"rules": [{}, 5]}, "1: rules 2 must say direction and tolerance as a model file does"),
    (0, {"rules": [{"direction": {"temp": "up"}}, {}]}, "1: rules 1 must say direction and"),
    (0, {"rules": [{"direction": {"tmp": "above"}}, {}]},
     "1: rules 1: direction: there is no feature tmp; did you mean temp?"),
    (0, {"rules": [{}]}, "7: \"rules\" is 2, but the first line has 1 of them"),
    (1, {"rules": 0}, "2: \"rules\" must be a whole number above 0"),
    (1, {"rules": "1"}, "2: \"rules\" must be a whole number above 0"),
    (1, {"rules": 2**33 + 1}, "2: \"rules\" is 8589934593, but the first line has 2 of them"),
])
def test_bad_rules_are_refused_with_their_line(lowered, line, members, told):
    _, file, model = lowered
    edit(file, line, **members)
    assert ctl.fail(1, "replay", "--incident", file, "--model", model).startswith(f"{file}:{told}")


def test_rows_of_a_version_that_is_gone_are_counted(story):
    daemon, _, file, _ = story
    for line in range(1, 11):
        edit(file, line, version=9)
    done = ctl.succeed("replay", "--incident", file, *url(daemon))
    assert "75 of 75 rows are the same" in done.stdout
    assert "10 rows are not compared" in done.stderr and "keep_versions" in done.stderr
    told = json.loads(ctl.succeed("replay", "--incident", file, "--json", *url(daemon)).stdout)
    assert (told["rows"], told["judged"], told["repeated"]) == (85, 75, 75)
    for line in range(11, 86):
        edit(file, line, version=9)
    assert "no version 9" in ctl.fail(1, "replay", "--incident", file, *url(daemon))


def test_what_has_changed_is_told_row_by_row(story):
    daemon, incident, file, model = story
    line = json.loads(file.read_text().splitlines()[70])
    edit(file, 70, score=line["score"] * (1 + 2.3e-16))
    edit(file, 3, p_value=0.5, anomaly=True)
    done = ctl.run("replay", "--incident", file, "--model", model)
    assert done.returncode == 1
    first, second, last = done.stdout.splitlines()
    assert first.startswith(f"{file}:4: p_value 0.5 is ")
    assert first.endswith(", anomaly 1 is 0 now")
    assert second.startswith(f"{file}:71: score ") and " is " in second and "p_value" not in second
    assert last == f"Incident {incident} of web: 83 of 85 rows are the same bit for bit"
    assert done.stderr == f"anomalyctl: {file}: 2 of 85 rows are not the same\n"
    done = ctl.run("replay", "--incident", file, "--json", *url(daemon))
    assert done.returncode == 1
    told = json.loads(done.stdout)["differences"]
    assert [each["line"] for each in told] == [4, 71]
    assert told[1]["is"]["score"] == line["score"] != told[1]["was"]["score"]


def test_one_bit_of_a_value_is_enough(story):
    _, _, file, model = story
    values = json.loads(file.read_text().splitlines()[66])["values"]
    values[0] *= 1 + 2**-23
    edit(file, 66, values=values)
    assert ctl.run("replay", "--incident", file, "--model", model).returncode == 1


def test_another_model_is_warned_of(story, tmp_path):
    _, _, file, _ = story
    other = train_other(tmp_path)
    done = ctl.run("replay", "--incident", file, "--model", other)
    assert done.returncode == 1 and "85 of 85 rows are not the same" in done.stderr
    assert f"{other}: is not the file of a version that judged these rows" in done.stderr


def test_another_machine_is_warned_of(story):
    _, _, file, model = story
    edit(file, 0, kernel="Z80 none")
    assert not ctl.succeed("replay", "--incident", file, "--model", model).stderr
    edit(file, 3, score=1.5)
    done = ctl.run("replay", "--incident", file, "--model", model)
    assert "the daemon did with Z80 none: last digits may differ" in done.stderr


# ---- hostile exports ----


@pytest.mark.parametrize("line, members, told", [
    (0, {"anomalyd_incident": 2}, "1: is of format 2, and this anomalyctl reads up to 1"),
    (0, {"anomalyd_incident": "1"}, "1: \"anomalyd_incident\" must be a whole number above 0"),
    (0, {"rows": 84}, "86: ends here with 85 rows, but the first line says 84"),
    (0, {"rows": 0}, "1: \"rows\" must be a whole number above 0"),
    (0, {"features": []}, "1: \"model\" and \"kernel\" must be texts, and \"features\" a list"),
    (0, {"features": FEATURES[:-1] + [None]}, "1: \"model\" and \"kernel\" must be texts"),
    (0, {"features": FEATURES[:-1] + ["x"]}, "1: feature 5 is x, but that of "),
    (0, {"model": 5}, "1: \"model\" and \"kernel\" must be texts"),
    (0, {"incident": []}, "1: \"id\" must be a whole number above 0"),
    (3, {"values": [1, 2]}, "4: \"values\" must be a list of 6 values, as in the rows before it"),
    (1, {"values": [1, 2]}, "3: \"values\" must be a list of 2 values, as in the rows before it"),
    (1, {"values": []}, "2: \"values\" must be a list of 1 to 1000000 values"),
    (3, {"values": {}}, "4: \"values\" must be a list of 1 to 1000000 values"),
    (3, {"values": [1e39, 1, 1, 1, 1, 1]}, "4: value 0 must be null or a number"),
    (3, {"values": ["1", 1, 1, 1, 1, 1]}, "4: value 0 must be null or a number"),
    (3, {"version": 0}, "4: \"version\" must be a whole number above 0"),
    (3, {"version": 1.5}, "4: \"version\" must be a whole number above 0"),
    (3, {"version": 2**40}, "4: \"version\" must be a whole number above 0"),
    (3, {"threshold": 0}, "4: \"threshold\" must be a number above 0"),
    (3, {"score": None}, "4: \"score\" must be a number, not below 0"),
    (3, {"reconstruction_error": -1}, "4: \"reconstruction_error\" must be a number, not below"),
    (3, {"p_value": 1.1}, "4: \"p_value\" must be a number from 0 to 1"),
    (3, {"anomaly": 1}, "4: \"anomaly\" must be true or false"),
])
def test_a_bad_export_is_refused_with_its_line(story, line, members, told):
    _, _, file, model = story
    edit(file, line, **members)
    assert ctl.fail(1, "replay", "--incident", file, "--model", model).startswith(f"{file}:{told}")


@pytest.mark.parametrize("content, told", [
    (b"", ": is empty"),
    (b"\n", ":1: is no JSON object"),
    (b"timestamp,cpu\n1,2\n", ":1: is no JSON object"),
    (b"[1]\n", ":1: must be a JSON object"),
    (b"{}\n", ":1: is no export of an incident; make one with anomalyctl incident export ID"),
    (b"{\"a\":1,\"a\":2}\n", ":1: is no JSON object: duplicate"),
    (b"{\"anomalyd_incident\":1e999}\n", ":1: is no JSON object: real number overflow"),
    (b"[" * 100000, ":1: is no JSON object"),
    (bytes(range(256)), ":1: is no JSON object"),
])
def test_what_is_no_export_is_refused(tmp_path, content, told):
    file = tmp_path / "incident.ndjson"
    file.write_bytes(content)
    assert ctl.fail(1, "replay", "--incident", file).startswith(f"{file}{told}")


def test_rows_of_another_width_are_refused(story):
    _, _, file, model = story
    for line in range(1, 86):
        edit(file, line, values=[1, 2])
    told = ctl.fail(1, "replay", "--incident", file, "--model", model)
    assert told == f"{file}:2: has 2 values, but {model} takes 6"


def test_a_cut_export_is_refused(story):
    _, _, file, model = story
    data = file.read_bytes()
    lines = data.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:40]))
    told = ctl.fail(1, "replay", "--incident", file, "--model", model)
    assert told.startswith(f"{file}:40: ends here with 39 rows, but the first line says 85")
    file.write_bytes(data[:-20])
    assert ctl.fail(1, "replay", "--incident", file, "--model", model).startswith(f"{file}:86: is no")
    edit_model = json.loads(lines[0])
    edit_model["model"] = "../../etc"
    file.write_bytes(json.dumps(edit_model).encode() + b"\n" + b"".join(lines[1:]))
    assert ctl.fail(1, "replay", "--incident", file) == f"{file}:1: \"model\" is no name of a model"


def test_wrong_usage_of_replay_is_told(story):
    _, _, file, _ = story
    assert ctl.fail(2, "replay", "--incident", file, "--data", "x.csv").startswith(
        "replay: --incident takes no --data, --label-column or --exclude; see")
    assert ctl.fail(2, "replay", "--data", "x.csv").startswith("replay: give --model; see")
    assert "No such file" in ctl.fail(1, "replay", "--incident", file, "--model", "./nothing")
    assert "cannot connect" in ctl.fail(1, "replay", "--incident", file, "--url",
                                        "http://127.0.0.1:1")
