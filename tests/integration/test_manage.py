"""anomalyctl status, models, versions, …: a person looks after a running daemon that learns."""

import json
import re
import sqlite3

import ctl
import numpy
import pytest
from conftest import Daemon, free_port, wait_for

LISTS = ["versions", "runs", "events", "audit"]
SIMPLE = ["retrain", "rollback", "freeze", "unfreeze", "rebaseline"]


class LearningDaemon(Daemon):
    """With a store in its folder."""

    def write_config(self, models, extra="", **server):
        (self.folder / "state").mkdir(exist_ok=True)
        storage = f"[storage]\ndirectory = {self.folder}/state\nmin_free = 1M\n"
        super().write_config(models, extra + storage, **server)


class Learner:
    """A daemon with a store; `web` has a file, `fresh` learns from nothing."""

    def __init__(self, folder):
        keys = {"preset": "fast", "buffer_rows": 5000, "sample_rate": "all"}
        models = {"web": {"file": ctl.train(folder), **keys}, "fresh": {"min_rows": 1000, **keys}}
        self.folder = folder
        server = {"threads": 2, "also": [f"unix:{folder}/http.sock"]}
        self.daemon = LearningDaemon(folder, server, models)
        self.url = f"http://127.0.0.1:{self.daemon.port}"

    def run(self, command, *arguments):
        return ctl.succeed(command, *arguments, "--url", self.url).stdout

    def json(self, command, *arguments):
        return json.loads(self.run(command, *arguments, "--json"))

    def fail(self, status, command, *arguments, **options):
        return ctl.fail(status, command, *arguments, "--url", self.url, **options)

    def get(self, path):
        return self.daemon.request("GET", path).body.decode()


@pytest.fixture(name="learner", scope="module")
def fixture_learner(tmp_path_factory):
    """For tests that leave it as it was; one that learns or trains takes its own."""
    learner = Learner(tmp_path_factory.mktemp("daemon"))
    yield learner
    learner.daemon.stop()


@pytest.fixture(name="own")
def fixture_own(tmp_path):
    learner = Learner(tmp_path)
    yield learner
    learner.daemon.stop()


@pytest.fixture(name="normal", scope="module")
def fixture_normal(tmp_path_factory):
    """1200 rows like those of the training."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    return ctl.write_csv(path, ctl.make_rows(1200, seed=3))


def cells(line):
    return re.split(" {2,}", line.strip())


# ---- what there is ----


def test_status_shows_each_model_and_what_it_has_learned_from(learner):
    lines = learner.run("status").splitlines()

    assert lines[0] == f"{learner.url}: ready"
    assert cells(lines[2]) == ["MODEL", "STATE", "VERSION", "ROWS", "NEEDED", "QUARANTINE"]
    assert cells(lines[3])[:2] == ["fresh", "learning"] and "1000" in lines[3]
    assert cells(lines[4])[:3] == ["web", "serving", "1"]


def test_status_as_json_holds_the_readiness_and_the_buffers(learner):
    found = learner.json("status")

    assert found["readiness"] == {"status": "ready"}
    fresh, web = found["models"]
    assert fresh["name"] == "fresh" and fresh["rows_needed"] == 1000
    assert web["state"] == "serving" and web["capacity"] == 5000 and web["quarantined"] == 0


def test_without_a_store_status_shows_the_models_and_lists_say_why_there_is_nothing(tmp_path):
    daemon = Daemon(tmp_path, {"threads": 2}, {"web": {"file": ctl.train(tmp_path)}})
    url = f"http://127.0.0.1:{daemon.port}"
    done = ctl.succeed("status", "--url", url)
    assert cells(done.stdout.splitlines()[3]) == ["web", "serving", "1"]
    assert "status 409: Learning is off" in ctl.fail(1, "versions", "web", "--url", url)
    daemon.stop()


def test_status_of_a_daemon_that_is_not_ready_fails_with_the_reasons(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_text("nonsense")
    daemon = Daemon(tmp_path, {"threads": 2}, {"web": {"file": broken}})
    url = f"http://127.0.0.1:{daemon.port}"
    done = ctl.run("status", "--url", url)

    assert done.returncode == 1 and not done.stderr
    assert done.stdout.startswith(f"{url}: not ready\n")
    assert "broken.safetensors" in done.stdout
    daemon.stop()


def test_models_and_versions_are_tables(learner):
    models = [cells(line) for line in learner.run("models").splitlines()]
    assert models == [["MODEL", "STATE", "VERSION"], ["fresh", "learning", "0"],
                      ["web", "serving", "1"]]

    titles, row = [cells(line) for line in learner.run("versions", "web").splitlines()]
    assert titles[:2] == ["VERSION", "STATE"]
    assert row[:3] == ["1", "live", "yes"] and row[4] == "file"


@pytest.mark.parametrize("command", LISTS)
def test_json_is_what_the_daemon_said(learner, command):
    said = learner.get(f"/v1/models/web/{command}")
    assert learner.run(command, "web", "--json") == said + "\n"
    assert learner.run("models", "--json") == learner.get("/v1/models") + "\n"


@pytest.mark.parametrize("command", LISTS)
def test_lists_fit_80_columns(learner, command):
    assert max(map(len, learner.run(command, "web").splitlines())) <= 80


# ---- observe ----


def test_observe_keeps_all_rows_in_batches_and_says_so(own, normal):
    assert own.run("observe", "web", "--data", normal) == "web: 1200 rows sent, 1200 kept, 0 late\n"
    assert json.loads(own.get("/v1/models/web/buffer"))["rows"] == 1200
    assert own.daemon.metrics()[
        'anomalyd_http_requests_total{route="/v1/models/{m}/observe",code="200"}'] == 3


def test_observe_matches_columns_by_name_and_takes_npy_and_standard_input(own, normal):
    rows = ctl.make_rows(10, seed=5)
    text = normal.read_text().replace("cpu", "x").replace("net", "cpu").replace("x", "net")
    shuffled = own.json("observe", "web", "--data", normal)
    assert shuffled == {"rows": 1200, "left_out": 0, "kept": 1200, "late": 0,
                        "answer": {"rows": 200}}
    numpy.save(own.folder / "rows.npy", numpy.array(rows, dtype="float32"))
    own.run("observe", "web", "--data", own.folder / "rows.npy")
    ctl.succeed("observe", "web", "--data", "-", "--url", own.url, input=text)
    assert json.loads(own.get("/v1/models/web/buffer"))["rows"] == 2410


def test_observe_leaves_out_what_is_labelled(own):
    data = ctl.write_incidents(own.folder / "labelled.csv", n_rows=700, first=100, n_broken=20)
    out = own.run("observe", "web", "--data", data, "--label-column", "label")

    assert out.splitlines() == ["web: 680 rows sent, 680 kept, 0 late",
                                "20 rows left out: their label is not 0"]
    assert json.loads(own.get("/v1/models/web/buffer"))["rows"] == 680


def test_observe_teaches_a_model_that_starts_from_nothing(own, normal):
    few = ctl.write_csv(own.folder / "few.csv", ctl.make_rows(600, seed=6))
    assert own.run("observe", "fresh", "--data", few).splitlines() == [
        "fresh: 600 rows sent",
        "It has 600 of the 1000 rows that its first version needs"]
    own.run("observe", "fresh", "--data", normal)
    wait_for(lambda: own.json("models")["models"][0]["state"] == "serving", "the first version")
    features = json.loads(own.get("/v1/models/fresh"))["features"]
    assert features == ctl.FEATURES


def test_observe_refuses_a_column_that_the_model_does_not_know(learner, tmp_path):
    data = ctl.write_csv(tmp_path / "odd.csv", [[1, 2]], names=["cpu", "dsk"])
    assert "dsk" in learner.fail(1, "observe", "web", "--data", data)
    assert json.loads(learner.get("/v1/models/web/buffer"))["rows"] == 0


def test_observe_sends_series_and_timestamp_in_the_order_of_the_file(own):
    rows = [("a", 10), ("a", 10), ("b", 10), ("", 10), ("a", 20.5)]
    lines = ["series,timestamp," + ",".join(ctl.FEATURES)]
    lines += [f"{series},{seconds},0,0,0,{i}" for i, (series, seconds) in enumerate(rows)]
    data = own.folder / "rows.csv"
    data.write_text("\n".join(lines) + "\n")
    assert own.run("observe", "web", "--data", data) == "web: 5 rows sent, 5 kept, 0 late\n"
    assert own.daemon.metrics()[
        'anomalyd_http_requests_total{route="/v1/models/{m}/observe",code="200"}'] == 4
    own.run("observe", "web", "--data", data, "--exclude", "timestamp,series")
    with sqlite3.connect(own.folder / "state" / "state.db") as database:
        kept = database.execute("SELECT series, time_us FROM rows ORDER BY number").fetchall()
    default = kept[3][0]
    assert kept[:5] == [("a", 10000000), ("a", 10000000), ("b", 10000000), (default, 10000000),
                        ("a", 20500000)]
    assert all(row[0] == default and row[1] > 10**15 for row in kept[5:])


def test_observe_names_the_rows_that_the_daemon_refuses(learner, tmp_path):
    data = ctl.write_csv(tmp_path / "rows.csv", ctl.make_rows(3))
    message = learner.fail(1, "observe", "none", "--data", data)
    assert message.startswith(f"{data}:2: and 2 rows after it: ")
    assert "status 404: There is no model" in message


# ---- what a person does ----


def test_retrain_waits_and_the_versions_can_be_switched(own, normal):
    own.run("observe", "web", "--data", normal)
    assert re.match(r"Run \d+ of web: (queued|running|refused|promoted)", own.run("retrain", "web"))
    run = own.json("retrain", "web", "--wait")
    assert run["state"] in ("promoted", "refused"), run

    row = cells(own.run("runs", "web").splitlines()[1])
    assert row[1] in ("promoted", "refused") and "request" in row
    newest = own.json("versions", "web")["versions"][-1]["version"]
    assert newest > 1
    assert own.run("promote", "web", newest) == f"Version {newest} of web answers now\n"
    assert own.json("rollback", "web")["version"] != newest
    assert own.daemon.metrics()['anomalyd_model_version{model="web"}'] != newest


def test_cancel_ends_a_run(own):
    own.daemon.write_config({"web": {"file": own.folder / "model.safetensors", "preset": "fast",
                                     "epochs": 1000000, "patience": 0, "sample_rate": "all"}})
    own.daemon.reload("reloaded")
    own.run("observe", "web", "--data",
            ctl.write_csv(own.folder / "many.csv", ctl.make_rows(1200, seed=3)))
    run = own.json("retrain", "web")["id"]
    wait_for(lambda: own.json("runs", "web")["runs"][0].get("progress", 0) > 0, "progress")
    assert re.match(rf"Run {run} of web: (running|cancelled)", own.run("cancel", "web", run))
    wait_for(lambda: own.json("runs", "web")["runs"][0]["state"] == "cancelled", "the end")
    assert f"status 409: Run {run} has ended" in own.fail(1, "cancel", "web", run)


def test_freeze_and_unfreeze_change_the_state(own):
    assert own.run("freeze", "web") == "web: frozen\n"
    assert own.json("status")["models"][1]["state"] == "frozen"
    assert own.json("unfreeze", "web") == {"model": "web", "state": "serving"}


def test_audit_lists_who_did_what(own):
    own.run("freeze", "web")
    own.run("promote", "web", 1)
    titles, *rows = [cells(line) for line in own.run("audit", "web").splitlines()]
    assert titles == ["TIME", "WHO", "ACT", "DETAIL"]
    assert [row[1:] for row in rows] == [["127.0.0.1", "promote", "version 1"],
                                         ["127.0.0.1", "freeze"]]


def test_rebaseline_pins_the_live_version(own):
    assert own.run("rebaseline", "web") == "web: serving\n"
    assert own.json("versions", "web")["versions"][0]["pinned"] is True


def test_reset_asks_for_yes_and_then_forgets_the_rows(own, normal):
    own.run("observe", "web", "--data", normal)
    assert own.fail(2, "reset", "web").endswith("give --yes to do it")
    assert json.loads(own.get("/v1/models/web/buffer"))["rows"] == 1200
    assert own.run("reset", "web", "--yes").startswith("web: ")
    assert json.loads(own.get("/v1/models/web/buffer"))["rows"] == 0


def test_an_incident_is_listed_with_advice_and_feedback_labels_it(own):
    for _ in range(12):
        own.daemon.score({"features": [0, 0, 90, 0]})

    def incidents():
        return [event["id"] for event in own.json("events", "web")["events"]
                if event["kind"] == "incident"]

    event = wait_for(incidents, "an incident")[0]
    lines = own.run("events", "web").splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("    ") and "feedback" in line for line in lines[1:])
    assert own.run("feedback", "web", event, "anomaly") == f"Event {event} of web: anomaly\n"
    labels = {event["id"]: event.get("label") for event in own.json("events", "web")["events"]}
    assert labels[event] == "anomaly"


def test_replay_teaches_nothing(own):
    data = ctl.write_csv(own.folder / "story.csv", ctl.make_rows(100), labels=["0"] * 100)
    own.run("replay", "--model", "web", "--data", data, "--label-column", "label")
    own.run("observe", "web", "--data", ctl.write_csv(own.folder / "one.csv", [[0, 0, 0, 0]]))
    assert json.loads(own.get("/v1/models/web/buffer"))["rows"] == 1  # all before it are stored


# ---- what goes wrong ----


@pytest.mark.parametrize("command", LISTS + SIMPLE)
def test_unknown_model_is_told_by_the_daemon(learner, command):
    message = learner.fail(1, command, "wbe")
    assert 'status 404: There is no model "wbe"' in message


def test_refusal_of_the_daemon_is_one_line(learner):
    assert "/v1/models/web/versions/77/promote: status 404: " in learner.fail(
        1, "promote", "web", 77)
    assert "status 4" in learner.fail(1, "rollback", "web")
    assert "/v1/models/web/feedback: status 404: " in learner.fail(
        1, "feedback", "web", 123456, "normal")


@pytest.mark.parametrize("command", ["status", "models",
                                     *(f"{name} web" for name in LISTS + SIMPLE)])
def test_daemon_that_does_not_run_is_told_plainly(command):
    url = f"http://127.0.0.1:{free_port()}"
    message = ctl.fail(1, *command.split(), "--url", url)
    assert message.startswith(f"{url}: cannot connect; is anomalyd running")


@pytest.mark.parametrize("arguments, text", [
    (["versions"], "versions: give MODEL; see anomalyctl versions --help"),
    (["promote", "web"], "promote: give VERSION; see anomalyctl promote --help"),
    (["promote", "web", "0"], "promote: 0: must be the number of a version"),
    (["promote", "web", "4294967296"], "must be the number of a version"),
    (["promote", "web", "new"], "promote: new: must be the number of a version"),
    (["promote", "web", "1", "2"], "promote: unexpected argument 2"),
    (["cancel", "web", "x"], "cancel: x: must be the number of a run; see anomalyctl runs web"),
    (["feedback", "web", "-1", "normal"], "feedback: unknown option -1"),
    (["feedback", "web", "x", "normal"], "feedback: x: must be the number of an event"),
    (["feedback", "web", "7"], "feedback: give normal|anomaly"),
    (["feedback", "web", "7", "good"], "feedback: good: must be normal or anomaly"),
    (["freeze", "../models"], "freeze: ../models: is no name of a model"),
    (["runs", ""], 'runs: "": is no name of a model'),
    (["observe", "web"], "observe: give --data"),
    (["status", "--url", "ftp://x"], "ftp://x: is no address of anomalyd"),
])
def test_wrong_usage_is_status_2(arguments, text):
    assert text in ctl.fail(2, *arguments)


def test_a_socket_serves_as_well(learner):
    url = f"unix:{learner.folder}/http.sock"
    assert ctl.succeed("status", "--url", url).stdout.startswith(f"{url}: ready\n")


def test_help_lists_the_commands_and_each_one_explains_itself():
    text = ctl.succeed("--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    for command in ["status", "models", "observe", "cancel", "promote", "diff", "feedback", "reset", *LISTS, *SIMPLE]:
        assert f"\n  {command} " in text
        done = ctl.succeed(command, "--help")
        assert done.stdout.startswith(f"Usage: anomalyctl {command} ")
        assert "--json" in done.stdout and "--url" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 100
