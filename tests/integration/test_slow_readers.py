"""Clients that take their answers slowly, or not at all.

ANOMALYD_LONG=1: also the minute after which the latter are closed."""

import json
import os
import socket
import time

import pytest
from conftest import DEADLINE_S, RawClient, wait_for

N_ROWS = 30000  # the answer has some 4 MB: no socket holds them
PACE_S = 2.5
STALL_S = 60


class SlowClient(RawClient):
    """Whose side of the connection holds little."""

    def __init__(self, address):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(address)
        self.rest = b""


def ask(client, n_rows):
    body = json.dumps({"instances": [[10, 0, -3, 0, 1, 0]] * n_rows}).encode()
    client.send(b"POST /v1/models/web/score?learn=false HTTP/1.1\r\nHost: h\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def count_connections(daemon, client):
    """Of the daemon's to this client: 1 or 0."""
    port = client.socket.getsockname()[1]
    inodes = {line.split()[9] for line in open("/proc/net/tcp").readlines()[1:]
              if line.split()[1].endswith(f":{daemon.port:04X}") and
              line.split()[2].endswith(f":{port:04X}")}
    folder = f"/proc/{daemon.process.pid}/fd"
    n = 0
    for fd in os.listdir(folder):
        try:
            n += os.readlink(f"{folder}/{fd}")[len("socket:["):-1] in inodes
        except FileNotFoundError:
            pass
    return n


def test_an_answer_that_is_taken_slowly_is_whole_and_its_connection_goes_on(daemon):
    with SlowClient(("127.0.0.1", daemon.port)) as client:
        ask(client, N_ROWS)
        until = time.monotonic() + PACE_S
        while time.monotonic() < until:
            client.rest += client.socket.recv(4096)
            time.sleep(0.01)  # the pace is what this is about
        assert len(client.read().json()["results"]) == N_ROWS
        for _ in range(2):
            ask(client, 1)
            assert client.read().status == 200


def test_others_are_served_while_one_takes_nothing(start_daemon):
    daemon = start_daemon(threads=1)
    with SlowClient(("127.0.0.1", daemon.port)) as client:
        ask(client, N_ROWS)
        client.socket.recv(1, socket.MSG_PEEK)  # it is being answered
        assert daemon.score([10, 0, -3, 0, 1, 0]).status == 200


@pytest.mark.skipif(os.environ.get("ANOMALYD_LONG") != "1", reason="takes a minute")
def test_a_client_that_takes_nothing_for_a_minute_is_closed(start_daemon):
    daemon = start_daemon(threads=1)
    with SlowClient(("127.0.0.1", daemon.port)) as client:
        ask(client, N_ROWS)
        client.socket.recv(1, socket.MSG_PEEK)
        assert count_connections(daemon, client) == 1
        wait_for(lambda: count_connections(daemon, client) == 0, "the end of it", STALL_S + 20)
