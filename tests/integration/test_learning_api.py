"""What the API has for models that learn: observe, the first rows, runs, versions, feedback."""

import json
import random
import select
import signal
import sqlite3
import threading
import urllib.parse

import pytest

from conftest import (FEATURES, NORMAL, ODD, Daemon, StoppedThread, check_problem, wait_for)

MODEL = "/v1/models/web"
ENDED = {"promoted", "refused", "failed", "cancelled"}
QUICK = {"preset": "fast", "epochs": 20, "sample_rate": "all", "retrain_rows": "never"}


class LearningDaemon(Daemon):
    """With a store in its folder."""

    def write_config(self, models, extra="", **server):
        storage = f"[storage]\ndirectory = {self.folder}/state\nmin_free = none\n"
        (self.folder / "state").mkdir(exist_ok=True)
        super().write_config(models, storage + extra, **server)

    def post(self, path, body=None, model=MODEL):
        return self.request("POST", f"{model}/{path}", body)

    def get(self, path, model=MODEL):
        reply = self.request("GET", f"{model}/{path}" if path else model)
        assert reply.status == 200 and reply.headers["content-type"] == "application/json"
        return reply.json()

    def retrain(self):
        """The path of a new run."""
        reply = self.post("retrain")
        assert reply.status == 202
        return reply.headers["location"]

    def end_of(self, path):
        """The run when it has ended."""

        def look():
            run = self.request("GET", path).json()
            return run if run["state"] in ENDED else None

        return wait_for(look, f"the end of {path}")


def rows_like_normal(n, seed=1):
    chance = random.Random(seed)
    rows = []
    for _ in range(n):
        a, b = chance.gauss(0, 1), chance.gauss(0, 1)
        noise = [chance.gauss(0, 0.1) for _ in range(3)]
        rows.append([10 + 3 * a, 2 * a + noise[0], 5 * b - 3, b - a + noise[1], 1 + noise[2],
                     7 * (a + b)])
    return rows


@pytest.fixture
def start(tmp_path, model_file):
    """start(keys_of_web) with the model file; start(keys, None) without one."""
    started = []

    def begin(keys=None, file=model_file, server=None):
        folder = tmp_path / f"daemon-{len(started)}"
        folder.mkdir()
        keys = {**QUICK, **({"file": file} if file else {}), **(keys or {})}
        started.append(LearningDaemon(folder, server or {"threads": 2}, {"web": keys}))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.stop()


@pytest.fixture(scope="module")
def learning(tmp_path_factory, model_file):
    """One daemon for the tests that leave its model as it is."""
    daemon = LearningDaemon(tmp_path_factory.mktemp("learning"), {"threads": 2},
                            {"web": {**QUICK, "file": model_file}})
    assert daemon.post("observe", {"instances": rows_like_normal(200)}).status == 200
    yield daemon
    daemon.stop()


# ---- where nothing is learned ----

EVERYTHING = [
    ("POST", "observe"), ("POST", "retrain"), ("GET", "runs"), ("GET", "runs/1"),
    ("DELETE", "runs/1"), ("GET", "versions"), ("POST", "versions/1/promote"),
    ("POST", "rollback"), ("POST", "feedback"), ("POST", "freeze"), ("POST", "unfreeze"),
    ("POST", "rebaseline"), ("POST", "reset"), ("GET", "buffer"), ("GET", "events"),
    ("GET", "audit"), ("GET", "versions/1/file"), ("PUT", "thresholds"),
    ("GET", "incidents"), ("GET", "incidents/1"), ("GET", "incidents/1/rows"),
]


@pytest.mark.parametrize("method, path", EVERYTHING)
def test_without_a_store_a_409_says_what_to_give(daemon, method, path):
    problem = check_problem(daemon.request(method, f"{MODEL}/{path}"), 409)
    assert "Learning is off" in problem["detail"] and "[storage] directory" in problem["detail"]


@pytest.mark.parametrize("method, path", EVERYTHING)
def test_an_unknown_model_is_a_404(learning, method, path):
    problem = check_problem(learning.request(method, f"/v1/models/nobody/{path}"), 404)
    assert '"nobody"' in problem["detail"]


@pytest.mark.parametrize("method, path", EVERYTHING)
def test_a_wrong_method_is_a_405(learning, method, path):
    reply = learning.request("PATCH", f"{MODEL}/{path}")
    check_problem(reply, 405)
    assert method in reply.headers["allow"].split(", ")


@pytest.mark.parametrize("number", ["0", "01", "-1", "x", "1.0", "99999999999999999999", "%31x"])
def test_a_malformed_number_in_a_path_is_a_404(learning, number):
    for method, path in (("GET", f"runs/{number}"), ("DELETE", f"runs/{number}"),
                         ("POST", f"versions/{number}/promote")):
        check_problem(learning.request(method, f"{MODEL}/{path}"), 404)


def test_learn_off_refuses_to_observe_and_scores_all_the_same(start):
    daemon = start({"learn": "off"})
    check_problem(daemon.post("observe", NORMAL), 409)
    assert daemon.score(ODD).json()["anomaly"] is True


# ---- observe ----


@pytest.mark.parametrize("body, rows", [
    (NORMAL, 1), ({"features": NORMAL}, 1), ({"features": dict(zip(FEATURES, NORMAL))}, 1),
    ({"instances": [NORMAL, dict(zip(FEATURES, NORMAL)), NORMAL]}, 3),
    ({"instances": [NORMAL], "series": "db-1", "timestamp": "2024-03-01T12:30:00.5+01:00"}, 1),
    ({"features": NORMAL, "series": None, "timestamp": 1709292600.25}, 1),
])
def test_observed_rows_are_counted_and_kept(learning, body, rows):
    before = learning.get("buffer")["rows"]
    reply = learning.post("observe", body)
    assert (reply.status, reply.json()) == (200, {"rows": rows})
    assert learning.get("buffer")["rows"] == before + rows


def test_observe_takes_its_options_from_the_query(learning):
    when = urllib.parse.quote("2024-03-01T12:30:00+01:00")
    assert learning.post(f"observe?series=db-2&timestamp={when}", NORMAL).json() == {"rows": 1}


@pytest.mark.parametrize("query, body, status", [
    ("", "", 400), ("", "[1,2", 400), ("", {"features": [1, 2]}, 422), ("", {"instances": []}, 422),
    ("", {"features": {"cpu": 1, "wrong": 2}}, 422), ("?explain=all", NORMAL, 400),
    ("?learn=false", NORMAL, 400), ("?timestamp=noon", NORMAL, 400), ("?series=", NORMAL, 400),
    ("?series=a&series=b", NORMAL, 400), ("?series=a", {"features": NORMAL, "series": "b"}, 400),
    ("?timestamp=2024-03-01T12:30:00+01:00", NORMAL, 400),  # + in a query is a blank
    ("", {"features": NORMAL, "timestamp": -1}, 400), ("", {"features": NORMAL, "top": 1}, 400),
])
def test_a_bad_observe_keeps_nothing(learning, query, body, status):
    before = learning.get("buffer")
    check_problem(learning.post("observe" + query, body), status)
    assert learning.get("buffer") == before


def test_more_rows_than_fit_at_once_are_a_413_that_names_the_limit(start):
    def observe(daemon, n):
        rows = '{"instances":[' + ",".join(["[1,2,3,4,5,6]"] * n) + "]}"
        return daemon.request("POST", f"{MODEL}/observe", rows, {"Content-Type": "application/json"})

    for daemon in (start(), start(file=None)):
        problem = check_problem(observe(daemon, 31301), 413)
        assert "31300" in problem["detail"] and "fewer" in problem["detail"]
        assert daemon.get("buffer")["rows"] == 0
        assert observe(daemon, 31300).status in (200, 202)


def test_observed_rows_outlive_a_kill(start):
    daemon = start()
    assert daemon.post("observe", {"instances": rows_like_normal(50)}).json() == {"rows": 50}
    daemon.process.kill()
    daemon.process.wait()
    assert daemon._start()
    assert daemon.get("buffer")["rows"] == 50


# ---- rows of /score ----


def request_bytes(method, path, body=b""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def test_while_the_store_is_slow_observe_waits_and_nothing_else_does(start):
    daemon = start(server={"threads": 1})
    before = daemon.get("buffer")["rows"]
    with daemon.connect() as waiting, daemon.connect() as gone:
        with StoppedThread(daemon.process.pid, "intake"):
            waiting.send(request_bytes("POST", f"{MODEL}/observe", {"instances": [NORMAL] * 3}) +
                         request_bytes("GET", "/healthz"))
            gone.send(request_bytes("POST", f"{MODEL}/observe", NORMAL))
            gone.socket.close()
            for _ in range(20):
                assert daemon.score(ODD).json()["anomaly"] is True
            for path in ("", "buffer", "runs", "versions", "events"):
                daemon.get(path)
            assert "anomalyd_buffer_rows" in daemon.request("GET", "/metrics").body.decode()
            waiting.socket.setblocking(False)
            with pytest.raises(BlockingIOError):  # not answered before it is stored
                waiting.socket.recv(1)
            waiting.socket.settimeout(60)
        assert waiting.read().json() == {"rows": 3}
        assert waiting.read().status == 200  # what came after it on the connection
    wait_for(lambda: daemon.get("buffer")["rows"] == before + 4, "all rows")
    assert daemon.score(NORMAL).status == 200


def test_who_looks_does_not_wait_for_the_disk(start):
    daemon = start()
    with daemon.connect() as waiting, sqlite3.connect(f"{daemon.folder}/state/state.db") as other:
        other.execute("BEGIN IMMEDIATE")  # the store waits for it, at most a second
        waiting.send(request_bytes("POST", f"{MODEL}/observe", NORMAL))
        waiting.socket.setblocking(False)
        for path in ("", "buffer", "runs", "versions", "events"):
            daemon.get(path)
        assert daemon.request("GET", "/metrics").status == 200
        with pytest.raises(BlockingIOError):
            waiting.socket.recv(1)
        other.rollback()
        waiting.socket.settimeout(60)
        assert waiting.read().json() == {"rows": 1}


ACTS = [("POST", "freeze"), ("POST", "unfreeze"), ("POST", "retrain"), ("DELETE", "runs/999"),
        ("POST", "versions/1/promote"), ("POST", "rollback"), ("POST", "rebaseline"),
        ("POST", "reset"), ("GET", "events?kind=verdict"), ("PUT", ""), ("DELETE", "")]


@pytest.mark.parametrize("method, path", [*ACTS, ("POST", "feedback")])
def test_no_worker_waits_for_what_people_do(start, method, path):
    daemon = start(server={"threads": 2})
    clients = [daemon.connect() for _ in range(8)]  # on both workers
    body = {"event": 9, "label": "normal"} if path == "feedback" else b"no model"
    kind = b"application/octet-stream" if method == "PUT" else b"application/json"
    with StoppedThread(daemon.process.pid, "acts"):
        for client in clients:
            client.send(request_bytes(method, f"{MODEL}/{path}".rstrip("/"), body)
                        .replace(b"application/json", kind))
        for _ in range(8):
            assert daemon.score(ODD).json()["anomaly"] is True
        for client in clients:
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.socket.recv(1)
            client.socket.settimeout(60)
        clients.pop().socket.close()  # harms nobody
    for client in clients:
        assert client.read().status in (200, 202, 400, 404, 409)


def test_a_verdict_that_is_on_its_way_holds_up_no_worker(start):
    daemon = start(server={"threads": 2})
    event = daemon.score(ODD).json()["event"]
    clients = [daemon.connect() for _ in range(8)]
    with StoppedThread(daemon.process.pid, "intake"):
        for client in clients:
            client.send(request_bytes("POST", f"{MODEL}/feedback",
                                      {"event": event, "label": "normal"}))
        for _ in range(8):
            assert daemon.score(NORMAL).status == 200
    assert [client.read().status for client in clients] == [200] * 8


def test_of_too_many_acts_the_last_is_refused(start):
    daemon = start(server={"threads": 2})
    clients = [daemon.connect() for _ in range(65)]
    with StoppedThread(daemon.process.pid, "acts"):
        for client in clients:
            client.send(request_bytes("POST", f"{MODEL}/freeze", b""))
        refused, _, _ = select.select([client.socket for client in clients], [], [], 60)
        assert len(refused) == 1
    replies = [client.read() for client in clients]
    assert sorted(reply.status for reply in replies) == [200] * 64 + [503]
    problem = next(reply for reply in replies if reply.status == 503)
    assert "try again" in check_problem(problem, 503)["detail"]
    assert problem.headers["retry-after"] == "1"


def test_a_stop_answers_what_people_do_first(start):
    daemon = start()
    with daemon.connect() as waiting:
        with StoppedThread(daemon.process.pid, "acts"):
            waiting.send(request_bytes("POST", f"{MODEL}/reset", b""))
            wait_for(lambda: daemon.score(NORMAL).status == 200, "the service")
            daemon.signal(signal.SIGTERM)
            wait_for(lambda: "stopping" in daemon.log(), "the stop")
        reply = waiting.read()
        assert reply.status == 200 and reply.headers["connection"] == "close"
    assert daemon.wait_for_exit() == 0


def test_a_stop_while_observe_waits_answers_it_first(start):
    daemon = start()
    with daemon.connect() as waiting:
        with StoppedThread(daemon.process.pid, "intake"):
            waiting.send(request_bytes("POST", f"{MODEL}/observe", NORMAL))
            wait_for(lambda: daemon.score(NORMAL).status == 200, "the service")
            daemon.signal(signal.SIGTERM)
            wait_for(lambda: "stopping" in daemon.log(), "the stop")
        reply = waiting.read()
        assert reply.json() == {"rows": 1} and reply.headers["connection"] == "close"
    assert daemon.wait_for_exit() == 0


def test_scored_rows_are_learned_from_unless_learn_is_false(start):
    daemon = start()
    rows = {"instances": rows_like_normal(40)}
    assert daemon.score(rows, "?learn=false&series=a").status == 200
    assert daemon.score({**rows, "learn": False}).status == 200
    assert daemon.score(rows, "?series=b&timestamp=1709292600").status == 200
    assert daemon.post("observe", NORMAL).status == 200  # is stored behind all that came before
    buffer = daemon.get("buffer")
    assert 1 < buffer["rows"] + buffer["quarantined"] <= 41


def test_the_options_of_learning_do_not_change_a_verdict(learning):
    def verdict(*request):
        verdict = learning.score(*request).json()
        assert verdict.pop("event") > 0  # each has its own
        return verdict

    plain = verdict(ODD, "?explain=none")
    assert verdict(ODD, "?learn=false&series=x&timestamp=1709292600&explain=none") == plain
    assert verdict({"features": ODD, "series": None, "learn": True, "explain": "none"}) == plain


# ---- from nothing ----


def test_a_model_without_a_file_learns_its_first_version(start):
    daemon = start({"min_rows": 100, "buffer_rows": 1000}, None)
    model = daemon.get("")
    assert (model["state"], model["version"], model["rows"]) == ("learning", 0, 0)
    assert daemon.request("GET", "/readyz").status == 200

    rows = [dict(zip(FEATURES, row)) for row in rows_like_normal(160)]
    reply = daemon.score({"features": rows[0], "explain": "all"})
    assert reply.status == 202 and reply.headers["content-type"] == "application/json"
    assert reply.json() == {"state": "learning", "rows": 1, "rows_needed": 100}
    reply = daemon.post("observe", {"instances": rows[1:60]})
    assert (reply.status, reply.json()["rows"]) == (202, 60)
    assert daemon.get("")["rows"] == 60

    check_problem(daemon.score(NORMAL[:5]), 422)
    check_problem(daemon.score({"features": {"cpu": 1, "wrong": 2}}), 422)
    assert daemon.request("POST", "/v1/score", {"instances": rows[60:]}).status == 202
    wait_for(lambda: daemon.get("")["state"] == "serving", "the first version")
    model = daemon.get("")
    assert model["version"] == 1 and model["features"] == FEATURES
    assert daemon.score(ODD).json()["anomaly"] is True


def test_rows_without_names_make_features_of_their_numbers(start):
    daemon = start({"min_rows": 80, "buffer_rows": 500}, None)
    assert daemon.score({"instances": [NORMAL, NORMAL], "series": None}).status == 202
    check_problem(daemon.score({"features": {"cpu": 1}}), 422)
    assert daemon.score({"features": {f"f{i}": 1 for i in range(6)}}).json()["rows"] == 3


def test_configured_features_need_no_first_row(start):
    daemon = start({"min_rows": 80, "buffer_rows": 500, "features": "a, b"}, None)
    check_problem(daemon.score([1, 2, 3]), 422)
    assert daemon.score({"features": {"b": 1, "a": 2}}).json()["rows"] == 1


def test_with_learn_observe_first_rows_that_are_scored_are_not_kept(start):
    daemon = start({"min_rows": 80, "buffer_rows": 500, "learn": "observe"}, None)
    for _ in range(2):
        reply = daemon.score({"features": {"cpu": 1}})
        assert (reply.status, reply.json()["rows"]) == (202, 0)
    check_problem(daemon.score("{"), 400)
    assert daemon.post("observe", NORMAL).json()["rows"] == 1  # others' features: nobody has said them
    assert daemon.score(NORMAL).json() == {"state": "learning", "rows": 1, "rows_needed": 80}
    check_problem(daemon.score({"features": {"cpu": 1}}), 422)
    assert daemon.get("buffer")["rows"] == 1


def test_a_frozen_model_keeps_no_first_rows_that_are_scored(start):
    daemon = start({"min_rows": 80, "buffer_rows": 500}, None)
    assert daemon.score(NORMAL).json()["rows"] == 1
    daemon.post("freeze")
    assert daemon.score(NORMAL).json()["rows"] == 1
    daemon.post("unfreeze")
    assert daemon.score(NORMAL).json()["rows"] == 2


@pytest.mark.parametrize("path", ["score", "observe"])
def test_with_learn_off_a_model_without_a_version_says_what_to_do(start, path):
    daemon = start({"learn": "off"}, None)
    detail = check_problem(daemon.post(path, NORMAL), 409)["detail"]
    assert "no version" in detail and "learn = off" in detail and "file" in detail


@pytest.mark.parametrize("body, status", [
    ("", 400), ("[1,2", 400), ("{}", 400), ("7", 400), ('{"features":7}', 400), ("[1,2] 3", 400),
    ('{"instances":[[1],2]}', 400), ("[]", 422), ('{"features":{}}', 422), ('{"instances":[]}', 422),
    ('{"features":{"":1}}', 422), ('{"features":{"a":1,"a":2}}', 422), ("[null]", 422),
    ('{"instances":[{"a":1},{"b":1}]}', 422), ('{"features":[1],"nonsense":1}', 400),
    (json.dumps([0] * 4097), 422), ("[" * 100000, 400),
])
def test_a_bad_first_body_says_nothing_about_the_features(start_nothing, body, status):
    check_problem(start_nothing.score(body), status)
    check_problem(start_nothing.post("observe", body), status)
    assert start_nothing.get("")["rows"] == 0
    reply = start_nothing.score({"features": {body[:9] + "x": 1}, "learn": False})
    assert reply.status == 202 and reply.json()["rows"] == 0  # any features would do still


def test_first_rows_that_are_observed_take_no_options_of_score(start_nothing):
    check_problem(start_nothing.post("observe?explain=all", NORMAL), 400)
    check_problem(start_nothing.post("observe", {"features": NORMAL, "learn": False}), 400)
    assert start_nothing.get("")["rows"] == 0


@pytest.fixture(scope="module")
def start_nothing(tmp_path_factory):
    daemon = LearningDaemon(tmp_path_factory.mktemp("nothing"), {"threads": 1}, {"web": QUICK})
    yield daemon
    daemon.stop()


def test_a_drift_meter_that_cannot_speak_is_told(start):
    daemon = start({"retrain_on_drift": "yes"})
    assert "model web: retrain_on_drift has no effect" in daemon.log()
    assert "retrain_on_drift" not in start().log()


# ---- runs and versions ----


def test_a_run_is_followed_to_its_end(start):
    daemon = start()
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    reply = daemon.post("retrain", "this is ignored")
    assert reply.status == 202
    path = reply.headers["location"]
    run = reply.json()
    assert path == f"{MODEL}/runs/{run['id']}" and run["state"] in ENDED | {"queued", "running"}
    assert run["trigger"] == "request"

    run = daemon.end_of(path)
    assert run["state"] in ("promoted", "refused"), run
    assert daemon.get("runs")["runs"][0]["id"] == run["id"]
    versions = {version["version"]: version["state"] for version in daemon.get("versions")["versions"]}
    assert len(versions) == 2 and "live" in versions.values()
    check_problem(daemon.request("DELETE", path), 409)
    check_problem(daemon.request("DELETE", f"{MODEL}/runs/{run['id'] + 1}"), 404)
    check_problem(daemon.request("GET", f"{MODEL}/runs/{run['id'] + 1}"), 404)


def test_a_run_is_cancelled(start):
    daemon = start({"epochs": 100000, "patience": 0})
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    running = daemon.retrain()
    wait_for(lambda: daemon.request("GET", running).json()["state"] == "running", "the run")
    wait_for(lambda: daemon.get("")["state"] == "training", "the state to show it")
    queued = daemon.retrain()
    assert queued != running and daemon.retrain() == queued
    for path in (queued, running):
        assert daemon.request("DELETE", path).status == 200
        assert daemon.end_of(path)["state"] == "cancelled"
    assert daemon.get("")["state"] == "serving" and daemon.score(ODD).json()["version"] == 1


def test_versions_are_promoted_and_rolled_back(start):
    daemon = start()
    check_problem(daemon.post("rollback"), 409)
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    run = daemon.end_of(daemon.retrain())
    other = run["version"]
    check_problem(daemon.post("versions/77/promote"), 404)
    for version in (1, other):
        reply = daemon.post(f"versions/{version}/promote")
        assert (reply.status, reply.json()) == (200, {"model": "web", "version": version})
        assert daemon.score(ODD).json()["version"] == version
    assert daemon.post("rollback").json() == {"model": "web", "version": 1}
    assert daemon.score(ODD).json()["version"] == 1
    assert "rolled_back" in [event["kind"] for event in daemon.get("events")["events"]]


# ---- what people steer ----


def test_freeze_and_unfreeze_show_in_the_state(start):
    daemon = start()
    assert daemon.post("observe", NORMAL).status == 200
    assert daemon.post("freeze").json() == {"model": "web", "state": "frozen"}
    assert daemon.request("GET", "/v1/models").json()["models"][0]["state"] == "frozen"
    assert daemon.get("")["state"] == "frozen" and daemon.get("")["features"] == FEATURES
    assert daemon.post("unfreeze").json() == {"model": "web", "state": "serving"}
    assert daemon.get("")["state"] == "serving"


def test_reset_forgets_rows_and_keeps_the_version(start):
    daemon = start()
    assert daemon.post("observe", {"instances": rows_like_normal(20)}).status == 200
    assert daemon.post("rebaseline").json() == {"model": "web", "state": "serving"}
    assert daemon.post("reset").json() == {"model": "web", "state": "serving"}
    assert daemon.get("buffer")["rows"] == 0
    assert daemon.score(ODD).json()["version"] == 1
    assert daemon.post("observe", NORMAL).json() == {"rows": 1}


def test_the_buffer_and_the_events_are_listed(learning):
    buffer = learning.get("buffer")
    assert 0 < buffer["rows"] <= buffer["capacity"] and buffer["quarantined"] == 0
    assert isinstance(learning.get("events")["events"], list)


@pytest.mark.parametrize("body, status, says", [
    ("", 400, "Malformed JSON"), ('{"event":1', 400, "line 1"), ("[1]", 400, "not a JSON object"),
    ('{"event":1,"event":1,"label":"normal"}', 400, "duplicate"),
    ({"event": 1, "label": "normal", "why": "x"}, 400, '"why"'),
    ({"event": "1", "label": "normal"}, 400, '"event"'), ({"event": 0, "label": "normal"}, 400, '"event"'),
    ({"event": 1.5, "label": "normal"}, 400, '"event"'), ({"event": 1, "label": "odd"}, 400, '"label"'),
    ({"event": 1, "label": None}, 400, '"label"'), ({"label": "normal"}, 422, '"event"'),
    ({"event": 1}, 422, '"label"'), ({}, 422, '"event"'),
    ({"event": 999999999, "label": "normal"}, 404, "999999999"),
    ({"event": 999999999, "label": "anomaly"}, 404, "no event"),
    (" " * 5000, 413, "4096"),
])
def test_bad_feedback_says_what_to_send(learning, body, status, says):
    assert says in check_problem(learning.post("feedback", body), status)["detail"]


def test_feedback_must_be_json(learning):
    check_problem(learning.request("POST", f"{MODEL}/feedback", "x", {"Content-Type": "text/csv"}), 415)


def test_feedback_on_an_incident_is_remembered(start):
    daemon = start()
    for _ in range(40):
        assert daemon.score({"instances": [ODD] * 5, "series": "db"}).status == 200

    def incidents():
        return [event for event in daemon.get("events")["events"] if event["kind"] == "incident"]

    incident = wait_for(incidents, "an incident")[0]
    reply = daemon.post("feedback", {"event": incident["id"], "label": "anomaly"})
    assert (reply.status, reply.json()) == (200, {"event": incident["id"], "label": "anomaly"})
    labels = {event["id"]: event.get("label") for event in incidents()}
    assert labels[incident["id"]] == "anomaly"


# ---- all at once ----


def test_a_reload_that_changes_nothing_leaves_an_incident_open(start):
    daemon = start()

    def incidents():
        daemon.get("events?kind=verdict")  # behind all rows
        return [event for event in daemon.get("events")["events"] if event["kind"] == "incident"]

    daemon.score({"instances": rows_like_normal(50) + [ODD] * 8 + [[101, 1, -3, 0, 1, n] for n in range(40)]})
    before = incidents()
    assert len(before) == 1 and before[0]["open"]
    daemon.reload("reloaded")
    daemon.score({"instances": [[102, 1, -3, 0, 1, n] for n in range(40)]})
    after = incidents()
    assert [event["id"] for event in after] == [before[0]["id"]] and after[0]["open"]


def test_everything_at_once_loses_no_acknowledged_row(start):
    daemon = start({"buffer_rows": 40000})
    rows = rows_like_normal(20)
    acknowledged, problems = [], []

    def run(act):
        def work():
            try:
                for _ in range(25):
                    act()
            except Exception as problem:  # shown by the assertion below
                problems.append(problem)

        return threading.Thread(target=work)

    def observe():
        acknowledged.append(daemon.post("observe", {"instances": rows}).json()["rows"])

    def expect(method, path, *statuses):
        def act():
            reply = daemon.request(method, f"{MODEL}/{path}")
            assert reply.status in statuses, reply.body

        return act

    def score():
        assert daemon.score({"instances": rows}, "?learn=false").status == 200

    threads = [run(act) for act in (
        observe, observe, observe, score, expect("POST", "retrain", 202, 409), expect("GET", "runs", 200),
        expect("POST", "versions/1/promote", 200), expect("POST", "rollback", 200, 409),
        expect("POST", "freeze", 200), expect("POST", "unfreeze", 200), expect("GET", "buffer", 200),
        expect("DELETE", "runs/1", 200, 404, 409), expect("GET", "versions", 200),
        expect("POST", "rebaseline", 200), expect("GET", "events", 200), daemon.metrics)]
    assert daemon.post("observe", {"instances": rows}).status == 200
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and len(acknowledged) == 75
    assert daemon.get("buffer")["rows"] == 20 + sum(acknowledged)
