"""Every status code, as problem+json; hostile, truncated, split and pipelined requests; errors that
come before the body is read still arrive."""

import json
import socket

import ctl
import pytest

from conftest import FEATURES, NORMAL, ODD, check_problem, wait_for

SCORE = "/v1/models/web/score"


def head(method="POST", path=SCORE, fields="", length=None):
    lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}"
    if length is not None:
        lines += f"Content-Length: {length}\r\n"
    return (lines + "\r\n").encode("latin-1")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory, model_file):
    """A daemon that waits 400 ms for a request."""
    from conftest import Daemon

    daemon = Daemon(tmp_path_factory.mktemp("hasty"), {"threads": 1, "request_timeout": "400ms"},
                    {"web": {"file": model_file}})
    yield daemon
    daemon.stop()


@pytest.fixture(autouse=True)
def still_serves(request):
    """Whatever a test sent: the daemon answers the next one as ever."""
    yield
    for name in ("daemon", "hasty"):
        if name in request.fixturenames:
            verdict = request.getfixturevalue(name).score(ODD).json()
            assert verdict["anomaly"] is True


# ---- 400 ----


@pytest.mark.parametrize("body, offset, line, column", [
    ("", 0, 1, 1), ("[1,2", 4, 1, 5), ("[1,\n2,\n x]", 8, 3, 2), ("nul", None, 1, None),
    ("[1,2,3,4,5,6] 7", 14, 1, 15), ("[NaN,1,1,1,1,1]", 1, 1, 2), ("[1,,2]", 3, 1, 4),
    ('{"features":[1,2,3,4,5,6],"features":[]}', None, 1, None), ("[01,2,3,4,5,6]", None, 1, None),
    ("{", 1, 1, 2), ("\xff\xfe", 0, 1, 1), ("[1,2,3,4,5,6", 12, 1, 13), ("\x00", 0, 1, 1),
])
def test_400_malformed_json_says_where(daemon, body, offset, line, column):
    problem = check_problem(daemon.score(body.encode("latin-1")), 400)
    assert problem["line"] == line and problem["offset"] >= 0 and problem["column"] >= 1
    if offset is not None:
        assert (problem["offset"], problem["column"]) == (offset, column)
    assert f"line {line}" in problem["detail"]


@pytest.mark.parametrize("body, pointer", [
    ('{"features":[1,2,3,4,5,6],"wrong":[]}', "/wrong"), ('{"instances":{}}', "/instances"),
])
def test_400_points_at_the_member_that_is_wrong(daemon, body, pointer):
    problem = check_problem(daemon.score(body), 400)
    assert problem["errors"][0]["pointer"] == pointer and problem["errors"][0]["detail"]


@pytest.mark.parametrize("body", [
    "{}", "7", '"x"', "null", "true", '{"features":[1,2,3,4,5,6],"instances":[[1,2,3,4,5,6]]}',
    '{"features":[1,2,3,4,5,6],"wrong":[]}', '{"instances":{}}', '{"features":7}',
    "[" * 100000, '{"features":' * 50000,
])
def test_400_json_of_an_unknown_shape(daemon, body):
    check_problem(daemon.score(body), 400)


@pytest.mark.parametrize("option, value", [
    ("explain", "some"), ("explain", 1), ("explain", None), ("top", 0), ("top", -1), ("top", 1.5),
    ("top", "3"), ("top", True), ("learn", "no"), ("learn", None), ("series", 7), ("series", ""),
    ("series", "x" * 129), ("timestamp", "noon"), ("timestamp", -1), ("timestamp", None),
    ("nonsense", 1),
])
def test_400_names_a_bad_option_of_the_body(daemon, option, value):
    problem = check_problem(daemon.score({"features": ODD, option: value}), 400)
    assert option in problem["detail"]
    assert problem["errors"][0]["pointer"] == f"/{option}"


@pytest.mark.parametrize("query, name", [
    ("?explain=some", "explain"), ("?top=0", "top"), ("?top=", "top"), ("?top", "top"),
    ("?top=1&top=2", "top"), ("?nonsense=1", "nonsense"), ("?explain=all&explain=all", "explain"),
    ("?=1", ""), ("?top=99999999999999999999", "top"),
])
def test_400_names_a_bad_option_of_the_query(daemon, query, name):
    problem = check_problem(daemon.score(ODD, query), 400)
    assert problem["errors"][0]["parameter"] == name


def test_400_an_option_in_query_and_body(daemon):
    check_problem(daemon.score({"features": ODD, "top": 1}, "?top=1"), 400)


def test_400_too_many_query_parameters(daemon):
    check_problem(daemon.score(ODD, "?" + "&".join(f"a{n}=1" for n in range(20))), 400)


def test_400_a_nul_in_the_target(daemon):
    check_problem(daemon.request("GET", "/healthz%00/x"), 400)


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET\r\n\r\n",
    b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", b"(){} / HTTP/1.1\r\n\r\n", b"\x00" * 20,
    b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\0y\r\n\r\n",
    b"GET /healthz HTTP/1.1 extra\r\nHost: x\r\n\r\n",
    head(length="abc"), head(length="-5"), head(length="+5"), head(length=""), head(length="0x10"),
    head(fields="Content-Length: 4\r\n", length=5),
    head(fields="Transfer-Encoding: chunked\r\n", length=5),
    head(fields="Transfer-Encoding: gzip\r\n"), head(fields="Transfer-Encoding: chunked, x\r\n"),
    head("GET", "/healthz", "Host: y\r\n"),
    b"POST /v1/score HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
])
def test_400_what_is_not_http(daemon, data):
    with daemon.connect() as client:
        client.send(data)
        reply = client.read()
        check_problem(reply, 400)
        assert reply.headers["connection"] == "close"
        assert client.is_closed()


def test_400_a_head_that_ends_early(daemon):
    with daemon.connect() as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost")
        client.socket.shutdown(socket.SHUT_WR)
        check_problem(client.read(), 400)


SMUGGLED = head("GET", "/metrics")
CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("data", [
    head(fields="Content-Length: 4\r\n", length=5), head(fields="Content-Length: 5\r\n", length=4),
    head(fields="Content-Length: 4\r\n", length=4),
    head(fields=CHUNKED, length=5), head(fields="Content-Length: 5\r\n" + CHUNKED),
    head(fields="Content-Length : 5\r\n"), head(fields="Transfer-Encoding : chunked\r\n"),
    head(fields="Content-Length\t: 5\r\n"), head(fields="Content Length: 5\r\n"),
    head(fields="Transfer-Encoding: gzip\r\n"), head(fields="Transfer-Encoding: chunked, gzip\r\n"),
    head(fields="Transfer-Encoding: gzip, chunked\r\n"), head(fields=CHUNKED + CHUNKED),
    head(fields="Transfer-Encoding: identity\r\n", length=5),
    b"POST /v1/score HTTP/1.0\r\n" + CHUNKED.encode() + b"\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n", head("GET", "/healthz", "Host: y\r\n"),
    head("GET", "/healthz", "Content-Length: 5\r\n" + CHUNKED),
    head("DELETE", "/healthz", "Content-Length: 4\r\n", length=5),
])
def test_400_a_later_head_of_unclear_length_ends_the_connection(daemon, data):
    with daemon.connect() as client:
        client.send(head("GET", "/healthz"))
        assert client.read().status == 200
        client.send(data + b"0\r\n\r\n" + SMUGGLED)
        reply = client.read()
        check_problem(reply, 400)
        assert reply.headers["connection"] == "close"
        assert client.is_closed()


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "BREW"])
def test_what_follows_an_early_error_is_no_request(daemon, method):
    with daemon.connect() as client:
        client.send(head("GET", "/healthz"))
        assert client.read().status == 200
        client.send(head(method, "/nothing", length=len(SMUGGLED)) + SMUGGLED)
        check_problem(client.read(), 404)
        assert client.is_closed()


# ---- 404, 405, 409 ----


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/models/", "/v1/models/web/", "//healthz",
                                  "/healthz/", "/V1/models", "/v1/models/web/nothing", "/%ff",
                                  "/v1/models/web/score/", "/v1/models/a%2Fb", "/" + "x" * 4000])
def test_404_unknown_path(daemon, path):
    check_problem(daemon.request("GET", path), 404)


@pytest.mark.parametrize("name", ["other", "we", "webb", "Web", "w%20b", "-web", "x" * 100, "%22%5C"])
def test_404_unknown_model(daemon, name):
    check_problem(daemon.request("GET", f"/v1/models/{name}"), 404)
    check_problem(daemon.request("POST", f"/v1/models/{name}/score", ODD), 404)


def test_404_score_without_any_model(start_daemon):
    check_problem(start_daemon(models={}).request("POST", "/v1/score", ODD), 404)


def test_percent_encoding_in_a_model_name_is_decoded(daemon):
    assert daemon.request("GET", "/v1/models/%77eb").status == 200


@pytest.mark.parametrize("method, path, allow", [
    ("GET", SCORE, "POST"), ("PUT", SCORE, "POST"), ("HEAD", "/v1/score", "POST"),
    ("POST", "/v1/models", "GET, HEAD"), ("POST", "/v1/models/web", "GET, HEAD, PUT, DELETE"),
    ("DELETE", "/v1/models", "GET, HEAD"),
    ("OPTIONS", "/metrics", "GET, HEAD"), ("get", "/healthz", "GET, HEAD"),
    ("BREW", "/readyz", "GET, HEAD"),
])
def test_405_says_what_is_allowed(daemon, method, path, allow):
    reply = daemon.request(method, path)
    assert reply.status == 405 and reply.headers["allow"] == allow
    if method != "HEAD":
        assert allow in check_problem(reply, 405)["detail"]


def test_409_when_a_model_must_be_chosen(start_daemon, model_file):
    daemon = start_daemon({"a": {"file": model_file}, "b": {"file": model_file}})
    problem = check_problem(daemon.request("POST", "/v1/score", ODD), 409)
    assert "/v1/models/" in problem["detail"]
    assert daemon.request("POST", "/v1/models/b/score", ODD).json()["model"] == "b"


# ---- 408 ----


@pytest.mark.parametrize("data", [b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_408_a_first_head_that_does_not_arrive(hasty, data):
    with hasty.connect() as client:
        client.send(data)
        check_problem(client.read(), 408)
        assert client.is_closed()


def test_408_a_later_head_that_does_not_arrive(hasty):
    with hasty.connect() as client:
        client.send(head("GET", "/healthz"))
        assert client.read().status == 200
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow")
        check_problem(client.read(), 408)
        assert client.is_closed()


@pytest.mark.parametrize("data", [head(length=100), head(length=100) + b"[1,2",
                                  head(fields="Transfer-Encoding: chunked\r\n") + b"4\r\n[1,2\r\n"],
                         ids=["no byte", "a part", "a chunk"])
def test_408_a_body_that_does_not_arrive(hasty, data):
    with hasty.connect() as client:
        client.send(data)
        check_problem(client.read(), 408)
        assert client.is_closed()


def test_408_arrives_though_the_client_goes_on_sending(hasty):
    with hasty.connect() as client:
        client.send(head(length=1 << 20) + b"[")
        while not client.rest:
            client.rest += client.socket.recv(65536)
        for _ in range(20):  # a reset would end it
            client.send(b" " * 1000)
        check_problem(client.read(), 408)
        assert client.is_closed()


def test_no_408_while_a_large_body_keeps_coming(hasty):
    piece = (json.dumps(NORMAL) + ",").encode() * 4096
    length = 20 * len(piece) + len(b'{"instances":[[1,2,3,4,5,6]]}')
    with hasty.connect() as client:
        client.send(head(length=length) + b'{"instances":[')
        waiting = socket.socket()  # nothing ever comes: settimeout() is the clock
        waiting.bind(("127.0.0.1", 0))
        waiting.listen()
        waiting.settimeout(0.05)
        for _ in range(20):
            client.send(piece)
            with pytest.raises(socket.timeout):
                waiting.accept()
        waiting.close()
        client.send(b"[1,2,3,4,5,6]]}")
        assert client.read().status == 200


# ---- 413 ----


def test_413_by_content_length_arrives_though_all_is_sent_first(daemon):
    size = 70 << 20
    with daemon.connect() as client:
        client.send(head(length=size))
        piece = b" " * (1 << 20)
        for _ in range(70):
            client.send(piece)
        reply = client.read()
        assert str(size) in check_problem(reply, 413)["detail"]
        assert client.is_closed()


def test_413_by_a_chunked_body(start_daemon):
    daemon = start_daemon(max_body="64K")
    with daemon.connect() as client:
        client.send(head(fields="Transfer-Encoding: chunked\r\n"))
        for _ in range(100):
            client.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        check_problem(client.read(), 413)
        assert client.is_closed()


def test_a_body_of_just_max_body_is_taken(start_daemon):
    daemon = start_daemon(max_body="64K")
    body = json.dumps(ODD).encode()
    assert daemon.score(body + b" " * (65536 - len(body))).status == 200
    check_problem(daemon.score(body + b" " * (65537 - len(body))), 413)


def test_413_an_answer_that_would_be_gigantic(start_daemon, tmp_path):
    names = [f"{i:x>255}" for i in range(24)]  # the longest there are: few rows will do
    rows = [[i % 7 + i % 5 * column for column in range(24)] for i in range(100)]
    model = tmp_path / "wordy.safetensors"
    ctl.succeed("train", "--data", ctl.write_csv(tmp_path / "wordy.csv", rows, names), "--output",
                model, "--preset", "fast", "--epochs", 5)
    daemon = start_daemon({"web": {"file": model}}, max_request_memory="1G")
    body = {"instances": rows * 400, "explain": "all", "top": 24}
    problem = check_problem(daemon.score(body), 413)
    assert problem["detail"] == ("The answer to 40000 rows would be larger than 256 MiB; "
                                 "send fewer rows at a time, or explain less")
    assert daemon.metrics()['anomalyd_rows_scored_total{model="web"}'] == 0


def test_413_a_length_beyond_all_numbers(daemon):
    with daemon.connect() as client:
        client.send(head(length=10**30))
        check_problem(client.read(), 413)


# ---- 415 ----


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-ndjsonx", "application/npy",
                                          "multipart/form-data; boundary=x", "application/jsonx",
                                          "application/json; charset=latin1"])
def test_415_other_types(daemon, content_type):
    reply = daemon.request("POST", SCORE, json.dumps(ODD), {"Content-Type": content_type})
    check_problem(reply, 415)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_415_compressed_bodies(daemon, encoding):
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    check_problem(daemon.request("POST", SCORE, json.dumps(ODD), headers), 415)


# ---- 422 ----


@pytest.mark.parametrize("body, pointer, words", [
    ([1, 2, 3], "", ["3", "6"]), ([], "", ["0", "6"]), (list(range(7)), "", ["6"]),
    ({"features": [1, 2]}, "/features", ["2", "6"]),
    ({"features": {"cpu": 1, "load": 1, "mem": 1, "disk": 1}}, "/features/disk", ["disk"]),
    ({"instances": []}, "/instances", []), ({"instances": [ODD, [1]]}, "/instances/1", ["1", "6"]),
    ({"instances": [{"cpu": 1, "x/y": 2}]}, "/instances/0/x~1y", ["x/y"]),
    (["1", 2, 3, 4, 5, 6], "/0", []), ([1e300, 2, 3, 4, 5, 6], "/0", []),
    ({"features": {"cpu": True}}, "/features/cpu", []),
])
def test_422_wrong_features_are_named(daemon, body, pointer, words):
    problem = check_problem(daemon.score(body), 422)
    assert problem["errors"][0]["pointer"] == pointer
    for word in words:
        assert word in problem["errors"][0]["detail"]


def test_422_a_name_given_twice(daemon):
    problem = check_problem(daemon.score('{"features":{"cpu":1,"cpu":2,"load":1,"mem":1}}'), 422)
    assert "cpu" in problem["detail"]


def test_422_more_than_half_missing(daemon):
    check_problem(daemon.score({"features": {"cpu": 1, "load": 2}}), 422)
    assert daemon.score({"features": {"cpu": 1, "load": 2, "mem": 3}}).status == 200


def test_422_refuses_a_batch_as_a_whole(daemon):
    before = daemon.metrics()['anomalyd_rows_scored_total{model="web"}']
    check_problem(daemon.score({"instances": [ODD, ODD, [1, 2]]}), 422)
    assert daemon.metrics()['anomalyd_rows_scored_total{model="web"}'] == before


# ---- 431 ----


def test_431_a_head_above_8_kib(daemon):
    with daemon.connect() as client:
        client.send(head("GET", "/healthz", f"X-Long: {'x' * 9000}\r\n"))
        check_problem(client.read(), 431)
        assert client.is_closed()


def test_431_a_head_without_an_end(daemon):
    with daemon.connect() as client:
        client.send(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100000)
        check_problem(client.read(), 431)


def test_431_too_many_fields(daemon):
    with daemon.connect() as client:
        client.send(head("GET", "/healthz", "a: b\r\n" * 200))
        check_problem(client.read(), 431)


@pytest.mark.parametrize("cookie", ["; ".join(f"a{n}=1" for n in range(215)), "a=" + "x" * 7900,
                                    ";" * 100, "a=" + "x" * 4095])
def test_431_too_many_or_too_large_cookies(daemon, cookie):
    with daemon.connect() as client:
        client.send(head("GET", "/healthz", f"Cookie: {cookie}\r\n"))
        check_problem(client.read(), 431)
        assert client.is_closed()


def test_431_too_many_cookies_in_a_later_head(daemon):
    cookie = "; ".join(f"a{n}=1" for n in range(70))
    with daemon.connect() as client:
        client.send(head("GET", "/healthz"))
        assert client.read().status == 200
        client.send(head("GET", "/healthz", f"Cookie: {cookie}\r\n"))
        check_problem(client.read(), 431)
        assert client.is_closed()


def test_cookies_and_a_large_head_are_taken(daemon):
    cookie = "; ".join(f"a{n:02}={'x' * 60}" for n in range(60))
    with daemon.connect() as client:
        for _ in range(3):
            client.send(head("GET", "/healthz", f"Cookie: {cookie}\r\nX: {'x' * 3900}\r\n"))
            assert client.read().status == 200


def test_431_on_a_connection_that_is_kept_open(daemon):
    with daemon.connect() as client:
        client.send(head("GET", "/healthz"))
        assert client.read().status == 200
        client.send(head("GET", "/healthz", f"X-Long: {'x' * 9000}\r\n"))
        check_problem(client.read(), 431)


def test_a_head_of_almost_8_kib_with_64_fields_is_taken(daemon):
    fields = "".join(f"field{n:02}: {'x' * 110}\r\n" for n in range(62))
    with daemon.connect() as client:
        body = json.dumps(ODD).encode()
        for _ in range(3):
            client.send(head(fields=fields, length=len(body)) + body)
            assert client.read().json()["anomaly"] is True


# ---- 503 ----


def test_503_a_model_that_cannot_be_loaded(start_daemon, model_file, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(model_file.read_bytes()[:-100])
    daemon = start_daemon({"web": {"file": model_file}, "broken": {"file": broken}})
    reply = daemon.request("POST", "/v1/models/broken/score", ODD)
    problem = check_problem(reply, 503)
    assert "broken.safetensors" in problem["detail"] and int(reply.headers["retry-after"]) > 0

    model = daemon.request("GET", "/v1/models/broken").json()
    assert model["state"] == "failed" and "broken.safetensors" in model["error"]
    problem = check_problem(daemon.request("GET", "/readyz"), 503)
    assert "broken" in problem["reasons"][0]
    assert daemon.request("GET", "/healthz").status == 200
    assert daemon.score(ODD).status == 200


def test_503_above_max_connections(start_daemon):
    daemon = start_daemon(max_connections=3)

    def connected():  # the connection that asked for readiness may still be there
        client = daemon.connect()
        client.send(head("GET", "/healthz"))
        return client if client.read().status == 200 else client.socket.close()

    clients = [wait_for(connected, "a free connection") for _ in range(3)]
    with daemon.connect() as client:
        reply = client.read()
        check_problem(reply, 503)
        assert int(reply.headers["retry-after"]) > 0 and client.is_closed()
    clients[0].send(head("GET", "/healthz"))
    assert clients[0].read().status == 200
    for client in clients:
        client.socket.close()


# ---- early errors, splits, pipelines ----


@pytest.mark.parametrize("path, fields, status", [("/nothing", "", 404), ("/metrics", "", 405),
                                                  (SCORE, "Content-Type: text/csv\r\n", 415)])
def test_an_early_error_arrives_though_the_body_is_sent_first(daemon, path, fields, status):
    with daemon.connect() as client:
        client.send(head(path=path, fields=fields, length=20 << 20))
        for _ in range(20):
            client.send(b" " * (1 << 20))
        check_problem(client.read(), status)
        assert client.is_closed()


def test_an_error_without_a_body_keeps_the_connection(daemon):
    with daemon.connect() as client:
        for _ in range(3):
            client.send(head("GET", "/nothing"))
            check_problem(client.read(), 404)
        client.send(head("GET", "/healthz"))
        assert client.read().status == 200


def test_a_bad_row_keeps_the_connection(daemon):
    with daemon.connect() as client:
        for body, status in ((b"[1", 400), (b"[1]", 422), (json.dumps(ODD).encode(), 200)):
            client.send(head(length=len(body)) + body)
            assert client.read().status == status


@pytest.mark.parametrize("lead", [b"", b"\r\n"], ids=["", "after an empty line"])
def test_a_request_may_be_split_at_every_byte(daemon, lead):
    body = json.dumps(ODD).encode()
    request = lead + head(length=len(body)) + body
    for at in range(1, len(request)):
        with daemon.connect() as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.send(request[:at])
            client.send(request[at:])
            assert client.read().json()["anomaly"] is True


def test_a_request_may_come_byte_by_byte(daemon):
    body = json.dumps(ODD).encode()
    with daemon.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head(length=len(body)) + body:
            client.send(bytes([byte]))
        assert client.read().json()["anomaly"] is True


def test_a_truncated_request_harms_nobody(daemon):
    body = json.dumps(ODD).encode()
    request = head(length=len(body)) + body
    for at in range(0, len(request), 7):
        with daemon.connect() as client:
            client.send(request[:at])


def test_pipelined_requests_are_answered_in_order(daemon):
    bodies = [json.dumps(row).encode() for row in (ODD, NORMAL) * 20]
    with daemon.connect() as client:
        client.send(b"".join(head(length=len(body)) + body for body in bodies))
        answers = [client.read().json()["anomaly"] for _ in bodies]
    assert answers == [True, False] * 20


def test_a_client_that_closes_its_side_still_gets_its_answer(daemon):
    body = json.dumps(ODD).encode()
    with daemon.connect() as client:
        client.send(head(length=len(body)) + body)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read().json()["anomaly"] is True


def test_expect_100_continue_is_answered(daemon):
    body = json.dumps(ODD).encode()
    with daemon.connect() as client:
        client.send(head(fields="Expect: 100-continue\r\n", length=len(body)))
        while b"\r\n\r\n" not in client.rest:
            client.rest += client.socket.recv(100)
        assert client.rest == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.rest = b""
        client.send(body)
        assert client.read().json()["anomaly"] is True


def test_expect_100_continue_is_refused_for_what_is_too_large(daemon):
    with daemon.connect() as client:
        client.send(head(fields="Expect: 100-continue\r\n", length=70 << 20))
        check_problem(client.read(), 413)


@pytest.mark.parametrize("target, status", [
    ("http://x/healthz", 200), ("HTTP://x:8817/healthz?a=1", 200), ("https://x/v1/models/web", 200),
    ("http://x", 404), ("http://x/nothing", 404), ("ftp://x/healthz", 404),
])
def test_a_target_may_be_a_whole_address(daemon, target, status):
    with daemon.connect() as client:
        client.send(head("GET", target))
        assert client.read().status == status


def test_an_empty_query_parameter_is_none(daemon):
    for query in ("?", "?&", "?&&top=1&"):
        assert daemon.score(ODD, query).status == 200


def test_a_refused_head_request_gets_no_body(daemon):
    with daemon.connect() as client:
        client.send(b"HEAD /healthz HTTP/1.1\r\n\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.socket.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"\r\n\r\n")


def test_http_1_0_is_answered_and_closed(daemon):
    with daemon.connect() as client:
        client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.read().json() == {"status": "ok"}
        assert client.is_closed()


def test_names_in_errors_are_shown_harmlessly(daemon):
    body = json.dumps({"features": {"a\u0001\n\"<é": 1, **dict.fromkeys(FEATURES, 1)}})
    problem = check_problem(daemon.score(body), 422)
    assert "\n" not in problem["detail"] and "\u0001" not in problem["detail"]
