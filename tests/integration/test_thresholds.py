"""The alarm budget: what each false-alarm rate would cost, and putting one in force."""

import shutil
import signal
import sqlite3
import threading

import ctl
import pytest
from conftest import StoppedThread, check_problem
from learner import FAST, normal_rows, start_learner

RATES = [0.1, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001]
AUTO = {**FAST, "learn": "auto", "sample_rate": "all"}


def put(learner, rate):
    return learner.request("PUT", "/v1/models/web/thresholds", {"false_alarm_rate": rate})


def in_force(learner):
    said = learner.get("/thresholds")
    return said["in_force"]["false_alarm_rate"], said["set_by"]


def of_rate(said, rate):
    found, = (threshold for threshold in said["thresholds"] if threshold["false_alarm_rate"] == rate)
    return found


# ---- what there is ----


def test_each_rate_has_a_threshold_that_says_what_it_rests_on(start_daemon):
    daemon = start_daemon()
    said = daemon.request("GET", "/v1/models/web/thresholds").json()
    model = daemon.request("GET", "/v1/models/web").json()
    assert (said["model"], said["version"], said["set_by"]) == ("web", 1, "model file")
    for key in ("false_alarm_rate", "threshold", "threshold_basis"):
        assert said["in_force"][key] == model[key]
    assert [threshold["false_alarm_rate"] for threshold in said["thresholds"]] == RATES
    thresholds = [threshold["threshold"] for threshold in said["thresholds"]]
    assert thresholds == sorted(thresholds)
    assert of_rate(said, 0.1)["threshold_basis"] == "conformal"
    assert of_rate(said, 0.0001)["threshold_basis"] == "tail-fit"


def test_where_nothing_was_scored_no_alarms_are_expected(start_daemon):
    said = start_daemon().request("GET", "/v1/models/web/thresholds").json()
    assert said["recent_rows"] == 0 and said["rows_per_second"] is None
    for threshold in [said["in_force"], *said["thresholds"]]:
        assert threshold["recent_alarms"] == 0 and threshold["alarms_per_day"] is None


@pytest.mark.parametrize("n_batches, batch", [(3, 500), (12, 1000)])
def test_recent_alarms_are_those_of_the_newest_rows(start_daemon, n_batches, batch):
    daemon = start_daemon()
    errors = []
    for i in range(n_batches):
        reply = daemon.score({"instances": normal_rows(batch, seed=i + 5)})
        errors += [result["reconstruction_error"] for result in reply.json()["results"]]
    said = daemon.request("GET", "/v1/models/web/thresholds").json()
    newest = errors[-10000:]
    assert said["recent_rows"] == len(newest)
    for threshold in [said["in_force"], *said["thresholds"]]:
        assert threshold["recent_alarms"] == sum(error > threshold["threshold"] for error in newest)
        expected = said["rows_per_second"] * 86400 * threshold["false_alarm_rate"]
        assert threshold["alarms_per_day"] == pytest.approx(expected)
    assert of_rate(said, 0.1)["recent_alarms"] > 0


def test_a_model_without_a_version_has_no_thresholds(start_learner):
    learner = start_learner(models={"web": {"min_rows": "80"}})
    said = learner.get("/thresholds")
    assert (said["version"], said["in_force"], said["thresholds"]) == (0, None, [])


# ---- the choice ----


def test_a_rate_that_is_put_is_in_force_at_once(start_learner):
    learner = start_learner()
    before = learner.get("/thresholds")
    row = {"features": normal_rows(1)[0]}
    was = learner.score(row).json()
    reply = put(learner, 0.1)
    assert reply.status == 200
    said = reply.json()
    assert (said["set_by"], said["version"]) == ("request", 1)
    assert said["in_force"] == of_rate(said, 0.1) != before["in_force"]
    now = learner.score(row).json()
    assert now["threshold"] == said["in_force"]["threshold"] < was["threshold"]
    assert now["reconstruction_error"] == was["reconstruction_error"]
    assert now["anomaly"] == (now["reconstruction_error"] > now["threshold"])
    assert learner.metrics()['anomalyd_false_alarm_rate_target{model="web"}'] == 0.1
    assert learner.get("/versions")["versions"][-1]["version"] == 1


def test_another_rate_keeps_the_recent_rows(start_learner):
    learner = start_learner()
    assert learner.score({"instances": normal_rows(300)}).status == 200
    alarms = {t["false_alarm_rate"]: t["recent_alarms"] for t in learner.get("/thresholds")["thresholds"]}
    said = put(learner, 0.01).json()
    assert said["recent_rows"] == 300
    assert {t["false_alarm_rate"]: t["recent_alarms"] for t in said["thresholds"]} == alarms


@pytest.mark.parametrize("configured, set_by", [({}, "model file"),
                                                ({"false_alarm_rate": "0.02"}, "configuration")])
def test_null_goes_back_to_what_would_be_in_force_without(start_learner, configured, set_by):
    learner = start_learner({**FAST, **configured})
    first = in_force(learner)
    assert first[1] == set_by
    assert put(learner, 0.1).json()["set_by"] == "request"
    assert put(learner, None).status == 200
    assert in_force(learner) == first
    learner.restart()
    assert in_force(learner) == first


def test_a_rate_that_was_put_survives_kill_reload_and_a_promotion(start_learner):
    learner = start_learner()
    assert put(learner, 0.1).status == 200
    learner.kill()
    learner.start()
    assert in_force(learner) == (0.1, "request")
    learner.write_config({"web": {"file": learner.file_of(1), "false_alarm_rate": "0.03", **FAST}})
    learner.reload("reloaded")
    assert in_force(learner) == (0.1, "request")
    assert learner.observe(normal_rows(400)).status == 200
    version = learner.train_version()
    assert learner.promote(version).status == 200
    said = learner.get("/thresholds")
    assert said["version"] == version and in_force(learner) == (0.1, "request")
    assert put(learner, None).status == 200
    assert in_force(learner) == (0.03, "configuration")


def test_a_rate_can_be_put_before_the_first_version(start_learner):
    learner = start_learner(models={"web": {**FAST, "min_rows": "80"}})
    check_problem(put(learner, 0.1), 409)  # nothing is known of it yet
    assert learner.observe(normal_rows(20)).status == 202
    assert put(learner, 0.1).json()["in_force"] == {"false_alarm_rate": 0.1}
    assert learner.observe(normal_rows(400)).status in (200, 202)
    learner.train_version()
    assert learner.get("/thresholds")["version"] == 1 and in_force(learner) == (0.1, "request")


def test_who_put_a_rate_is_in_the_audit(start_learner):
    learner = start_learner()
    assert put(learner, 0.1).status == 200
    assert put(learner, None).status == 200
    acts = [entry for entry in learner.get("/audit")["audit"] if entry["act"] == "thresholds"]
    assert sorted(entry["detail"] for entry in acts) == ["false_alarm_rate 0.1", "unset"]
    assert all(entry["who"] and entry["time"] for entry in acts)


# ---- false alarms a day ----


def budget(learner, alarms):
    return learner.request("PUT", "/v1/models/web/thresholds", {"false_alarms_per_day": alarms})


def remember_rows_per_day(learner, rows):
    """As if so many had been scored for four days before the last restart."""
    learner.stop()
    with sqlite3.connect(learner.state / "state.db") as database:
        database.execute("UPDATE models SET rows_per_day = ?, observed_s = 345600", (rows,))
    database.close()
    learner.start()


def test_a_budget_says_what_is_assumed_until_rows_are_known(start_learner):
    learner = start_learner()
    rate = in_force(learner)[0]
    assert learner.get("/thresholds")["note"] is None
    said = budget(learner, 2).json()
    assert (said["set_by"], said["false_alarms_per_day"], said["rows_per_day"]) == ("request", 2, None)
    assert said["in_force"]["false_alarm_rate"] == rate
    assert "too few rows were scored" in said["note"] and "model file is assumed" in said["note"]


def test_a_budget_is_a_rate_of_the_rows_a_day_over_restarts_and_reloads(start_learner):
    learner = start_learner()
    assert budget(learner, 100).status == 200
    remember_rows_per_day(learner, 10000)
    said = learner.get("/thresholds")
    assert (said["set_by"], said["false_alarms_per_day"], said["rows_per_day"]) == ("request", 100, 10000)
    assert said["in_force"]["false_alarm_rate"] == 0.01
    assert said["in_force"]["alarms_per_day"] == 100
    assert said["in_force"]["threshold"] == of_rate(said, 0.01)["threshold"]
    row = {"features": normal_rows(1)[0]}
    assert learner.score(row).json()["threshold"] == said["in_force"]["threshold"]
    learner.kill()
    learner.start()
    learner.reload("reloaded")
    assert in_force(learner) == (0.01, "request")
    assert put(learner, 0.1).json()["false_alarms_per_day"] is None
    assert in_force(learner) == (0.1, "request")
    assert budget(learner, None).json()["set_by"] == "model file"


def test_a_budget_that_calibration_cannot_promise_is_said_to_be_an_estimate(start_learner):
    learner = start_learner()
    remember_rows_per_day(learner, 1000000)
    said = budget(learner, 2).json()
    assert said["in_force"]["false_alarm_rate"] == 2e-06
    assert said["in_force"]["threshold_basis"] == "tail-fit"
    assert "a false-alarm rate of 2e-06 needs 5000000 calibration rows" in said["note"]
    assert budget(learner, 100000).json()["note"] is None


def test_a_budget_of_more_than_the_rows_is_refused(start_learner):
    learner = start_learner()
    remember_rows_per_day(learner, 1440)
    before = in_force(learner)
    problem = check_problem(budget(learner, 1000), 422)
    assert "more than half of the 1440 rows a day" in problem["detail"] and "at most 720" in problem["detail"]
    assert in_force(learner) == before


def test_a_budget_of_the_configuration_is_in_force_and_can_be_reloaded(start_learner):
    learner = start_learner({**FAST, "false_alarms_per_day": "100"})
    remember_rows_per_day(learner, 10000)
    assert in_force(learner) == (0.01, "configuration")
    assert learner.metrics()['anomalyd_false_alarm_rate_target{model="web"}'] == 0.01
    learner.write_config({"web": {"file": learner.file_of(1), "false_alarms_per_day": "200", **FAST}})
    learner.reload("reloaded")
    assert in_force(learner) == (0.02, "configuration")
    learner.write_config({"web": {"file": learner.file_of(1), "false_alarms_per_day": "200",
                                  "false_alarm_rate": "0.1", **FAST}})
    learner.reload("leave one of the two out")
    assert in_force(learner) == (0.02, "configuration")


def test_who_put_a_budget_is_in_the_audit(start_learner):
    learner = start_learner()
    assert budget(learner, 2).status == 200
    act, = (entry for entry in learner.get("/audit")["audit"] if entry["act"] == "thresholds")
    assert act["detail"] == "false_alarms_per_day 2"


def test_anomalyctl_sets_and_shows_a_budget(start_learner):
    learner = start_learner()
    shown = ctl.succeed("thresholds", "web", "--false-alarms-per-day", "2", *url(learner)).stdout
    assert shown.startswith("web: 2 false alarms a day (request): false-alarm rate 0.05, rows a day not known yet\n")
    assert "\nNote: too few rows" in shown
    remember_rows_per_day(learner, 10000)
    shown = ctl.succeed("thresholds", "web", *url(learner)).stdout
    assert shown.startswith("web: 2 false alarms a day (request): false-alarm rate 0.0002, 10000 rows a day\n")
    assert "(model file)" in ctl.succeed("thresholds", "web", "--unset", *url(learner)).stdout


BAD = [
    ('{"false_alarm_rate": 0}', 422), ('{"false_alarm_rate": 1}', 422),
    ('{"false_alarm_rate": -0.1}', 422), ('{"false_alarm_rate": 1e-10}', 422),
    ('{"false_alarm_rate": "0.1"}', 400), ('{"false_alarm_rate": true}', 400),
    ('{"false_alarm_rate": NaN}', 400), ('{"false_alarm_rate": 1e999}', 400),
    ('{"false_alarm_rate": 0.1, "rate": 1}', 400), ("{}", 422), ("[0.1]", 400), ("", 400),
    ('{"false_alarm_rate": 0.1, "false_alarm_rate": 0.2}', 400),
    ('{"false_alarms_per_day": 0}', 422), ('{"false_alarms_per_day": -1}', 422),
    ('{"false_alarms_per_day": 1e7}', 422), ('{"false_alarms_per_day": "2"}', 400),
    ('{"false_alarms_per_day": 2, "false_alarm_rate": 0.1}', 400),
]


def test_a_rate_that_is_none_changes_nothing(start_learner):
    learner = start_learner()
    before = learner.get("/thresholds")["in_force"]
    json = {"Content-Type": "application/json"}
    for body, status in BAD:
        check_problem(learner.request("PUT", "/v1/models/web/thresholds", body, json), status)
    assert learner.get("/thresholds")["in_force"] == before
    assert not [entry for entry in learner.get("/audit")["audit"] if entry["act"] == "thresholds"]


def test_a_rate_is_refused_where_the_store_is_gone(start_learner):
    learner = start_learner(min_free="none")
    before = in_force(learner)
    shutil.rmtree(learner.state)
    assert "state.db is gone" in check_problem(put(learner, 0.1), 503)["detail"]
    assert in_force(learner) == before


def test_a_rate_is_refused_where_the_version_cannot_be_read(start_learner):
    learner = start_learner()
    before = in_force(learner)
    learner.file_of(1).rename(learner.file_of(1).with_suffix(".away"))
    assert "cannot be read" in check_problem(put(learner, 0.1), 409)["detail"]
    assert in_force(learner) == before
    learner.file_of(1).with_suffix(".away").rename(learner.file_of(1))
    learner.restart()
    assert in_force(learner) == before


def test_rates_that_change_under_load_lose_no_row_and_mix_no_threshold(start_learner):
    learner = start_learner(AUTO)
    known = {rate: of_rate(learner.get("/thresholds"), rate)["threshold"] for rate in (0.1, 0.01)}
    start = learner.get("/thresholds")["in_force"]["threshold"]
    rows, problems = normal_rows(50), []

    def score():
        for _ in range(40):
            reply = learner.score({"instances": rows})
            said = reply.json()
            if reply.status != 200 or said["threshold"] not in (start, *known.values()) or any(
                    result["anomaly"] != (result["reconstruction_error"] > said["threshold"])
                    for result in said["results"]):
                problems.append(said)

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(30):
        assert put(learner, (0.1, 0.01)[i % 2]).status == 200
    for thread in threads:
        thread.join()
    assert not problems
    said = learner.get("/thresholds")
    assert said["recent_rows"] == 4 * 40 * 50
    assert learner.metrics()['anomalyd_rows_scored_total{model="web"}'] == 4 * 40 * 50
    assert said["in_force"]["threshold"] == known[0.01]


def test_a_reload_meanwhile_does_not_undo_a_rate(start_learner):
    learner = start_learner()
    for rate in (0.1, 0.01) * 10:
        learner.signal(signal.SIGHUP)
        assert put(learner, rate).status == 200
    learner.reload("reloaded")
    assert in_force(learner) == (0.01, "request")


def test_rows_that_waited_while_the_rate_was_lowered_are_no_incident(start_learner):
    learner = start_learner({**AUTO, "false_alarm_rate": "0.2"})
    rows = normal_rows(1000, seed=9)
    with StoppedThread(learner.process.pid, "intake"):
        reply = learner.score({"instances": rows, "series": "a"})
        assert sum(result["anomaly"] for result in reply.json()["results"]) > 100
        assert put(learner, 0.001).status == 200
    assert learner.score({"instances": normal_rows(300, seed=10), "series": "a"}).status == 200
    learner.request("GET", "/v1/models/web/events?kind=verdict")  # behind all that came before
    assert not [event for event in learner.get("/events")["events"] if event["kind"] == "incident"]


# ---- anomalyctl ----


def url(learner):
    return "--url", f"http://127.0.0.1:{learner.port}"


def rates_of(shown):
    """Of the lines of the table from above, a * before that in force."""
    lines = shown.splitlines()[3:-2]
    return [line[0].strip() + line[1:].split()[0] for line in lines]


def test_anomalyctl_shows_and_sets_the_rate(start_learner):
    learner = start_learner()
    assert learner.score({"instances": normal_rows(300)}).status == 200
    shown = ctl.succeed("thresholds", "web", *url(learner)).stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert shown.startswith("web: false-alarm rate 0.05 (model file)\n")
    assert "300 rows" in shown and "tail-fit" in shown and "conformal" in shown
    assert rates_of(shown) == ["0.1", "*0.05", "0.01", "0.005", "0.001", "0.0005", "0.0001"]
    for rate, place in (("0.2", 0), ("0.02", 2), ("1e-06", 7)):
        shown = ctl.succeed("thresholds", "web", "--set", rate, *url(learner)).stdout
        assert rates_of(shown).index("*" + rate) == place and len(rates_of(shown)) == 8
    assert "rate 0.01 (request)" in ctl.succeed("thresholds", "web", "--set", "0.01", *url(learner)).stdout
    said = ctl.succeed_json("thresholds", "web", "--json", *url(learner))
    assert said["in_force"]["false_alarm_rate"] == 0.01
    assert "(model file)" in ctl.succeed("thresholds", "web", "--unset", *url(learner)).stdout


@pytest.mark.parametrize("options", [("--set", "0"), ("--set", "1"), ("--set", "nan"), ("--set", "x"),
                                     ("--set", "0.1", "--unset"), ("--false-alarms-per-day", "0"),
                                     ("--false-alarms-per-day", "-2"),
                                     ("--false-alarms-per-day", "2", "--set", "0.1")])
def test_anomalyctl_refuses_what_is_no_rate(options):
    assert ctl.fail(2, "thresholds", "web", *options).startswith("thresholds: ")


def test_anomalyctl_shows_a_model_without_a_version(start_learner):
    learner = start_learner(models={"web": {"min_rows": "80"}})
    assert "no version yet" in ctl.succeed("thresholds", "web", *url(learner)).stdout
