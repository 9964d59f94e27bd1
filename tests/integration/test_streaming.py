"""POST …/score of bodies that are scored while they come: long JSON, NDJSON, .npy."""

import io
import json
import math
import random

import numpy as np
import pytest

from conftest import FEATURES, IS_SANITIZED, NORMAL, ODD, check_problem, wait_for

NDJSON, NPY = {"Content-Type": "application/x-ndjson"}, {"Content-Type": "application/x-npy"}
SCORE = "/v1/models/web/score"


def make_rows(n, spread=1):
    chance = random.Random(3)
    return [[round(value + chance.gauss(0, spread), 6) for value in NORMAL] for _ in range(n)]


def npy(rows, dtype="<f4"):
    out = io.BytesIO()
    np.save(out, np.array(rows, dtype=dtype))
    return out.getvalue()


def lines_of(reply):
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.body.endswith(b"\n")
    return [json.loads(line) for line in reply.body.decode().splitlines()]


def verdicts_alone(daemon, rows):
    """Of independent rows, without event ids."""
    results = daemon.score({"instances": rows, "series": None, "explain": "none"}).json()["results"]
    return [without_event(result) for result in results]


def without_event(verdict):
    return {key: value for key, value in verdict.items() if key != "event"}


def scored(daemon):
    return daemon.metrics()['anomalyd_rows_scored_total{model="web"}']


# ---- JSON ----

def test_a_long_batch_says_the_same_as_short_ones(daemon):
    rows = make_rows(12_000) + [ODD]
    body = json.dumps({"series": None, "explain": "none", "instances": rows})
    assert len(body) > 600_000
    long = daemon.request("POST", SCORE, body, {"Content-Type": "application/json"}).json()
    short = []
    for begin in range(0, len(rows), 500):
        short += verdicts_alone(daemon, rows[begin:begin + 500])
    assert [without_event(result) for result in long["results"]] == short
    assert long["results"][-1]["anomaly"]


def test_a_long_batch_is_explained_with_the_movement_of_its_series(start_daemon):
    rows = make_rows(12_000) + [ODD] * 3
    answers = []
    for size in (len(rows), 200):  # at once, and in pieces that are no streams
        daemon = start_daemon()
        results = []
        for begin in range(0, len(rows), size):
            results += daemon.score({"instances": rows[begin:begin + size]}).json()["results"]
        answers.append([without_event(result) for result in results])
    assert answers[0] == answers[1]
    assert answers[0][-1]["contributions"]


@pytest.mark.parametrize("n", [1, 7, 4096])
def test_pieces_may_be_of_any_size(daemon, n):
    rows = make_rows(40 if n == 1 else 12_000)
    body = json.dumps({"series": None, "explain": "none", "instances": rows}).encode()
    pieces = (body[i:i + n] for i in range(0, len(body), n))
    reply = daemon.request("POST", SCORE, pieces, {"Content-Type": "application/json"})
    assert ([without_event(result) for result in reply.json()["results"]]
            == verdicts_alone(daemon, rows))


@pytest.mark.parametrize("place", ["first", "middle", "last", "behind"])
def test_what_is_wrong_in_a_long_body_is_told_with_its_place(daemon, place):
    rows = make_rows(12_000)
    texts = [json.dumps(row) for row in rows]
    at = {"first": 0, "middle": 2500, "last": 11_999}.get(place)
    if at is not None:
        texts[at] = texts[at].replace(",", ";", 1)
    body = '{"instances":[\n' + ",\n".join(texts) + "]}" + ("x" if place == "behind" else "")
    before = scored(daemon)
    problem = check_problem(daemon.request("POST", SCORE, body,
                                           {"Content-Type": "application/json"}), 400)
    offset = body.index(";") if at is not None else len(body) - 1
    assert problem["offset"] == offset
    assert problem["line"] == body[:offset].count("\n") + 1
    assert problem["column"] == offset - body[:offset].rfind("\n")
    assert scored(daemon) == before  # a batch is refused as a whole


def test_wrong_features_in_a_long_body_are_told_by_row(daemon):
    rows = make_rows(12_000)
    rows[4000] = rows[4000][:-1]
    rows[4500][0] = "a"
    problem = check_problem(daemon.score({"instances": rows}), 422)
    assert [error["pointer"] for error in problem["errors"]] == ["/instances/4000",
                                                                 "/instances/4500/0"]


def test_a_refused_batch_leaves_no_trace(start_daemon):
    rows = make_rows(12_000) + [ODD] * 20
    daemons = [start_daemon(), start_daemon()]
    body = json.dumps({"instances": rows})[:-2] + ',[1]]}'
    check_problem(daemons[0].request("POST", SCORE, body, {"Content-Type": "application/json"}),
                  422)
    answers = [daemon.score(ODD).json() for daemon in daemons]
    assert without_event(answers[0]) == without_event(answers[1])  # and so its movement
    for daemon in daemons:
        assert scored(daemon) == 1


COUNTED = ("anomalyd_rows_scored_total", "anomalyd_anomalies_total", "anomalyd_score_bucket",
           "anomalyd_score_count")


def test_a_long_batch_is_counted_as_short_ones_are(start_daemon):
    rows = make_rows(12_000) + [ODD] * 3
    told = []
    for size in (len(rows), 200):
        daemon = start_daemon()
        for begin in range(0, len(rows), size):
            body = {"series": None, "explain": "none", "instances": rows[begin:begin + size]}
            assert daemon.score(body).status == 200
        said = daemon.request("GET", "/v1/models/web/thresholds").json()
        told.append(({name: value for name, value in daemon.metrics().items()
                      if name.startswith(COUNTED)}, said["recent_rows"],
                     [threshold["recent_alarms"] for threshold in said["thresholds"]]))
    assert told[0] == told[1]
    counted, n_recent, recent_alarms = told[0]
    assert counted['anomalyd_anomalies_total{model="web"}'] >= 3
    assert n_recent > 0 and max(recent_alarms) >= 3


@pytest.mark.parametrize("place", [0, 7000, 11_999])
def test_a_value_missing_in_a_long_body_is_refused_with_its_row(start_daemon, model_file, place):
    daemon = start_daemon({"web": {"file": model_file, "missing": "reject"}})
    rows = make_rows(12_000)
    rows[place] = [None, *rows[place][1:]]
    for body, kind in ((json.dumps({"instances": rows}), {}), (npy(rows), NPY)):
        problem = check_problem(daemon.request("POST", SCORE, body, kind), 422)
        assert problem["detail"].startswith(f'Row {place} has no value for "cpu"')
        assert problem["missing"] == ["cpu"]
    assert scored(daemon) == 0


@pytest.mark.parametrize("n_rows", [3000, 12_000])
def test_options_may_stand_behind_rows(daemon, n_rows):
    rows = make_rows(n_rows - 1) + [ODD]
    body = {"instances": rows, "explain": "all", "top": 1, "series": None}
    first = {"explain": "all", "top": 1, "series": None, "instances": rows}
    assert len(json.dumps(body)) > 100_000
    answers = [[without_event(result) for result in daemon.score(order).json()["results"]]
               for order in (body, first)]
    assert answers[0] == answers[1]
    assert len(answers[0][0]["contributions"]) == 1


def test_options_behind_rows_come_too_late_in_a_body_that_is_not_kept(daemon):
    rows = make_rows(100_000)
    before = scored(daemon)
    problem = check_problem(daemon.score({"instances": rows, "explain": "none"}), 400)
    assert '"explain" stands behind the rows' in problem["detail"]
    assert scored(daemon) == before
    assert daemon.score({"explain": "none", "instances": rows}).status == 200
    assert daemon.score({"instances": rows}, "?explain=none").status == 200


def test_a_batch_of_100000_rows_takes_memory_for_its_answer_alone(start_daemon, model_file):
    daemon = start_daemon({"web": {"file": model_file, "learn": "off"}})
    body = json.dumps({"instances": make_rows(1000) * 100})
    daemon.score({"instances": make_rows(10)})
    before = daemon.peak_memory()
    reply = daemon.request("POST", SCORE + "?explain=none", body,
                           {"Content-Type": "application/json"})
    assert len(reply.json()["results"]) == 100_000
    # the answer grows by doubling, and for a moment both are there
    assert IS_SANITIZED or daemon.peak_memory() - before < 2 * len(reply.body) + 10e6
    assert len(body) > 5e6


def test_a_connection_that_ends_in_the_middle_leaves_no_trace(daemon):
    before = scored(daemon)
    body = json.dumps({"instances": make_rows(12_000)}).encode()
    with daemon.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                    % (SCORE.encode(), len(body)) + body[:-100])
    assert daemon.score(NORMAL).status == 200
    assert scored(daemon) == before + 1


def test_other_requests_are_answered_while_a_body_comes(daemon):
    body = json.dumps({"instances": make_rows(12_000)}).encode()
    half = len(body) // 2
    with daemon.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                    % (SCORE.encode(), len(body)) + body[:half])
        for _ in range(20):  # on both workers
            assert daemon.score(NORMAL).status == 200
        client.send(body[half:])
        assert len(client.read().json()["results"]) == 12_000


def test_a_request_keeps_the_version_that_it_began_with(start_daemon, other_model_file):
    daemon = start_daemon()
    body = json.dumps({"instances": make_rows(24_000)}).encode()
    half = len(body) // 2
    with daemon.connect() as client:
        client.send(b"POST %s?explain=none HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                    % (SCORE.encode(), len(body)) + body[:half])
        for _ in range(150):  # as often the workers look at what has come
            assert daemon.score(NORMAL).json()["version"] == 1
        daemon.write_config({"web": {"file": other_model_file}})
        daemon.reload("reload")
        wait_for(lambda: daemon.score(NORMAL).json()["version"] == 2, "the other file")
        client.send(body[half:])
        answer = client.read().json()
    assert answer["version"] == 1 and len(answer["results"]) == 24_000


def test_a_body_above_the_limit_is_refused_in_the_middle(start_daemon):
    daemon = start_daemon(max_body="800K")
    body = json.dumps({"instances": make_rows(20_000)}).encode()
    assert len(body) > 900_000  # and from 512 KiB on it is scored while it comes
    pieces = (body[i:i + 8192] for i in range(0, len(body), 8192))
    before = scored(daemon)
    try:
        reply = daemon.request("POST", SCORE, pieces, {"Content-Type": "application/json"})
        check_problem(reply, 413)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it closed while we were sending
    assert scored(daemon) == before


def test_an_option_that_comes_with_the_piece_too_many_comes_too_late(daemon):
    rows = json.dumps(make_rows(12_000))
    for body in ('{"instances":' + rows + ',"top":1' + " " * (4 << 20) + "}",
                 '{"instances":' + rows + " " * ((4 << 20) - len(rows) - 13) + ',"top":1}'):
        problem = check_problem(daemon.request("POST", SCORE, body,
                                               {"Content-Type": "application/json"}), 400)
        assert '"top" stands behind the rows' in problem["detail"]


@pytest.mark.parametrize("path", ["/v1/models/web/score?series=row", SCORE + "?series=line"])
def test_what_is_longer_than_any_row_is_refused_before_its_end(daemon, path):
    long = ",".join("1" for _ in range(3_000_000))
    if "line" in path:
        lines = lines_of(daemon.request("POST", path, json.dumps(NORMAL) + "\n[" + long, NDJSON))
        assert [line.get("status") for line in lines] == [None, 413]
        return
    problem = check_problem(daemon.request("POST", path, '{"instances":[[1,2],[' + long + "]]}",
                                           {"Content-Type": "application/json"}), 400)
    assert "longer than any row" in problem["detail"] and problem["offset"] == 20


# ---- NDJSON ----

def test_each_line_of_ndjson_gets_a_line(daemon):
    rows = make_rows(1000) + [ODD]
    body = "".join(json.dumps(row) + "\n" for row in rows)
    lines = lines_of(daemon.score(body, "?series=lines&explain=none", **NDJSON))
    assert [line["row"] for line in lines] == list(range(1001))
    expected = verdicts_alone(daemon, rows)
    for line, verdict in zip(lines, expected):
        assert line["model"] == "web" and line["version"] == 1
        assert {key: line[key] for key in verdict} == verdict
        assert line["threshold"] > 0
    assert lines[-1]["anomaly"]


def test_a_bad_line_gets_a_problem_in_its_place(daemon):
    good = json.dumps(NORMAL)
    body = "\n".join([good, "[1,2]", "", "nonsense", json.dumps({"features": NORMAL}), "{}",
                      json.dumps({"instances": [NORMAL]}), json.dumps({"features": {"cpu": 1}}),
                      json.dumps({"features": NORMAL, "top": 0}), good])  # no newline at the end
    before = scored(daemon)
    lines = lines_of(daemon.score(body, **NDJSON))
    assert [line["row"] for line in lines] == list(range(9))
    assert [line.get("status") for line in lines] == [None, 422, 400, None, 400, 400, 422, 400,
                                                      None]
    for line in lines:
        assert "status" not in line or (line["title"] and line["detail"])
    assert scored(daemon) == before + 3


def test_a_line_may_have_options_of_its_own(daemon):
    body = "\n".join(json.dumps(line) for line in [
        {"features": NORMAL}, {"features": NORMAL, "explain": "all", "top": 2},
        {"features": NORMAL}, {"features": ODD, "explain": "none", "series": "other"}])
    lines = lines_of(daemon.score(body, **NDJSON))
    assert [len(line.get("contributions", [])) for line in lines] == [0, 2, 0, 0]
    assert lines[3]["anomaly"]


def test_ndjson_may_come_byte_by_byte(daemon):
    rows = make_rows(5)
    body = "".join(json.dumps(row) + "\r\n" for row in rows).encode()
    reply = daemon.request("POST", SCORE + "?explain=none&series=bytes",
                           (body[i:i + 1] for i in range(len(body))), NDJSON)
    assert [line["score"] for line in lines_of(reply)] == [
        verdict["score"] for verdict in verdicts_alone(daemon, rows)]


def test_a_problem_says_its_line(daemon):
    body = json.dumps(NORMAL) + "\n\n[1]\n[1;\n"
    lines = lines_of(daemon.score(body, **NDJSON))
    assert [line.get("line") for line in lines] == [None, 3, 4]
    assert lines[2]["offset"] == body.index(";") and lines[2]["column"] == 3


def test_lines_of_a_body_that_breaks_off_have_been_judged(daemon):
    before = scored(daemon)
    lines = (json.dumps(NORMAL) + "\n").encode() * 3
    with daemon.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                    b"Content-Length: %d\r\n\r\n" % (SCORE.encode(), len(lines) + 9) + lines + b"[1")
        wait_for(lambda: scored(daemon) == before + 3, "the lines to be judged")
    assert daemon.score(NORMAL).status == 200
    assert scored(daemon) == before + 4


def test_a_408_says_how_many_lines_have_been_judged(start_daemon):
    daemon = start_daemon(request_timeout="200ms")
    lines = (json.dumps(NORMAL) + "\n").encode() * 3
    with daemon.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                    b"Content-Length: %d\r\n\r\n" % (SCORE.encode(), len(lines) + 9) + lines + b"[1")
        problem = check_problem(client.read(), 408)
    assert "the first 3 rows were judged before that, and count" in problem["detail"]
    assert scored(daemon) == 3


def test_a_413_in_mid_stream_says_how_many_lines_have_been_judged(start_daemon):
    daemon = start_daemon(max_body="8K")
    line = json.dumps(NORMAL).encode() + b"\n"
    n_first = 4000 // len(line)
    with daemon.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n" % SCORE.encode())
        client.send(b"%x\r\n" % (n_first * len(line)) + line * n_first + b"\r\n")
        wait_for(lambda: scored(daemon) == n_first, "the lines to be judged")
        client.send(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        problem = check_problem(client.read(), 413)
    assert f"the first {n_first} rows were judged before that, and count" in problem["detail"]


def test_details_end_with_a_problem_a_line(daemon):
    before = scored(daemon)
    body = "\n".join([json.dumps(NORMAL)] * 1200)
    lines = lines_of(daemon.score(body, "?detail=true&explain=none", **NDJSON))
    assert [line.get("status") for line in lines] == [None] * 1000 + [413] * 200
    body = "\n".join([json.dumps(NORMAL)] * 1200
                     + [json.dumps({"features": NORMAL, "detail": True})])
    assert all("status" not in line for line in lines_of(daemon.score(body, **NDJSON)))
    assert scored(daemon) == before + 2201


def test_an_answer_to_lines_ends_before_it_is_gigantic(start_daemon):
    """Two bytes may ask for 250: what has been answered counts, the rest is to be sent again."""
    daemon = start_daemon(max_request_memory="1G")
    reply = daemon.score("x\n" * 2_000_000, **NDJSON)
    assert reply.status == 200 and len(reply.body) < 300 << 20
    last = json.loads(reply.body[reply.body.rindex(b"\n", 0, -1):])
    assert last["status"] == 413 and last["line"] == last["row"] + 1 < 2_000_000
    assert "send it again" in last["detail"]


@pytest.mark.parametrize("accept, kind", [
    ("application/x-npy;q=0", "application/json"),
    ("application/x-npy;q=0.5, */*;q=0.8", "application/json"),
    ("application/x-ndjson;q=0.5, application/*;q=0.8, */*;q=0.1", "application/json"),
    ("application/x-ndjson;q=0.5, application/json;q=0.1, */*", "application/x-ndjson"),
    ("application/x-ndjson, */*", "application/x-ndjson"),
    ("*/*", "application/json"),
    ("application/json, application/x-ndjson;q=0.1", "application/json"),
    ("application/json;q=0.5, application/x-ndjson; q=0.9", "application/x-ndjson"),
    ("application/json, application/x-npy", "application/x-npy"),
    ("*/*", "application/json"),
])
def test_what_is_wanted_most_is_sent(daemon, accept, kind):
    assert daemon.score(NORMAL, Accept=accept).headers["content-type"] == kind


@pytest.mark.parametrize("body", ["", "\n\n", "  \r\n"])
def test_ndjson_without_rows_is_refused(daemon, body):
    check_problem(daemon.score(body, **NDJSON), 422)


def test_a_line_that_lacks_a_value_is_refused_alone(start_daemon, model_file):
    daemon = start_daemon({"web": {"file": model_file, "missing": "reject"}})
    body = "\n".join(json.dumps(row) for row in [NORMAL, [None] + NORMAL[1:], NORMAL])
    lines = lines_of(daemon.score(body, **NDJSON))
    assert [line.get("status") for line in lines] == [None, 422, None]
    assert lines[1]["missing"] == [FEATURES[0]]


# ---- .npy ----

@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_an_array_is_scored_like_a_batch(daemon, dtype):
    rows = [[float(np.float32(value)) for value in row] for row in make_rows(3000)]
    reply = daemon.score(npy(rows, dtype), "?series=npy&explain=none", **NPY)
    results = [without_event(result) for result in reply.json()["results"]]
    assert results == verdicts_alone(daemon, rows)


def test_the_answer_may_be_an_array(daemon):
    rows = make_rows(700) + [ODD]
    reply = daemon.score(npy(rows), **NPY, Accept="application/x-npy")
    assert reply.status == 200 and reply.headers["content-type"] == "application/x-npy"
    answer = np.load(io.BytesIO(reply.body))
    assert answer.shape == (701, 3) and answer.dtype == np.float64
    rows = [[float(np.float32(value)) for value in row] for row in rows]
    expected = [[verdict[key] for key in ("reconstruction_error", "score", "p_value")]
                for verdict in verdicts_alone(daemon, rows)]
    assert np.array_equal(answer, np.array(expected))


def test_json_may_be_answered_with_an_array_or_lines(daemon):
    for body in (NORMAL, {"instances": [NORMAL, ODD]}):
        n = 1 if body is NORMAL else 2
        reply = daemon.score(body, Accept="text/html, application/x-npy;q=0.9")
        assert np.load(io.BytesIO(reply.body)).shape == (n, 3)
        assert len(lines_of(daemon.score(body, Accept="application/x-ndjson"))) == n


def test_nan_in_an_array_is_a_missing_value(daemon):
    row = [math.nan] + NORMAL[1:]
    verdict = daemon.score(npy([row], "<f8"), **NPY).json()["results"][0]
    assert verdict["imputed"] == [FEATURES[0]]
    assert verdict["score"] == daemon.score([None] + NORMAL[1:]).json()["score"]


@pytest.mark.parametrize("rows, status, words", [
    ([[1, 2, 3]], 422, "3 columns, but the model wants 6"),
    ([NORMAL, [math.inf] + NORMAL[1:]], 422, "too large"),
    ([[math.nan] * 4 + NORMAL[4:]], 422, "more than half"),
    (np.zeros((0, 6)), 422, "no rows are given"),
    ([[[1.0]]], 400, "3 dimensions"),
])
def test_an_array_that_does_not_fit_is_refused(daemon, rows, status, words):
    before = scored(daemon)
    problem = check_problem(daemon.score(npy(rows), **NPY), status)
    assert words in json.dumps(problem)
    assert scored(daemon) == before


@pytest.mark.parametrize("change, words", [
    (lambda body: body[:-1], "cut off"),
    (lambda body: body + b"x", "behind the array"),
    (lambda body: body + body, "behind the array"),
    (lambda body: body[:50], "cut off in its header"),
    (lambda body: b"[1,2,3]" + body, "no .npy file"),
    (lambda body: body.replace(b"False", b"True "), "column by column"),
    (lambda body: body.replace(b"<f4", b"<i4"), "not float32 or float64"),
    (lambda body: b"", "empty"),
])
def test_what_is_no_array_is_refused(daemon, change, words):
    before = scored(daemon)
    problem = check_problem(daemon.score(change(npy(make_rows(3000))), **NPY), 400)
    assert words in problem["detail"]
    assert scored(daemon) == before


def test_an_array_with_far_too_many_columns_takes_no_memory(start_daemon):
    daemon = start_daemon()
    body = npy([[0.0] * 4_000_000])
    check_problem(daemon.score(body, **NPY), 422)
    assert IS_SANITIZED or daemon.peak_memory() < 40e6


# ---- learning ----

def buffered(daemon):
    return daemon.request("GET", "/v1/models/web/buffer").json()["rows"]


@pytest.mark.parametrize("make, kind", [(npy, NPY),
                                        (lambda rows: "\n".join(map(json.dumps, rows)), NDJSON)],
                         ids=["npy", "ndjson"])
def test_observe_and_first_rows_take_the_same_bodies(tmp_path, start_daemon, make, kind):
    daemon = start_daemon()
    daemon.stop()
    storage = f"[storage]\ndirectory = {tmp_path / 'state'}\n"
    daemon.write_config({"web": {"learn": "auto", "min_rows": 5000}}, storage)
    daemon._start()
    reply = daemon.request("POST", "/v1/models/web/score", make(make_rows(20)), kind)
    assert reply.status == 202 and reply.json()["rows"] == 20
    reply = daemon.request("POST", "/v1/models/web/observe", make(make_rows(30)), kind)
    assert reply.status == 202 and reply.json()["rows"] == 50
    assert buffered(daemon) == 50


def test_observe_stores_all_lines_or_none(tmp_path, start_daemon, model_file):
    daemon = start_daemon()
    daemon.stop()
    daemon.write_config({"web": {"file": model_file}},
                        f"[storage]\ndirectory = {tmp_path / 'state'}\n")
    daemon._start()
    observe = "/v1/models/web/observe"
    body = "\n".join([json.dumps(NORMAL), "", "[1]"])
    problem = check_problem(daemon.request("POST", observe, body, NDJSON), 422)
    assert "line 3: " in problem["detail"]
    problem = check_problem(daemon.request("POST", observe, json.dumps(NORMAL) + "\n[1;", NDJSON),
                            400)
    assert problem["line"] == 2
    body = json.dumps({"features": NORMAL, "series": "a"})
    problem = check_problem(daemon.request("POST", observe, body, NDJSON), 400)
    assert "in the query" in problem["detail"]
    assert buffered(daemon) == 0


def test_rows_of_a_long_batch_are_learned_from(tmp_path, start_daemon, model_file):
    daemon = start_daemon()
    daemon.stop()
    daemon.write_config({"web": {"file": model_file, "sample_rate": "all"}},
                        f"[storage]\ndirectory = {tmp_path / 'state'}\n")
    daemon._start()
    rows = make_rows(12_000, 0.01)
    check_problem(daemon.score({"instances": rows + [[1]]}), 422)
    # what is stored before its answer has waited behind all that came before
    assert daemon.request("POST", "/v1/models/web/observe", {"instances": [NORMAL]}).status == 200
    assert buffered(daemon) == 1
    results = daemon.score({"instances": rows + [ODD]}).json()["results"]
    assert results[-1]["event"] > 0
    wait_for(lambda: buffered(daemon) > 1000, "rows of the batch to be stored")
    feedback = {"event": results[-1]["event"], "label": "anomaly"}
    assert daemon.request("POST", "/v1/models/web/feedback", feedback).status == 200
