"""Inputs as monitoring systems have them: counters, categories, times of day, the last rows of a
series. Training, `anomalyctl score` and the daemon prepare them alike."""

import csv
import io
import json
import math
import random
import time

import pytest

from conftest import IS_SANITIZED, check_problem, wait_for
from ctl import fail, run, succeed, succeed_json
from learner import FAST, start_learner

HOSTS = ["a", "b"]
PREPARE = ("bytes=rate,latency=log1p,state=onehot,queue=delta,"
           "timestamp=hour-of-day,timestamp=day-of-week")
BEGIN = 1700000000  # 2023-11-14T22:13:20Z
STEP = 60


def make_rows(n, seed=1, begin=BEGIN):
    """Of two hosts by turns, as dictionaries: what they send hangs together."""
    draw = random.Random(seed)
    counter = {host: draw.randrange(1 << 31, 1 << 32) for host in HOSTS}  # 32 bits: one wraps soon
    queue = dict.fromkeys(HOSTS, 10.0)
    rows = []
    for i in range(n):
        for k, host in enumerate(HOSTS):
            moment = begin + STEP * i + 7 * k
            load = 1 + 0.6 * math.sin(2 * math.pi * moment / 86400) + draw.gauss(0, 0.08)
            counter[host] = (counter[host] + int(8e4 * load * STEP)) % (1 << 32)
            queue[host] = max(0, queue[host] + draw.gauss(0, 1))
            rows.append({
                "timestamp": moment, "series": host, "bytes": counter[host],
                "latency": round(math.exp(1 + 0.8 * load + draw.gauss(0, 0.1)), 4),
                "state": draw.choices(["up", "degraded"], [9, 1])[0],
                "load": round(load, 5), "queue": round(queue[host], 4)})
    return rows


def write(path, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def features_of(row, *without):
    return {name: value for name, value in row.items() if name not in ("series", *without)}


def train(folder, rows, *options, name="model.safetensors"):
    model = folder / name
    succeed("train", "--data", write(folder / "normal.csv", rows), "--output", model,
            "--preset", "fast", "--epochs", "60", "--false-alarm-rate", "0.01", *options)
    return model


def score_file(model, path, *options):
    done = succeed("score", "--model", model, "--data", path, "--format", "ndjson", *options)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A model of all kinds but context."""
    folder = tmp_path_factory.mktemp("prepared")
    return train(folder, make_rows(700), "--prepare", PREPARE)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    """The same with the last four rows."""
    folder = tmp_path_factory.mktemp("stacked")
    return train(folder, make_rows(700), "--prepare", PREPARE, "--context", 4)


def post(daemon, row, query="?explain=none", **options):
    body = {"features": features_of(row), "series": row["series"], **options}
    reply = daemon.score(body, query)
    assert reply.status == 200, reply.body
    return reply.json()


# ---- one piece of code ----


@pytest.mark.parametrize("which", ["prepared", "stacked"])
def test_the_daemon_prepares_rows_as_training_does(which, request, start_daemon, tmp_path):
    """Row by row over HTTP, in batches, and from a file: the same verdicts, bit for bit."""
    model = request.getfixturevalue(which)
    rows = make_rows(60, seed=2)
    offline = score_file(model, write(tmp_path / "rows.csv", rows))
    daemon = start_daemon({"web": {"file": model}, "batch": {"file": model}})
    for row, expected in zip(rows, offline):
        verdict = post(daemon, row)
        for key in ("reconstruction_error", "score", "p_value", "anomaly"):
            assert verdict[key] == expected[key], row
        assert verdict.get("imputed") == expected.get("imputed")
    for host in HOSTS:
        own = [i for i, row in enumerate(rows) if row["series"] == host]
        for first in range(0, len(own), 13):
            part = own[first:first + 13]
            body = {"series": host, "instances": [features_of(rows[i]) for i in part]}
            reply = daemon.request("POST", "/v1/models/batch/score", body)
            assert reply.status == 200, reply.body
            for i, verdict in zip(part, reply.json()["results"]):
                assert verdict["reconstruction_error"] == offline[i]["reconstruction_error"]


def test_training_sees_what_is_inspected(prepared, stacked):
    names = [feature["name"] for feature in succeed_json("inspect", prepared, "--json")["features"]]
    assert names == ["rate(bytes)", "log1p(latency)", "state=degraded", "state=up", "state=(other)",
                     "load", "delta(queue)", "hour-of-day.sin", "hour-of-day.cos",
                     "day-of-week.sin", "day-of-week.cos"]
    found = succeed_json("inspect", stacked, "--json")
    assert len(found["features"]) == 4 * len(names)
    assert found["features"][-1]["name"] == "day-of-week.cos[-3]"
    assert found["preparation"]["context"] == 4
    assert {"name": "state", "kind": "onehot", "categories": ["degraded", "up"]} in (
        found["preparation"]["inputs"])


def test_the_same_rows_and_options_give_the_same_file(prepared, tmp_path):
    again = train(tmp_path, make_rows(700), "--prepare", PREPARE)
    assert again.read_bytes() == prepared.read_bytes()


# ---- what is told, in the user's units ----


@pytest.mark.parametrize("which", ["prepared", "stacked"])
def test_a_rate_is_blamed_and_told_per_second(which, request, tmp_path):
    model = request.getfixturevalue(which)
    rows = make_rows(60, seed=3)
    for row in rows[100:]:
        if row["series"] == "a":
            row["bytes"] += 40_000_000  # once: the row after it is as usual again
    verdict = score_file(model, write(tmp_path / "rows.csv", rows), "--explain", 7)[100]
    assert verdict["anomaly"]
    first = verdict["contributions"][0]
    counted = (rows[100]["bytes"] - rows[98]["bytes"]) % (1 << 32)
    assert first["feature"] == "bytes" and first["prepared"] == "rate"
    assert first["value"] == pytest.approx(counted / STEP, rel=1e-6)
    assert first["direction"] == "above" and first["share"] > 0.5
    assert 2e4 < first["expected"] < 2e5 and 1e4 < first["usual"][0] < first["usual"][1] < 3e5
    assert math.isclose(sum(c["share"] for c in verdict["contributions"]), 1, rel_tol=1e-9)
    assert {c["feature"] for c in verdict["contributions"]} == {
        "bytes", "latency", "state", "load", "queue", "hour-of-day", "day-of-week"}
    assert "/s (expected " in verdict["summary"] and verdict["summary"].startswith("bytes ")


@pytest.mark.parametrize("which", ["prepared", "stacked"])
def test_values_are_told_as_they_were_sent(which, request, start_daemon):
    daemon = start_daemon({"web": {"file": request.getfixturevalue(which)}})
    row = make_rows(1, seed=4)[0]
    row.update(latency=91.2, state="degraded", load=0.71)
    verdict = post(daemon, row, "?explain=all&top=99&detail=true")
    told = {c["feature"]: c for c in verdict["contributions"]}
    assert told["latency"]["value"] == 91.2 and told["load"]["value"] == 0.71
    assert told["state"]["value"] == "degraded" and told["state"]["expected"] in ("up", "degraded")
    assert told["hour-of-day"]["value"] == "22:13" and told["day-of-week"]["value"] == "Tuesday"
    assert verdict["imputed"] == ["bytes", "queue"]  # the first row of its series
    assert told["bytes"]["value"] is None and told["bytes"]["share"] == 0
    assert math.isclose(sum(c["error_share"] for c in told.values()), 1, rel_tol=1e-9)
    assert verdict["anomaly"]
    if which == "prepared":
        assert verdict["counterfactual"]["features"] == {"latency": told["latency"]["expected"]}


def test_the_word_that_was_expected_of_a_missing_category_is_told(prepared, start_daemon):
    daemon = start_daemon({"web": {"file": prepared}})
    for row in make_rows(5, seed=6):
        row.update(state=None, latency=91.2)
        verdict = post(daemon, row, "?explain=all&top=99&detail=true")
    told = {c["feature"]: c for c in verdict["contributions"]}["state"]
    assert verdict["anomaly"] and "state" in verdict["imputed"]
    assert told["value"] is None and told["expected"] == "up"
    assert told["share"] == 0 and told["error_share"] == 0
    assert "before" not in told and "usual" not in told and "direction" not in told
    assert "state" not in verdict["summary"]
    assert "state" not in verdict["counterfactual"]["features"]


def test_the_row_before_is_told_of_where_the_newest_is_missing(stacked, start_daemon):
    daemon = start_daemon({"web": {"file": stacked}})
    rows = [row for row in make_rows(40, seed=6) if row["series"] == "a"]
    for row in rows[-4:-1]:  # so that none of them has most of the blame
        row.update(state="down", latency=91.2)
    rows[-1].update(state=None, latency=None)
    for row in rows:
        verdict = post(daemon, row, "?explain=all&top=99&detail=true")
    assert verdict["anomaly"] and {"state", "latency"} <= set(verdict["imputed"])
    told = {c["feature"]: c for c in verdict["contributions"]}
    assert told["state"]["value"] is None and told["state"]["share"] > 0.5
    assert told["state"]["before"]["value"] == "(other)"
    assert told["state"]["before"]["expected"] == "up"
    assert told["latency"]["value"] is None and told["latency"]["share"] > 0
    assert told["latency"]["before"]["value"] == pytest.approx(91.2)
    assert "state" in verdict["counterfactual"]["features"]
    assert "state (other) " in verdict["summary"] and " before (expected up)" in verdict["summary"]


def test_a_category_that_is_as_expected_again_is_told_of_where_it_was_not(stacked, start_daemon):
    daemon = start_daemon({"web": {"file": stacked}})
    rows = [row for row in make_rows(40, seed=6) if row["series"] == "a"]
    for row in rows[-4:]:
        row["state"] = "up"
    for row in rows[-4:-1]:
        row["state"] = "down"
    for row in rows:
        verdict = post(daemon, row, "?explain=all&top=99")
    told = {c["feature"]: c for c in verdict["contributions"]}["state"]
    assert verdict["anomaly"] and told["value"] == told["expected"] == "up"
    assert told["before"]["value"] == "(other)" and told["before"]["expected"] == "up"
    assert "state (other) " in verdict["summary"]


def test_an_unseen_category_is_a_value_of_its_own(prepared, tmp_path):
    rows = make_rows(30, seed=5)
    rows[40]["state"] = "down"
    verdicts = score_file(prepared, write(tmp_path / "rows.csv", rows), "--explain", 1)
    told = verdicts[40]["contributions"][0]
    assert verdicts[40]["anomaly"] and told["feature"] == "state"
    assert told["value"] == "(other)" and told["expected"] in ("up", "degraded")
    assert sum(verdict["anomaly"] for verdict in verdicts) < 6


def test_categories_may_be_numbers_and_booleans(tmp_path, start_daemon):
    rows = [{"timestamp": BEGIN + i, "code": [200, 200.0, "2e2", 404][i % 4],
             "ok": ["true", "false"][i % 4 == 3], "load": round(1 + 0.01 * (i % 7), 3)}
            for i in range(200)]
    model = train(tmp_path, rows, "--prepare", "code=onehot,ok=onehot")
    names = [f["name"] for f in succeed_json("inspect", model, "--json")["features"]]
    assert names == ["code=200", "code=404", "code=(other)", "ok=false", "ok=true", "ok=(other)",
                     "load"]
    daemon = start_daemon({"web": {"file": model}})
    scores = {daemon.score({"features": {"code": code, "ok": ok, "load": 1.02}}).json()["score"]
              for code in (200, "200", 2e2, 200.0) for ok in (True, "true")}
    assert len(scores) == 1
    assert daemon.score({"features": {"code": 500, "ok": True, "load": 1.02}}).json()["anomaly"]


@pytest.mark.parametrize("moment, shown", [
    ("2024-03-31T00:30:00Z", "01:30"), ("2024-03-31T01:30:00Z", "03:30"),
    ("2024-10-27T00:30:00Z", "02:30"), ("2024-10-27T01:30:00Z", "02:30"),
    ("2024-10-27T02:30:00Z", "03:30"), ("2024-12-24T23:30:00Z", "00:30"),
])
def test_times_of_day_follow_the_clocks_on_the_wall(moment, shown, tmp_path, start_daemon):
    model = train(tmp_path, make_rows(100), "--prepare", "hour=hour-of-day,day=day-of-week",
                  "--timezone", "Europe/Berlin", "--exclude", "state")
    daemon = start_daemon({"web": {"file": model}})
    row = features_of(make_rows(1)[0], "state", "timestamp")
    verdict = daemon.score({"features": row, "timestamp": moment}, "?explain=all&top=9").json()
    told = {c["feature"]: c["value"] for c in verdict["contributions"]}
    assert told["hour"] == shown
    assert told["day"] == ("Wednesday" if "12-24" in moment else "Sunday")


def test_context_sees_movement_that_single_rows_do_not_show(tmp_path):
    """A saw tooth: each value is usual, but not twice in a row."""
    saw = [{"timestamp": BEGIN + i, "level": i % 10 + random.Random(i).gauss(0, 0.05), "x": 0.5}
           for i in range(2000)]
    stuck = saw[:100] + [dict(row, level=saw[99]["level"]) for row in saw[100:110]]
    path = write(tmp_path / "stuck.csv", stuck)
    flagged = {}
    for context in (1, 3):
        model = train(tmp_path, saw, "--context", context, "--preset", "best",
                      name=f"{context}.safetensors")
        flagged[context] = sum(v["anomaly"] for v in score_file(model, path)[100:110])
    assert flagged[1] <= 1 and flagged[3] >= 8


# ---- what lives between rows ----


def bits(verdict):
    return verdict["reconstruction_error"], verdict["score"], verdict.get("imputed")


def test_series_go_on_over_a_restart(stacked, start_learner, tmp_path):
    rows = make_rows(20, seed=6)
    offline = score_file(stacked, write(tmp_path / "rows.csv", rows), "--explain", 3)
    learner = start_learner(models={"web": {"file": stacked, "learn": "off"}})
    for i, row in enumerate(rows):
        if i in (11, 30):
            learner.restart()
        verdict = post(learner, row, "?explain=all&top=3")
        assert bits(verdict) == bits(offline[i])
        for told, expected in zip(verdict["contributions"], offline[i]["contributions"]):
            assert told["feature"] == expected["feature"]  # what moved of late is remembered too
            assert told["share"] == pytest.approx(expected["share"], rel=1e-3)


def test_the_default_series_goes_on_over_a_restart_too(prepared, start_learner):
    learner = start_learner(models={"web": {"file": prepared, "learn": "off"}})
    rows = [features_of(row) for row in make_rows(3, seed=6) if row["series"] == "a"]
    assert learner.score({"features": rows[0]}).json()["imputed"] == ["bytes", "queue"]
    learner.restart()
    assert "imputed" not in learner.score({"features": rows[1]}).json()


def test_many_series_go_on_over_a_restart(prepared, start_learner):
    """More than are saved at a time."""
    learner = start_learner(models={"web": {"file": prepared, "learn": "off"}})
    rows = [row for row in make_rows(3, seed=6) if row["series"] == "a"]
    names = [f"host{i:03}" for i in range(600)]
    for name in names:
        post(learner, dict(rows[0], series=name))
    learner.restart()
    for name in names:
        assert "imputed" not in post(learner, dict(rows[1], series=name))


def test_a_new_series_is_no_anomaly_for_what_is_not_known_of_it(prepared, start_daemon):
    """Its rates are missing: they are taken as the other values let expect them."""
    daemon = start_daemon({"web": {"file": prepared}})
    rows = make_rows(700, seed=16)[::7]
    verdicts = [post(daemon, dict(row, series=f"new{i}")) for i, row in enumerate(rows)]
    assert all(verdict["imputed"] == ["bytes", "queue"] for verdict in verdicts)
    assert sum(verdict["anomaly"] for verdict in verdicts) <= 8  # of 200, at a rate of 1 %


def test_a_late_row_is_judged_but_leaves_no_trace(stacked, start_daemon):
    rows = [row for row in make_rows(12, seed=7) if row["series"] == "a"]
    daemon = start_daemon({"web": {"file": stacked}, "other": {"file": stacked}})
    for i, row in enumerate(rows):
        verdict = post(daemon, row)
        assert "late" not in verdict
        body = {"features": features_of(row), "series": "a"}
        other = daemon.request("POST", "/v1/models/other/score", body).json()
        assert bits(verdict) == bits(other)
        if i in (5, 8):
            for late in (rows[i], rows[i - 3], dict(rows[2], bytes=1)):  # a duplicate, older ones
                told = daemon.request("POST", "/v1/models/other/score", {
                    "features": features_of(late), "series": "a"}).json()
                assert told["late"] is True and told["imputed"] == ["bytes", "queue"]


def test_rows_without_a_time_are_never_late(prepared, start_daemon):
    daemon = start_daemon({"web": {"file": prepared}})
    body = {"features": features_of(make_rows(1)[0], "timestamp"), "series": "a"}
    for _ in range(50):
        assert "late" not in daemon.score(body).json()


def test_a_gap_begins_a_series_afresh(prepared, start_daemon):
    rows = [row for row in make_rows(140, seed=8) if row["series"] == "a"]
    daemon = start_daemon({"web": {"file": prepared}})
    for i, missing in ((0, ["bytes", "queue"]), (1, None), (61, None), (122, ["bytes", "queue"]),
                       (123, None)):  # an hour and a minute, by max_gap = 1h
        assert post(daemon, rows[i]).get("imputed") == missing


def test_a_missing_counter_is_bridged(prepared, start_daemon, tmp_path):
    rows = [row for row in make_rows(4, seed=9) if row["series"] == "a"]
    daemon = start_daemon({"web": {"file": prepared}})
    post(daemon, rows[0])
    assert post(daemon, dict(rows[1], bytes=None))["imputed"] == ["bytes"]
    verdict = post(daemon, rows[2], "?explain=all&top=9")
    told = {c["feature"]: c["value"] for c in verdict["contributions"]}
    counted = (rows[2]["bytes"] - rows[0]["bytes"]) % (1 << 32)
    assert told["bytes"] == pytest.approx(counted / (2 * STEP), rel=1e-6)


def test_independent_rows_know_nothing_of_each_other(stacked, start_daemon, tmp_path):
    rows = make_rows(3, seed=10)
    daemon = start_daemon({"web": {"file": stacked}})
    alone = score_file(stacked, write(tmp_path / "rows.csv", rows), "--independent-rows")
    for row, expected in zip(rows, alone):
        body = {"features": features_of(row), "series": None}
        verdict = daemon.score(body).json()
        assert bits(verdict) == bits(expected)
        assert verdict["imputed"] == ["bytes", "queue"]


def test_of_too_many_series_the_one_silent_for_longest_goes(prepared, start_learner):
    learner = start_learner(
        models={"web": {"file": prepared, "learn": "off", "max_series": "2"}})
    rows = [row for row in make_rows(8, seed=11) if row["series"] == "a"]
    first, again = ["bytes", "queue"], None
    for i, (series, imputed) in enumerate([("a", first), ("b", first), ("a", again), ("c", first),
                                           ("a", again), ("b", first), ("c", first)]):
        assert post(learner, dict(rows[i], series=series)).get("imputed") == imputed, (i, series)


def test_a_series_that_falls_silent_is_told_of(prepared, start_learner):
    learner = start_learner(
        models={"web": {"file": prepared, "learn": "observe", "stale_after": "500ms"}})
    row = make_rows(1)[0]
    post(learner, dict(row, timestamp=BEGIN))

    def events(kind):
        return [event for event in learner.get("/events")["events"] if event["kind"] == kind]

    silent = wait_for(lambda: events("series_silent"), "the event")
    assert len(silent) == 1 and silent[0]["detail"]["series"] == "a"
    assert silent[0]["detail"]["last_row_at"] and silent[0]["advice"]
    labels = '{model="web"}'
    wait_for(lambda: learner.metrics()["anomalyd_series_silent" + labels] == 1, "the metric")
    assert learner.metrics()["anomalyd_series" + labels] == 1
    wait_for(lambda: (post(learner, dict(row, timestamp=time.time())), events("series_back"))[1],
             "its return")
    assert "series_silent" in learner.log()


def test_a_model_without_preparation_is_watched_too(start_learner, model_file):
    learner = start_learner(
        models={"web": {"file": model_file, "learn": "observe", "stale_after": "300ms"}})
    learner.score({"features": [10, 0.1, -3, 0.2, 1, 0], "series": "host7"})
    wait_for(lambda: any(event["kind"] == "series_silent" and
                         event["detail"]["series"] == "host7"
                         for event in learner.get("/events")["events"]), "the event")


# ---- learning ----


def test_a_model_that_learns_from_nothing_is_prepared_as_configured(start_learner):
    kinds = "bytes=rate, latency=log1p, state=onehot:up|degraded, queue=delta, timestamp=hour-of-day"
    options = {**FAST, "prepare": kinds, "context": "2", "timezone": "Europe/Berlin",
               "min_rows": "300"}
    learner = start_learner(models={"web": options})
    rows = make_rows(250, seed=12)
    own = {host: [features_of(row) for row in rows if row["series"] == host] for host in HOSTS}
    for host in HOSTS:
        reply = learner.post("/observe", {"series": host, "instances": own[host][:100]})
        assert reply.status == 202, reply.body
    assert learner.get("")["features"] == ["bytes", "latency", "state", "load", "queue"]
    again = learner.post("/observe", {"series": "a", "instances": own["a"][:3]})
    assert again.status == 202 and again.json()["late"] == 3
    learner.restart()  # before there is a version: what is sent is not forgotten, nor the series
    for host in HOSTS:
        reply = learner.post("/observe", {"series": host, "instances": own[host][100:200]})
        assert reply.status == 202, reply.body
    wait_for(lambda: learner.get("")["state"] == "serving", "the first version")
    preparation = learner.get("")["preparation"]
    assert preparation["context"] == 2 and preparation["timezone"] == "Europe/Berlin"
    assert [i["kind"] for i in preparation["inputs"]] == ["rate", "log1p", "onehot", "raw", "delta",
                                                          "hour-of-day"]
    for host in HOSTS:  # its series go on: nothing is missing
        for row in own[host][200:205]:
            reply = learner.score({"features": row, "series": host}, "?explain=none")
            assert reply.status == 200 and "imputed" not in reply.json(), reply.body
    assert learner.train_version() == 2
    assert learner.get("")["preparation"] == preparation


def test_a_retrained_version_prepares_as_its_parent(prepared, start_learner):
    learner = start_learner(models={"web": {**FAST, "file": prepared}})
    before = learner.get("")["preparation"]
    rows = make_rows(300, seed=13)
    for host in HOSTS:
        own = [features_of(row) for row in rows if row["series"] == host]
        assert learner.post("/observe", {"series": host, "instances": own}).json() == {"rows": 300}
    assert learner.train_version() == 2
    assert learner.promote(2).status in (200, 202)
    assert learner.get("")["version"] == 2 and learner.get("")["preparation"] == before
    verdict = post(learner, make_rows(1, seed=14, begin=BEGIN + 86400)[0])
    assert verdict["version"] == 2


def test_times_in_another_zone_are_other_features(prepared, start_learner, tmp_path):
    """Rows of both would be mixed in one buffer."""
    learner = start_learner(models={"web": {**FAST, "file": prepared}})
    other = train(tmp_path, make_rows(700), "--prepare", PREPARE, "--timezone", "Asia/Tokyo")
    path = "/v1/models/web"
    problem = check_problem(learner.request("PUT", path, other.read_bytes()), 409)
    assert "has its times in Asia/Tokyo" in problem["detail"]
    assert learner.request("PUT", path + "?features=replace", other.read_bytes()).status == 200


def test_late_rows_are_not_learned_from(prepared, start_learner):
    learner = start_learner(models={"web": {**FAST, "file": prepared}})
    rows = [features_of(row) for row in make_rows(20) if row["series"] == "a"]
    mixed = rows[:10] + [rows[3]] + rows[10:]
    reply = learner.post("/observe", {"series": "a", "instances": mixed})
    assert reply.json() == {"rows": 20, "late": 1}
    assert learner.get("/buffer")["rows"] == 20
    assert learner.post("/observe", {"series": "a", "instances": rows[:2]}).json() == {
        "rows": 0, "late": 2}


def test_a_late_row_keeps_no_other_from_being_learned_from(prepared, start_learner):
    """An agent whose batches overlap sends each last row again."""
    learner = start_learner(models={"web": {"file": prepared, "learn": "auto",
                                            "sample_rate": "all", "retrain_rows": "never"}})
    rows = [features_of(row) for row in make_rows(400, seed=17) if row["series"] == "a"]
    for first in range(0, 400, 20):
        batch = rows[max(first - 1, 0):first + 20]
        reply = learner.score({"series": "a", "instances": batch}, "?explain=none").json()
        assert [result.get("late", False) for result in reply["results"]].count(True) == (first > 0)
    learner.get("/incidents")  # waits for what is on its way
    buffer = learner.get("/buffer")
    assert buffer["rows"] + buffer["quarantined"] >= 340  # the newest 40 wait for what comes


def test_a_late_row_raises_no_alarm(prepared, start_learner):
    learner = start_learner(models={"web": {"file": prepared, "learn": "observe",
                                            "alarm": "2 of 5"}})
    rows = [row for row in make_rows(10, seed=18) if row["series"] == "a"]
    for row in rows[:8]:
        post(learner, row)
    odd = dict(rows[8], latency=900)
    assert "late" not in post(learner, odd)
    for _ in range(4):
        verdict = post(learner, odd)
        assert verdict["late"] and verdict["anomaly"] and verdict["event"]
    assert learner.get("/incidents")["incidents"] == []
    assert learner.post("/feedback", {"event": verdict["event"], "label": "anomaly"}).status == 200


def test_rows_keep_their_own_times(prepared, start_learner):
    """In what is told of them, not only in how they are prepared."""
    learner = start_learner(models={"web": {"file": prepared, "learn": "observe",
                                            "alarm": "3 of 5"}})
    rows = [row for row in make_rows(20, seed=19) if row["series"] == "a"]
    for row in rows[8:14]:
        row["latency"] = 900
    body = {"series": "a", "instances": [features_of(row) for row in rows]}
    assert learner.score(body, "?explain=none").status == 200
    incident = wait_for(lambda: learner.get("/incidents")["incidents"], "the incident")[0]
    moment = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(rows[10]["timestamp"]))
    assert incident["opened_at"].startswith(moment)
    assert incident["ended_at"].startswith(
        time.strftime("%Y-%m-%dT%H:%M", time.gmtime(rows[18]["timestamp"])))


def test_refused_rows_may_be_sent_again(prepared, start_learner):
    """Nothing of them stays: else they would be late, and lost."""
    learner = start_learner(models={"web": {**FAST, "file": prepared, "learn": "off"}})
    rows = [features_of(row) for row in make_rows(40) if row["series"] == "a"]
    body = {"series": "a", "instances": rows}
    check_problem(learner.post("/observe", body), 409)
    learner.write_config({"web": {**FAST, "file": prepared}})
    learner.reload("reloaded")
    assert learner.post("/observe", body).json() == {"rows": 40}


def test_rows_that_could_not_be_stored_may_be_sent_again(prepared, start_learner):
    learner = start_learner(models={"web": {**FAST, "file": prepared}}, min_free="1000G")
    body = {"series": "a", "instances": [features_of(row) for row in make_rows(40)
                                         if row["series"] == "a"]}
    problem = check_problem(learner.post("/observe", body), 503)
    assert "not stored" in problem["detail"]
    check_problem(learner.post("/observe", body), 503)  # and not "late": 40
    assert "late" not in learner.score({"series": "a", "features": body["instances"][0]}).json()


def test_late_rows_of_a_long_body_are_judged_to_its_end(prepared, start_learner):
    learner = start_learner(models={"web": {**FAST, "file": prepared}})
    row = features_of(next(row for row in make_rows(40) if row["series"] == "a"))
    learner.score({"series": "long", "features": {**row, "timestamp": BEGIN + 9999}})
    late = {**row, "timestamp": BEGIN}
    n = 550_000 // len(json.dumps(late))  # thousands wait when it turns out to be long
    body = json.dumps({"series": "long", "instances": [late] * n})
    path, headers = "/v1/models/web/score?explain=none", {"Content-Type": "application/json"}
    assert 540_000 < len(body) < 570_000
    check_problem(learner.request("POST", path, body + "x", headers), 400)
    results = learner.request("POST", path, body, headers).json()["results"]
    assert len(results) == n and all(result["late"] for result in results)


def test_nothing_is_late_where_no_row_before_counts(start_daemon, tmp_path):
    rows = [dict(row, timestamp=BEGIN + i % 7) for i, row in enumerate(make_rows(150))]
    for row in rows:
        del row["series"]
    model = train(tmp_path, rows, "--prepare", "latency=log1p,state=onehot")
    assert succeed_json("inspect", model, "--json")["training"]["rows"] == 300
    daemon = start_daemon({"web": {"file": model}})
    for row in rows[:10]:
        reply = daemon.score({"features": features_of(row)})
        assert reply.status == 200 and "late" not in reply.json()


def test_times_that_are_made_up_make_no_rates(prepared, start_daemon):
    """A sender whose clock is ahead, then rows that say no time."""
    daemon = start_daemon({"web": {"file": prepared}})
    row = features_of(make_rows(1)[0], "timestamp")
    daemon.score({"series": "a", "features": {**row, "timestamp": time.time() + 3000}})
    body = {"series": "a", "features": {**row, "bytes": row["bytes"] + 100}}
    verdict = daemon.score(body, "?explain=all&top=9").json()
    assert verdict["imputed"] == ["bytes"] and "late" not in verdict


def test_who_does_not_teach_is_not_missed(prepared, start_learner):
    learner = start_learner(
        models={"web": {"file": prepared, "learn": "observe", "stale_after": "200ms"}})
    row = make_rows(1)[0]
    post(learner, dict(row, series="replay"), "?explain=none&learn=false")
    post(learner, dict(row, series="host"))
    event = wait_for(lambda: learner.get("/events")["events"], "an event")[0]
    assert event["series"] == "host" and event["reason"].startswith("no row of host since 20")
    assert [each["series"] for each in learner.get("/events")["events"]] == ["host"]
    assert "series_silent: no row of host since" in learner.log()


def test_a_prepared_file_needs_no_word_of_the_configuration(prepared, start_learner):
    learner = start_learner(models={"web": {**FAST, "file": prepared}})
    assert "goes on as it is" not in learner.log()


def test_a_configuration_that_differs_from_the_version_is_told_of(prepared, start_learner):
    learner = start_learner(models={"web": {**FAST, "file": prepared, "context": "3"}})
    assert "goes on as it is" in learner.log()
    assert learner.get("")["preparation"]["context"] == 1


# ---- from files, by the command line ----


def test_observe_and_replay_send_what_the_model_wants(prepared, start_learner, tmp_path):
    learner = start_learner(models={"web": {**FAST, "file": prepared}})
    url = f"http://127.0.0.1:{learner.port}"
    rows = make_rows(150, seed=15)
    rows.sort(key=lambda row: row["series"])
    path = write(tmp_path / "rows.csv", rows)
    done = succeed("observe", "web", "--data", path, "--url", url, "--json")
    assert json.loads(done.stdout)["rows"] == 300
    assert learner.get("/buffer")["rows"] == 300
    for row in rows:
        row["label"] = 0
    for row in rows[40:45]:
        row.update(state="down", label="crash")
    path = write(tmp_path / "labelled.csv", rows)
    found = succeed_json("replay", "--model", "web", "--data", path, "--label-column", "label",
                         "--url", url, "--json")
    assert found["incidents"][0]["caught"] is True or found["incidents"][0].get("flagged", 0) > 0
    assert "late" not in learner.log()


# ---- bad input ----


@pytest.mark.parametrize("options, message", [
    (["--prepare", "byte=rate"], 'there is no feature "byte"; is it "bytes"?'),
    (["--prepare", "bytes=speed"], 'prepares "bytes" by "speed", which is unknown'),
    (["--prepare", "bytes"], "write FEATURE=KIND"),
    (["--prepare", "bytes=rate,bytes=raw"], 'names "bytes" twice'),
    (["--prepare", "timestamp=rate"], "hour-of-day or day-of-week"),
    (["--prepare", "load=hour-of-day"], '"load" is a feature, but hour-of-day is made from the '),
    (["--prepare", "load=rate"], "column load: the value falls here, and in"),
    (["--context", "65"], "--context 65: must be a number of rows from 1 to 64"),
    (["--max-gap", "soon"], "--max-gap soon: must be a number and a unit"),
    (["--timezone", "Mars/Olympus"], '"Mars/Olympus" is no time zone'),
    (["--prepare", "load=log1p", "--exclude", "timestamp,state"], None),
    (["--prepare", "bytes=rate", "--exclude", "timestamp,state"],
     'there is no column "timestamp"'),
])
def test_what_cannot_be_prepared_is_refused_by_name(options, message, tmp_path):
    path = write(tmp_path / "rows.csv", make_rows(100))
    if "--exclude" not in options:
        options = [*options, "--exclude", "state"]
    done = run("train", "--data", path, "--output", tmp_path / "m", "--preset", "fast", "--epochs",
               "2", *options)
    if message is None:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode in (1, 2) and message in done.stderr
    assert not (tmp_path / "m").exists()


def test_text_that_no_kind_takes_says_what_would(tmp_path):
    path = write(tmp_path / "rows.csv", make_rows(100))
    line = fail(1, "train", "--data", path, "--output", tmp_path / "m")
    assert line == (f'{path}:2: column 5 (state): "up" is not a number; leave the column out with '
                    "--exclude state, or train with --prepare state=onehot")


@pytest.mark.parametrize("column, value, message", [
    ("latency", -1, "column latency: -1 is below 0, which log1p cannot take"),
    ("bytes", -5, "column bytes: -5 is below 0, so this is no counter"),
    ("timestamp", "2999-01-01T00:00:00Z", "is more than a year ahead"),
    ("timestamp", 1700000000000, "seconds (not milliseconds) since 1970"),
    ("load", "high", 'column 6 (load): "high" is not a number'),
])
def test_a_value_that_a_kind_cannot_take_names_row_and_feature(column, value, message, prepared,
                                                               tmp_path):
    rows = make_rows(10)
    rows[4][column] = value
    path = write(tmp_path / "rows.csv", rows)
    line = fail(1, "score", "--model", prepared, "--data", path)
    assert line.startswith(f"{path}:6: ") and message in line


@pytest.mark.parametrize("change, status, pointer, message", [
    ({"bytes": -1}, 422, "/features/bytes", "no counter"),
    ({"latency": -0.5}, 422, "/features/latency", "log1p"),
    ({"load": "high"}, 422, "/features/load", "a string where a number or null must stand"),
    ({"state": [1]}, 422, "/features/state", "an array"),
    ({"sate": "up"}, 422, "/features/sate", 'did you mean "state"?'),
    ({"timestamp": "soon"}, 422, "/features/timestamp", "no moment"),
    ({"timestamp": 1700000000000}, 422, "/features/timestamp", "milliseconds"),
    ({"timestamp": True}, 422, "/features/timestamp", "no moment"),
])
def test_a_request_that_cannot_be_prepared_changes_nothing(change, status, pointer, message,
                                                           prepared, start_daemon):
    daemon = start_daemon({"web": {"file": prepared}})
    rows = [row for row in make_rows(3) if row["series"] == "a"]
    post(daemon, rows[0])
    body = {"features": {**features_of(rows[1]), **change}, "series": "a"}
    problem = check_problem(daemon.score(body), status)
    assert problem["errors"][0]["pointer"] == pointer
    assert message in problem["errors"][0]["detail"]
    verdict = post(daemon, rows[1], "?explain=all&top=9")
    assert "late" not in verdict and "imputed" not in verdict


def test_a_batch_of_rates_needs_the_times_of_its_rows(prepared, start_daemon):
    daemon = start_daemon({"web": {"file": prepared}})
    rows = [features_of(row, "timestamp") for row in make_rows(3)]
    problem = check_problem(daemon.score({"instances": rows, "timestamp": BEGIN}), 422)
    assert "give each row of a batch its own" in problem["detail"]


@pytest.mark.parametrize("options", [{"learn": False}, {"series": None}], ids=["series", "alone"])
def test_a_row_without_a_time_is_refused_wherever_its_batch_is_cut(options, prepared, start_daemon):
    """But of independent rows, which have no rates."""
    daemon = start_daemon({"web": {"file": prepared}})
    first, *others = [features_of(row) for row in make_rows(3)]
    del first["timestamp"]
    body = json.dumps({**options, "instances": [first, *others]}).encode()
    place = body.index(b",")  # so many blanks that it is scored while it comes
    body = body[:place] + b" " * 600_000 + body[place:]
    end = body.index(b"}") + 2
    with daemon.connect() as client:
        client.send(b"POST /v1/models/web/score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                    % len(body) + body[:end])
        for _ in range(150):  # as often the workers look at what has come
            daemon.metrics()
        client.send(body[end:])
        reply = client.read()
    n_scored = daemon.metrics()['anomalyd_rows_scored_total{model="web"}']
    if "series" in options:
        assert reply.status == 200 and n_scored == len(reply.json()["results"])
        return
    assert check_problem(reply, 422)["detail"].startswith("Row 0 has no time")
    assert n_scored == 0


def score_lines(daemon, rows, query):
    reply = daemon.score("\n".join(map(json.dumps, rows)), "?explain=none" + query,
                         **{"Content-Type": "application/x-ndjson"})
    assert reply.status == 200, reply.body
    return [json.loads(line) for line in reply.body.splitlines()]


def test_a_line_may_say_its_time_beside_its_features(prepared, start_daemon):
    daemon = start_daemon({"web": {"file": prepared}})
    rows = [row for row in make_rows(4) if row["series"] == "a"]
    lines = [{"features": features_of(row, "timestamp"), "timestamp": row["timestamp"]}
             for row in rows]
    beside = score_lines(daemon, lines, "&series=beside")
    within = score_lines(daemon, [{"features": features_of(row)} for row in rows], "&series=within")
    assert beside == within and len(beside) == 4
    assert ["imputed" in verdict for verdict in beside] == [True, False, False, False]


def test_one_time_is_that_of_the_first_line(prepared, start_daemon):
    daemon = start_daemon({"web": {"file": prepared}})
    row, *_, last = [row for row in make_rows(4) if row["series"] == "a"]
    lines = [{"features": features_of(row, "timestamp")}] * 2 + [{"features": features_of(last)}]
    answers = score_lines(daemon, lines, f"&timestamp={BEGIN}&series=a")
    assert [answer.get("status") for answer in answers] == [None, 422, None]
    assert "has no time" in answers[1]["detail"]
    assert daemon.metrics()['anomalyd_rows_scored_total{model="web"}'] == 2


def test_context_cannot_be_used_to_fill_the_memory(tmp_path, start_daemon):
    model = train(tmp_path, make_rows(100), "--context", "64", "--exclude", "state")
    daemon = start_daemon()
    daemon.stop()
    daemon.write_config({"web": {"file": model}}, f"[storage]\ndirectory = {tmp_path / 'state'}\n")
    daemon._start()
    row = [1, 1, 1, 1]  # of which are made 256 features: 300 MB, if it were all at once
    reply = daemon.score({"instances": [row] * 300_000}, "?explain=none&series=a&timestamp=1")
    assert reply.status == 200 and len(reply.json()["results"]) == 300_000
    assert IS_SANITIZED or daemon.peak_memory() < 200e6
    problem = check_problem(daemon.request("POST", "/v1/models/web/observe",
                                           {"instances": [row] * 300_000}), 413)
    assert "send fewer" in problem["detail"]


@pytest.mark.parametrize("lines, message", [
    ({"prepare": "bytes=fast"}, 'prepares "bytes" by "fast"'),
    ({"prepare": "state=onehot"}, 'the categories of "state" are not known'),
    ({"features": "bytes, load", "prepare": "byte=rate"}, 'is it "bytes"?'),
    ({"context": "0"}, "from 1 to 64"),
    ({"max_gap": "1"}, "a number and a unit"),
    ({"timezone": "Nowhere"}, "is no time zone"),
    ({"max_series": "0"}, "max_series"),
    ({"stale_after": "soon"}, "stale_after"),
])
def test_a_bad_key_is_told_with_file_and_line(lines, message, tmp_path):
    import subprocess
    from conftest import ANOMALYD
    text = f"[storage]\ndirectory = {tmp_path}\n[model web]\n"
    text += "".join(f"{key} = {value}\n" for key, value in lines.items())
    config = tmp_path / "anomalyd.conf"
    config.write_text(text)
    done = subprocess.run([ANOMALYD, "--config", config, "--check-config"], capture_output=True,
                          text=True)
    assert done.returncode == 78
    assert f"{config}:{3 + len(lines)}: " in done.stderr and message in done.stderr
