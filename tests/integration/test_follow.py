"""GET /v1/events: what happens to the models, as server-sent events."""

import json
import signal
import socket
import time

import ctl
import pytest
from conftest import DEADLINE_S, NORMAL, ODD, check_problem
from test_incidents import start  # noqa: F401 a fixture

MOST_CLIENTS = 64


class Follower:
    """One client; reads as slowly as a test wants."""

    def __init__(self, daemon, query="", last_id=None, method="GET", version="1.1", buffer=None):
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", daemon.port))
        fields = f"Last-Event-ID: {last_id}\r\n" if last_id is not None else ""
        self.socket.sendall(f"{method} /v1/events{query} HTTP/{version}\r\nHost: x\r\n{fields}\r\n"
                            .encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.fields = {}
        while line := self.file.readline().strip():
            name, value = line.decode().split(": ", 1)
            self.fields[name.lower()] = value
        self.left = b""
        self.is_over = False

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.file.close()
        self.socket.close()

    def block(self):
        """The next one, up to an empty line; None: the stream is over."""
        while b"\n\n" not in self.left:
            if self.fields.get("transfer-encoding") == "chunked":
                head = self.file.readline()
                size = int(head, 16) if head else 0
                data = self.file.read(size + 2)[:-2]
                self.is_over = bool(head) and size == 0
            else:
                data = self.file.readline()
            if not data:
                assert not self.left
                return None
            self.left += data
        block, self.left = self.left.split(b"\n\n", 1)
        return block.decode()

    def event(self):
        """{"id", "event", "data"} of the next message; comments are passed over."""
        while block := self.block():
            if not block.startswith(":"):
                fields = dict(line.split(": ", 1) for line in block.split("\n"))
                return {**fields, "data": json.loads(fields["data"])}
        return None

    def connected(self):
        assert self.status == 200 and self.block() == ": events of anomalyd"
        return self


def follow(daemon, *arguments, **options):
    return Follower(daemon, *arguments, **options).connected()


def flood(daemon, n, series="flood"):
    """So many incidents that open and end at once."""
    daemon.send([ODD, NORMAL] * n, series=series)


QUICK_ALARM = {"alarm": "1 of 1", "alarm_clear": "1 below 0.9"}


def test_an_incident_comes_when_it_opens_and_when_it_ends(start):
    daemon = start()
    with follow(daemon) as client:
        assert client.fields["content-type"] == "text/event-stream"
        assert client.fields["cache-control"] == "no-store"
        incident = daemon.alarm("db", timestamp=1700000000)
        opened = client.event()
        assert opened["id"] == str(incident) and opened["event"] == "incident"
        assert opened["data"]["model"] == "web" and opened["data"]["open"]
        assert opened["data"]["reason"].count("(expected ") > 0
        assert opened["data"]["time"] == "2023-11-14T22:13:20Z"
        daemon.end("db", timestamp=1700000060)
        over = client.event()
        assert "id" not in over and over["data"]["id"] == incident and not over["data"]["open"]
        assert over["data"]["time"] == "2023-11-14T22:13:20Z"
        assert over["data"]["ended_at"] == "2023-11-14T22:14:20Z"
    stored, = [event for event in daemon.get("events")["events"]]
    assert {**stored, "model": "web"} == over["data"]


def test_an_incident_of_one_request_opens_before_it_ends(start):
    daemon = start(QUICK_ALARM)
    with follow(daemon) as client:
        flood(daemon, 2)
        told = [client.event()["data"] for _ in range(4)]
    assert [event["open"] for event in told] == [True, False] * 2
    assert [("ended_at" in event) for event in told] == [False, True] * 2
    assert all(event["reason"] and event["advice"] for event in told)


def test_all_that_follow_are_told(start):
    daemon = start()
    clients = [follow(daemon) for _ in range(5)]
    incident = daemon.alarm()
    for client in clients:
        with client:
            assert client.event()["data"]["id"] == incident


def test_events_are_chosen_by_model_and_kind(start, model_file):
    daemon = start()
    with follow(daemon, "?model=web&kind=promoted") as promoted, \
            follow(daemon, "?model=web") as all_of_web, follow(daemon, "?kind=incident") as incidents:
        incident = daemon.alarm()
        reply = daemon.request("PUT", "/v1/models/web", open(model_file, "rb").read(),
                               {"Content-Type": "application/octet-stream"})
        assert reply.status == 200
        assert daemon.post("rollback").status == 200
        assert incidents.event()["data"]["id"] == incident
        assert [all_of_web.event()["event"] for _ in range(2)] == ["incident", "rolled_back"]
        daemon.end()
        assert not incidents.event()["data"]["open"]
        promoted.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            promoted.event()


@pytest.mark.parametrize("query, status, told", [
    ("?model=nobody", 404, '"nobody"'),
    ("?model=", 404, ""),
    ("?kind=verdict", 400, "\"kind\" must be one of drift, excess, "),
    ("?colour=red", 400, "no parameter \"colour\"; events are asked for by model and kind"),
    ("?" + "&".join(["kind=incident"] * 9), 400, "more than 8 parameters"),
])
def test_a_bad_query_is_refused(start, query, status, told):
    assert told in check_problem(start().request("GET", "/v1/events" + query), status)["detail"]


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "18446744073709551616", "1 2", "\x01"])
def test_a_bad_last_event_id_is_refused(start, last_id):
    reply = start().request("GET", "/v1/events", headers={"Last-Event-ID": last_id})
    problem = check_problem(reply, 400)
    assert last_id == "\x01" or "Last-Event-ID is" in problem["detail"]


def test_who_comes_back_goes_on_from_its_last_event(start):
    daemon = start(QUICK_ALARM)
    with follow(daemon) as client:
        flood(daemon, 3)
        ids = [client.event().get("id") for _ in range(4)]  # of six
    assert ids[1] is None and ids[0] and ids[2]
    with follow(daemon, last_id=ids[2]) as client:
        over = client.event()  # of the one that it knows
        assert over["data"]["id"] == int(ids[2]) and not over["data"]["open"]
        assert int(client.event()["id"]) > int(ids[2])


def test_who_comes_back_after_a_restart_does_too(start):
    daemon = start(QUICK_ALARM)
    with follow(daemon) as client:
        flood(daemon, 5)
        first = client.event()["id"]
        daemon.incidents()
    daemon.stop()
    assert daemon._start()
    with follow(daemon, last_id=first) as client:
        ids = [int(client.event()["id"]) for _ in range(4)]
        assert ids == sorted(set(ids)) and ids[0] > int(first)
        flood(daemon, 1)
        assert int(client.event()["id"]) > ids[-1]


def test_of_many_missed_events_the_rest_comes_next_time(start):
    daemon = start(QUICK_ALARM)
    flood(daemon, 1500)
    daemon.incidents()
    daemon.stop()
    assert daemon._start()
    ids, last, rounds = [], 0, 0
    while len(ids) < 1500:
        with follow(daemon, last_id=last) as client:
            rounds += 1
            while len(ids) < 1500 and (event := client.event()):
                ids.append(int(event["id"]))
        last = ids[-1]
    assert rounds == 2 and ids == sorted(set(ids))


def test_an_id_of_the_future_waits_for_what_comes(start):
    daemon = start()
    with follow(daemon, last_id=2**64 - 1) as client:
        incident = daemon.alarm()
        assert client.event()["data"]["id"] == incident


def test_a_slow_reader_is_dropped_and_told_so(start):
    daemon = start(QUICK_ALARM)
    with follow(daemon, buffer=4096) as slow, follow(daemon) as quick:
        last = None
        for _ in range(4):  # in less than a minute, after which a reader is cut off
            flood(daemon, 2000)
            for _ in range(4000):
                last = quick.event()
        assert last["data"]["open"] is False  # who reads gets all of it
        seen = []
        while event := slow.event():
            seen.append(event)
        assert slow.is_over
        assert seen[-1]["event"] == "dropped" and "Last-Event-ID" in seen[-1]["data"]["reason"]
        ids = [int(event["id"]) for event in seen if "id" in event]
        assert ids == sorted(set(ids)) and len(seen) < 16000
    with follow(daemon, last_id=ids[-1]) as again:
        assert again.event()["data"]["id"] >= ids[-1]


def test_no_more_than_a_number_follow(start):
    daemon = start()
    clients = [follow(daemon) for _ in range(MOST_CLIENTS)]
    reply = daemon.request("GET", "/v1/events")
    problem = check_problem(reply, 503)
    assert "64 clients follow already" in problem["detail"] and reply.headers["retry-after"] == "15"
    reply = daemon.request("GET", "/v1/events", headers={"Last-Event-ID": "1"})
    check_problem(reply, 503)
    for client in clients:
        client.__exit__()
    deadline = time.monotonic() + DEADLINE_S
    while daemon.request("HEAD", "/v1/events").status == 503:  # they are noticed as events come
        daemon.alarm()
        daemon.end()
        assert time.monotonic() < deadline


def test_a_head_request_has_no_stream(start):
    daemon = start()
    reply = daemon.request("HEAD", "/v1/events")
    assert reply.status == 200 and reply.headers["content-type"] == "text/event-stream"
    assert daemon.request("GET", "/healthz").status == 200


def test_an_old_client_gets_its_stream_until_the_connection_ends(start):
    daemon = start()
    with follow(daemon, version="1.0") as client:
        assert "transfer-encoding" not in client.fields
        incident = daemon.alarm()
        assert client.event()["data"]["id"] == incident


def test_a_stop_ends_streams_at_once(start):
    daemon = start()
    with follow(daemon) as client, follow(daemon, version="1.0") as old:
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert client.event() is None and client.is_over and old.event() is None
        assert daemon.process.wait(DEADLINE_S) == 0
        assert time.monotonic() - began < 3


def test_without_a_store_there_is_nothing_to_follow(daemon):
    assert "Learning is off" in check_problem(daemon.request("GET", "/v1/events"), 409)["detail"]


def test_the_list_of_a_models_events_is_as_it_was(start):
    daemon = start()
    incident = daemon.alarm()
    event, = daemon.get("events")["events"]
    assert event["id"] == incident and "model" not in event
