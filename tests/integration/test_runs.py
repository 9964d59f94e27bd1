"""Runs: the queue, what limits them, what they train with, what becomes of candidates, and how people
are told."""

import os
import signal

import ctl
from conftest import NORMAL, ODD, check_problem, wait_for
from learner import ENDLESS, FAST, LEARN, is_running, normal_rows, start_learner, trainers

RUNS_A, RUNS_B = "/v1/models/a", "/v1/models/b"


def options_of(file):
    """What a model file says that it was trained with."""
    return ctl.succeed_json("inspect", file, "--json")["training"]["options"]


# ---- the queue ----


def test_one_run_at_a_time_and_a_queue_for_all_models(start_learner, model_file):
    learner = start_learner(models={name: {"file": model_file, **ENDLESS} for name in "ab"})
    runs = []
    for path in (RUNS_A, RUNS_B):
        rows = {"instances": normal_rows(400)}
        assert learner.request("POST", path + "/observe", rows).status == 200
        runs.append(learner.request("POST", path + "/retrain").headers["location"])

    def state(run):
        return learner.request("GET", run).json()["state"]

    wait_for(lambda: trainers(learner.process.pid), "the first trainer")
    assert [state(run) for run in runs] == ["running", "queued"]
    first = trainers(learner.process.pid)
    assert len(first) == 1
    assert learner.request("DELETE", runs[0]).status == 200
    wait_for(lambda: state(runs[1]) == "running", "the second run")
    assert state(runs[0]) == "cancelled"
    second = wait_for(lambda: trainers(learner.process.pid), "the second trainer")
    assert len(second) == 1 and second != first
    assert learner.request("DELETE", runs[1]).status == 200
    wait_for(lambda: state(runs[1]) == "cancelled", "the end")


def test_a_hanging_trainer_is_ended_after_retrain_max_time(start_learner):
    learner = start_learner({**ENDLESS, "retrain_max_time": "3s"})
    assert learner.observe(normal_rows(400)).status == 200
    run, trainer = learner.begin_run()
    os.kill(trainer, signal.SIGSTOP)  # which uses no CPU time either
    ended = learner.end_of(run)
    assert ended["state"] == "failed"
    assert ended["reason"] == "the trainer was not done after 3 s (retrain_max_time)"
    wait_for(lambda: not is_running(trainer), "the end of the trainer")
    assert learner.score({"features": NORMAL}).status == 200


def test_progress_is_in_the_api_and_the_metrics(start_learner):
    learner = start_learner(ENDLESS)
    progress = 'anomalyd_retrain_progress_ratio{model="web"}'
    assert learner.metrics()[progress] == 0
    assert learner.observe(normal_rows(400)).status == 200
    run, _ = learner.begin_run()
    assert 0 < learner.get(run)["progress"] < 1
    assert 0 < learner.metrics()[progress] < 1
    assert learner.request("DELETE", "/v1/models/web" + run).status == 200
    assert "progress" not in learner.end_of(run)
    assert learner.metrics()[progress] == 0


# ---- what they train with ----


def test_a_run_trains_what_the_live_version_says_unless_the_configuration_does(start_learner,
                                                                             model_file):
    said = options_of(model_file)
    assert said["epochs"] == "40" and said["preset"] == "best"
    learner = start_learner(LEARN)
    assert learner.observe(normal_rows(400)).status == 200
    assert options_of(learner.file_of(learner.train_version())) == said
    learner.write_config({"web": {"file": model_file, **LEARN, "epochs": "7"}})
    learner.reload("reloaded")
    assert options_of(learner.file_of(learner.train_version())) == {**said, "epochs": "7"}


def test_a_run_trims_if_the_configuration_or_the_live_version_says_so(start_learner):
    learner = start_learner({**FAST, "trim": "0.1"})
    assert learner.observe(normal_rows(400)).status == 200
    first = learner.train_version()
    training = ctl.succeed_json("inspect", learner.file_of(first), "--json")["training"]
    assert training["options"]["trim"] == "0.1"
    assert training["trimmed_rows"] == training["rows"] // 10
    assert learner.post(f"/versions/{first}/promote").status == 200
    for trim, said in [({}, "0.1"), ({"trim": "auto"}, "auto")]:
        learner.write_config({"web": {**FAST, **trim}})
        learner.reload("reloaded")
        assert options_of(learner.file_of(learner.train_version()))["trim"] == said


# ---- what becomes of candidates ----


def test_a_refused_candidate_keeps_its_numbers_and_its_file(start_learner):
    learner = start_learner(FAST)
    assert learner.observe(normal_rows(400)).status == 200  # half of them train: too few
    version = learner.train_version()
    run = learner.get("/runs")["runs"][0]
    assert run["state"] == "refused" and "1000" in run["reason"]
    assert run["comparison"] and run["version"] == version
    listed = {each["version"]: each for each in learner.get("/versions")["versions"]}
    assert listed[version]["state"] == "refused" and listed[version]["run"] == run["id"]
    assert listed[1]["state"] == "live"
    assert options_of(learner.file_of(version))["preset"] == "fast"
    assert learner.promote(version).status == 200  # a person may know better
    assert learner.score({"features": NORMAL}).json()["version"] == version


def test_stale_candidates_are_removed_at_the_start(start_learner):
    learner = start_learner(FAST)
    learner.stop()
    learner.candidate().write_bytes(b"half a candidate")
    learner.start()
    assert not learner.candidate().exists()
    assert learner.get("")["version"] == 1


# ---- what is learned from ----


def test_rows_of_the_old_features_go_when_the_features_change(start_learner):
    keys = {**LEARN, "min_rows": "1000", "features": "a, b"}
    learner = start_learner(models={"web": keys})
    rows = [{"a": i % 7, "b": i % 5} for i in range(50)]
    assert learner.observe(rows).status == 202
    assert learner.get("/buffer")["rows"] == 50
    learner.stop()
    learner.write_config({"web": {**keys, "features": "a, c"}})
    learner.start()
    assert "its features have changed" in learner.log()
    assert learner.get("/buffer")["rows"] == 0
    check_problem(learner.observe(rows), 422)
    assert learner.observe([{"a": 1, "c": 2}]).status == 202
    assert learner.get("/buffer")["rows"] == 1


def test_scored_rows_that_cannot_be_stored_are_dropped_and_counted(start_learner):
    learner = start_learner({**FAST, "learn": "auto", "sample_rate": "all"}, min_free="none")
    dropped = 'anomalyd_rows_dropped_total{model="web",reason="store"}'
    assert learner.metrics()[dropped] == 0
    away = learner.state.with_name("away")
    learner.state.rename(away)
    assert learner.score({"instances": normal_rows(400)}).status == 200
    wait_for(lambda: learner.metrics()[dropped] > 0, "rows that were dropped")
    away.rename(learner.state)
    assert learner.get("/buffer")["rows"] == 0


# ---- how people are told ----


def test_an_event_is_told_with_advice_by_the_api_the_journal_and_the_metrics(start_learner):
    learner = start_learner(FAST)
    told = 'anomalyd_events_total{model="web",kind="refused"}'
    assert learner.metrics()[told] == 0
    assert learner.observe(normal_rows(400)).status == 200
    learner.train_version()
    event = learner.get("/events")["events"][0]
    assert event["kind"] == "refused" and "kept for inspection" in event["advice"]
    assert "model web: refused: " + event["advice"] in learner.log()
    assert learner.metrics()[told] == 1


def test_an_incident_is_counted_when_it_opens_and_told_when_it_is_over(start_learner):
    learner = start_learner({**FAST, "learn": "auto", "sample_rate": "all"})
    told = 'anomalyd_events_total{model="web",kind="incident"}'
    assert learner.score({"instances": [ODD] * 100}).status == 200
    wait_for(lambda: "model web: incident: " in learner.log(), "the incident")
    count = learner.metrics()[told]
    assert count >= 1
    for seed in range(10):
        assert learner.score({"instances": normal_rows(100, seed)}).status == 200
    wait_for(lambda: "model web: incident is over" in learner.log(), "its end")
    assert learner.metrics()[told] == count
