"""max_request_memory: what long requests may take together, whatever they are and however they end."""

import contextlib
import json
import random
import re
import select
import struct

import pytest
from conftest import IS_SANITIZED, NORMAL, check_problem, wait_for
from test_slow_readers import SlowClient

MIB = 1 << 20
SCORE = "/v1/models/web/score"
N_ROWS = 20_000  # an answer of some 2 MiB
NPY = {"Content-Type": "application/x-npy"}
NDJSON = {"Content-Type": "application/x-ndjson"}


def npy(n_rows):
    """Rows of which every one is another, as numpy.save() would write them."""
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 6), }" % n_rows
    head += " " * (117 - len(head)) + "\n"
    chance = random.Random(1)
    rows = [struct.pack("<6f", *(value + chance.gauss(0, 0.1) for value in NORMAL))
            for _ in range(1000)]
    return (b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
            + b"".join(rows[i % 1000] for i in range(n_rows)))


def used(daemon):
    return daemon.metrics()["anomalyd_request_memory_bytes"]


def scored(daemon):
    return daemon.metrics()['anomalyd_rows_scored_total{model="web"}']


def pss(daemon):
    rollup = open(f"/proc/{daemon.process.pid}/smaps_rollup").read()
    return 1024 * int(re.search(r"\nPss_Anon:\s+(\d+)", rollup)[1])


def begin(client, body, content_type="application/x-npy"):
    """A request of which the last byte does not come."""
    client.send(b"POST %s?explain=none&series=other HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
                b"Content-Length: %d\r\n\r\n" % (SCORE.encode(), content_type.encode(), len(body))
                + body[:-1])


def fill(daemon, body):
    """A client that has most of the quota in use."""
    client = daemon.connect()
    before = used(daemon)
    begin(client, body)
    wait_for(lambda: used(daemon) - before > 2 * MIB, "an answer to grow")
    return client


def test_many_slow_bodies_stay_within_the_limit(start_daemon):
    daemon = start_daemon(max_request_memory="16M", request_timeout="10m")
    body = npy(N_ROWS)
    reply = daemon.score(body, "?explain=none", **NPY)
    before, peak, n = pss(daemon), daemon.peak_memory(), 60
    assert len(reply.body) > 2 * MIB and used(daemon) == 0
    clients = [daemon.connect() for _ in range(n)]
    for client in clients:
        begin(client, body)
    wait_for(lambda: used(daemon) > 12 * MIB, "the quota to be used")
    assert daemon.score(NORMAL).status == 200
    assert IS_SANITIZED or pss(daemon) - before < 32 * MIB  # of 120
    for client in clients:
        client.send(body[-1:])
    replies = [client.read() for client in clients]
    assert {reply.status for reply in replies} == {200, 503}
    for refused in (reply for reply in replies if reply.status == 503):
        assert "max_request_memory" in check_problem(refused, 503)["detail"]
        assert refused.headers["retry-after"] == "1"
    assert IS_SANITIZED or daemon.peak_memory() - peak < 64 * MIB
    wait_for(lambda: used(daemon) == 0, "all of it to be given back")
    n_good = sum(reply.status == 200 for reply in replies)
    assert scored(daemon) == N_ROWS * (n_good + 1) + 1  # the others have left nothing
    for client in clients:
        client.socket.close()


def test_a_client_that_goes_away_gives_its_share_back(start_daemon):
    daemon = start_daemon(max_request_memory="4M")
    body = npy(N_ROWS)
    client = fill(daemon, body)
    check_problem(daemon.score(body, "?explain=none", **NPY), 503)
    client.socket.close()
    wait_for(lambda: used(daemon) == 0, "the share to be given back")
    assert daemon.score(body, "?explain=none", **NPY).status == 200


def test_a_stop_and_a_body_that_does_not_come_give_shares_back(start_daemon):
    daemon = start_daemon(max_request_memory="4M", request_timeout="500ms")
    with fill(daemon, npy(N_ROWS)) as client:
        assert client.read().status == 408
        wait_for(lambda: used(daemon) == 0, "the share to be given back")
    with fill(daemon, npy(N_ROWS)):
        daemon.stop()  # which ends with the assertion that all of it is there


def test_an_answer_counts_until_it_is_taken(start_daemon):
    daemon = start_daemon(max_request_memory="12M")
    n_rows = 4 * N_ROWS
    body = npy(n_rows)  # no socket holds the answer
    with SlowClient(("127.0.0.1", daemon.port)) as client:
        for n in 1, 2:
            begin(client, body)
            client.send(body[-1:])
            wait_for(lambda: scored(daemon) == n * n_rows, "the rows to be scored")
            assert used(daemon) > 7 * MIB
            check_problem(daemon.score(body, "?explain=none", **NPY), 503)
            if n == 1:
                assert client.read().status == 200
                wait_for(lambda: used(daemon) == 0, "the answer to be taken")
    wait_for(lambda: used(daemon) == 0, "the share to be given back")


def test_what_is_refused_for_want_of_memory_leaves_nothing_behind(start_daemon):
    daemons = [start_daemon(max_request_memory="4M"), start_daemon()]
    with fill(daemons[0], npy(N_ROWS)):
        long = {"instances": [[value + 9 for value in NORMAL]] * N_ROWS, "learn": False}
        check_problem(daemons[0].score(long), 503)
        few = {"instances": long["instances"][:5000], "explain": "all", "top": 6}
        check_problem(daemons[0].score(few), 503)  # a body that is read as a whole
        answers = [daemon.score({"features": NORMAL, "explain": "all"}).json()
                   for daemon in daemons]
        assert answers[0] == answers[1]  # also the movement of the series
        assert scored(daemons[0]) == 1


def test_what_alone_takes_more_is_refused_for_good(start_daemon, model_file):
    daemon = start_daemon(max_request_memory="1M")
    problem = check_problem(daemon.score(npy(N_ROWS), "?explain=none", **NPY), 413)
    assert "more than max_request_memory; send fewer rows at a time, or raise it" in problem["detail"]
    assert scored(daemon) == 0 and used(daemon) == 0
    daemon.write_config({"web": {"file": model_file}}, max_request_memory="none")
    daemon.reload("reloaded")
    assert daemon.score(npy(N_ROWS), "?explain=none", **NPY).status == 200


@pytest.mark.parametrize("has_others, status", [(True, 503), (False, 413)])
def test_lines_end_where_there_is_no_more_memory(start_daemon, has_others, status):
    daemon = start_daemon(max_request_memory="4M")
    other = fill(daemon, npy(N_ROWS)) if has_others else None
    body = (json.dumps(NORMAL) + "\n") * 40_000
    reply = daemon.score(body, "?explain=none", **NDJSON)
    lines = reply.body.splitlines()
    last = json.loads(lines[-1])
    assert reply.status == 200 and b'"status"' not in lines[-2] and len(lines) < 40_000
    assert last["status"] == status and last["row"] == len(lines) - 1 == scored(daemon)
    assert "max_request_memory" in last["detail"] and "send it again" in last["detail"]
    if other:
        other.socket.close()
    wait_for(lambda: used(daemon) == 0, "all of it to be given back")


def test_lines_end_only_where_their_answer_does_not_fit(start_daemon):
    daemon = start_daemon(max_request_memory="1M")
    reply = daemon.score((json.dumps(NORMAL) + "\n") * 800, "?explain=all&top=6", **NDJSON)
    lines = reply.body.splitlines()
    assert MIB // 2 < len(reply.body) < MIB
    assert len(lines) == 800 and b'"status"' not in lines[-1]
    assert scored(daemon) == 800
    wait_for(lambda: used(daemon) == 0, "all of it to be given back")


def test_a_body_that_is_too_large_counts_the_lines_before_their_end(start_daemon):
    daemon = start_daemon(max_request_memory="1M", max_body="1M")
    lines = ((json.dumps(NORMAL) + "\n") * 50_000).encode()
    with daemon.connect() as client:
        client.send(b"POST %s?explain=none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                    b"Content-Type: application/x-ndjson\r\n\r\n" % SCORE.encode())
        with contextlib.suppress(OSError):  # it has been refused meanwhile
            client.send(b"%x\r\n" % len(lines) + lines)
        problem = check_problem(client.read(), 413)
    assert "max_body" in problem["detail"]  # which the lines behind their end still reach
    assert 0 < scored(daemon) and f"the first {scored(daemon):.0f} rows" in problem["detail"]


def test_lines_without_an_end_count(start_daemon):
    daemon = start_daemon(max_request_memory="4M")
    line = b"[" + b" " * 1_000_000 + b"1]"
    clients = [daemon.connect() for _ in range(8)]
    for client in clients:
        begin(client, line, "application/x-ndjson")
    wait_for(lambda: used(daemon) > 3 * MIB, "lines to grow")
    for client in clients:
        client.send(line[-1:])
    replies = [client.read() for client in clients]
    assert {reply.status for reply in replies} == {200, 503}
    wait_for(lambda: used(daemon) == 0, "all of it to be given back")
    for client in clients:
        client.socket.close()


def test_rows_that_cannot_be_held_are_dropped_and_scoring_goes_on(tmp_path, start_daemon,
                                                                  model_file):
    daemon = start_daemon(max_request_memory="4M")
    daemon.stop()
    daemon.write_config({"web": {"file": model_file, "sample_rate": "all"}},
                        f"[storage]\ndirectory = {tmp_path / 'state'}\n")
    daemon._start()
    odd = [100, 100, -100, 100, -100, 100]
    rows = [[value + i % 7 / 100 for value in NORMAL] for i in range(12_000)]
    results = daemon.score({"instances": rows + [odd]}).json()["results"]
    assert len(results) == 12_001 and results[-1]["anomaly"]
    dropped = daemon.metrics()['anomalyd_rows_dropped_total{model="web",reason="queue"}']
    assert 6_000 < dropped < 12_000  # half of 4 MiB holds 3,900
    wait_for(lambda: daemon.request("GET", "/v1/models/web/buffer").json()["rows"] > 1000,
             "rows that were held to be stored")
    feedback = {"event": results[-1]["event"], "label": "anomaly"}  # verdicts are held all the same
    assert daemon.request("POST", "/v1/models/web/feedback", feedback).status == 200
    wait_for(lambda: used(daemon) == 0, "all of it to be given back")


def test_bodies_that_are_collected_count_too(start_daemon):
    daemon = start_daemon(max_request_memory="1M", request_timeout="10m")
    body = json.dumps({"instances": [NORMAL] * 15_000}).encode()[:400_000]
    clients = [daemon.connect() for _ in range(4)]
    for client in clients:
        with contextlib.suppress(OSError):  # it has been refused meanwhile
            begin(client, body, "application/json")

    def refused():
        return select.select([client.socket for client in clients], [], [], 0)[0]

    wait_for(lambda: len(refused()) == 2, "what two bodies of 400 kB leave no room for")
    for client in clients:
        if client.socket in refused():
            problem = check_problem(client.read(), 503)
            assert "max_request_memory" in problem["detail"]
    assert 700_000 < used(daemon) <= MIB
    assert daemon.score(NORMAL).status == 200
    for client in clients:
        client.socket.close()
    wait_for(lambda: used(daemon) == 0, "all of it to be given back")


def test_a_body_larger_than_all_of_it_is_refused_for_good(start_daemon):
    daemon = start_daemon(max_request_memory="1M")
    body = b" " * 2 * MIB
    with daemon.connect() as client:
        client.send(b"POST /v1/models/web/observe HTTP/1.1\r\nHost: x\r\n"
                    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        with contextlib.suppress(OSError):
            client.send(body)
        problem = check_problem(client.read(), 413)
    assert "max_request_memory" in problem["detail"] and "raise it" in problem["detail"]
    wait_for(lambda: used(daemon) == 0, "it to be given back")


def test_a_body_that_there_is_no_room_to_keep_is_scored_without(start_daemon):
    daemon = start_daemon(max_request_memory="12M")
    body = {"instances": [NORMAL] * 30_000, "explain": "none"}
    assert daemon.score(body).status == 200
    others = [fill(daemon, npy(N_ROWS)) for _ in range(3)]
    problem = check_problem(daemon.score(body), 400)
    assert '"explain" stands behind the rows' in problem["detail"]
    for other in others:
        other.socket.close()
