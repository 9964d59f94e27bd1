"""What people do to a model that learns, and what becomes of all that is under way."""

import shutil

import pytest
from conftest import ODD, check_problem, wait_for
from learner import ENDLESS, FAST, is_running, normal_rows, start_learner

FIRST = {**ENDLESS, "retrain_min_interval": "none", "retrain_max_time": "1s"}


def runs_of(learner):
    return learner.get("/runs")["runs"]


def events_of(learner, kind):
    return [event for event in learner.get("/events")["events"] if event["kind"] == kind]


def refused_run(learner):
    """The run, which has too few rows."""
    location = learner.post("/retrain").headers["location"]
    return learner.end_of(location.removeprefix("/v1/models/web"))


# ---- runs ----


@pytest.mark.parametrize("act, reason", [("freeze", "frozen"), ("reset", "reset forgot its rows")])
def test_freeze_and_reset_cancel_what_runs_and_what_waits(start_learner, act, reason):
    learner = start_learner(ENDLESS)
    assert learner.observe(normal_rows(400)).status == 200
    running, trainer = learner.begin_run()
    queued = learner.post("/retrain").headers["location"].removeprefix("/v1/models/web")
    assert queued != running
    assert learner.post("/" + act).status == 200
    for run in (queued, running):
        ended = learner.end_of(run)
        assert ended["state"] == "cancelled" and reason in ended["reason"]
    wait_for(lambda: not is_running(trainer), "the end of the trainer")
    assert [version["version"] for version in learner.get("/versions")["versions"]] == [1]


def test_a_frozen_model_is_trained_only_on_request(start_learner):
    learner = start_learner(FAST)
    assert learner.observe(normal_rows(400)).status == 200
    assert learner.post("/freeze").status == 200
    assert learner.train_version()


def test_a_first_run_that_fails_waits_for_new_rows_and_is_told_once(start_learner):
    learner = start_learner(models={"web": FIRST})
    assert learner.observe(normal_rows(200)).status == 202
    for n_runs, n_rows in enumerate((100, 200, 400), 1):
        wait_for(lambda: [run["state"] for run in runs_of(learner)] == ["failed"] * n_runs, "the end")
        assert len(events_of(learner, "failing")) == (n_runs == 3)
        assert learner.observe(normal_rows(n_rows - 1)).status == 202
        assert len(runs_of(learner)) == n_runs
        assert learner.observe(normal_rows(1)).status == 202
        assert len(runs_of(learner)) == n_runs + 1
    event, = events_of(learner, "failing")
    assert "1 s" in event["detail"]["reason"] and "/retrain" in event["advice"]
    assert learner.log().count("model web: failing: ") == 1


def test_a_refusal_without_a_candidate_is_an_event_with_advice(start_learner):
    learner = start_learner(FAST)
    assert learner.observe(normal_rows(20)).status == 200
    assert refused_run(learner)["state"] == "refused"
    event, = events_of(learner, "refused")
    assert "too few" in event["detail"]["reason"] and "send more rows" in event["advice"]


# ---- what is forgotten ----


@pytest.mark.parametrize("restarts", [False, True])
def test_reset_forgets_the_features_of_a_model_without_a_version(start_learner, restarts):
    learner = start_learner(models={"web": {"min_rows": "80"}})
    assert learner.post("/observe", {"features": {"wrong": 1}}).status == 202
    check_problem(learner.post("/observe", {"features": {"a": 1, "b": 2}}), 422)
    assert learner.post("/reset").status == 200
    if restarts:
        learner.restart()
    assert learner.post("/observe", {"features": {"a": 1, "b": 2}}).json()["rows"] == 1
    check_problem(learner.post("/observe", {"features": {"wrong": 1}}), 422)
    assert "its features have changed" not in learner.log()


def test_reset_keeps_features_that_the_configuration_names(start_learner):
    learner = start_learner(models={"web": {"min_rows": "80", "features": "a, b"}})
    assert learner.post("/observe", {"features": {"a": 1, "b": 2}}).status == 202
    assert learner.post("/reset").status == 200
    check_problem(learner.post("/observe", {"features": {"wrong": 1}}), 422)
    assert learner.post("/observe", {"features": {"a": 1, "b": 2}}).json()["rows"] == 1


# ---- feedback ----


def test_a_word_is_taken_on_verdicts_incidents_and_regime_changes_only(start_learner):
    learner = start_learner(FAST)
    assert learner.observe(normal_rows(20)).status == 200
    refused_run(learner)
    event, = events_of(learner, "refused")
    problem = check_problem(learner.post("/feedback", {"event": event["id"], "label": "normal"}), 422)
    assert '"refused"' in problem["detail"] and "incidents" in problem["detail"]
    assert "label" not in events_of(learner, "refused")[0]


def test_an_incident_keeps_its_beginning_and_its_advice_when_it_is_over(start_learner):
    learner = start_learner({**FAST, "learn": "auto", "sample_rate": "all"})
    rows = [[value + 0.1 * i for value in ODD] for i in range(30)]
    begun, ended = 1700000000, 1700000100
    assert learner.score({"instances": rows, "series": "a", "timestamp": begun}).status == 200
    opened = wait_for(lambda: events_of(learner, "incident"), "the incident")[0]
    assert opened["open"] and "ended_at" not in opened
    assert learner.score({"instances": normal_rows(300), "series": "a", "timestamp": ended}).status == 200
    wait_for(lambda: not events_of(learner, "incident")[-1]["open"], "its end")
    over = events_of(learner, "incident")[-1]
    assert (over["id"], over["time"], over["advice"]) == (opened["id"], opened["time"], opened["advice"])
    assert over["ended_at"] > over["time"]


# ---- a store that is gone ----


def test_acts_on_a_store_that_is_gone_are_refused_and_say_why(start_learner):
    learner = start_learner(min_free="none")
    assert learner.observe(normal_rows(10)).status == 200
    shutil.rmtree(learner.state)
    for act in ("freeze", "unfreeze", "reset", "rebaseline", "retrain", "rollback", "versions/1/promote",
                "runs/1"):
        method = "DELETE" if act == "runs/1" else "POST"
        problem = check_problem(learner.request(method, "/v1/models/web/" + act), 503)
        assert "state.db is gone" in problem["detail"], act
    word = {"event": 1, "label": "normal"}
    assert "is gone" in check_problem(learner.post("/feedback", word), 503)["detail"]
    assert "is gone" in check_problem(learner.request("DELETE", "/v1/models/web"), 503)["detail"]
    assert any("is gone" in warning for warning in learner.warnings())
    assert learner.score({"features": ODD}).status == 200


def test_a_row_that_cannot_be_kept_makes_no_model(tmp_path, start_learner):
    class Creating(type(start_learner())):
        def write_config(self, models, extra="", **server):
            super().write_config(models, "[models]\nauto_create = yes\n", **server)

    folder = tmp_path / "creating"
    folder.mkdir()
    learner = Creating(folder, {}, min_free="1024G")
    try:
        reply = learner.request("POST", "/v1/models/shop/observe", {"features": {"a": 1}})
        assert "min_free" in check_problem(reply, 503)["detail"]
        assert learner.request("GET", "/v1/models").json()["models"] == []
    finally:
        learner.stop()
