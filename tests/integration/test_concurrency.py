"""Many clients at a time, over connections that stay open."""

import http.client
import re
import threading

import pytest

from conftest import DEADLINE_S, NORMAL, ODD, Daemon


def in_threads(n_threads, work):
    """Runs work(number) in threads; their results in order. A failure in one is ours."""
    results, failures = [None] * n_threads, []

    def run(number):
        try:
            results[number] = work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * DEADLINE_S)
        assert not thread.is_alive()
    if failures:
        raise failures[0]
    return results


def test_each_of_many_clients_gets_its_own_answer(daemon):
    def body(number):
        return {"features": [value + number for value in NORMAL], "series": None}

    expected = {number: daemon.score(body(number)).body for number in range(32)}

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE_S)
        answers = {Daemon.request_on(connection, "POST", "/v1/score", body(number)).body
                   for _ in range(40)}
        connection.close()
        return answers

    for number, answers in enumerate(in_threads(32, client)):
        assert answers == {expected[number]}


def test_a_connection_serves_many_requests(daemon):
    with daemon.connect() as client:
        ports = set()
        for _ in range(200):
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.read().status == 200
            ports.add(client.socket.getsockname()[1])
        assert len(ports) == 1


@pytest.mark.parametrize("n", [127, 128, 129, 256])
def test_any_number_of_open_connections_is_served(daemon, n):
    """libmicrohttpd's own epoll loop stalls when exactly k * 128 sockets are ready."""
    clients = [daemon.connect() for _ in range(n)]
    for _ in range(3):
        for client in clients:
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert {client.read().status for client in clients} == {200}
    for client in clients:
        client.socket.close()


def test_both_workers_are_used(daemon):
    """A made-up request id begins with what belongs to one worker."""
    clients = [daemon.connect() for _ in range(4)]
    prefixes = []
    for client in clients:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        prefixes.append(re.match("[0-9a-f]+", client.read().headers["x-request-id"])[0])
        client.socket.close()
    assert len(set(prefixes)) == 2
    assert prefixes[0] == prefixes[2] and prefixes[1] == prefixes[3]


def test_silent_clients_hold_up_nobody(daemon):
    silent = [daemon.connect() for _ in range(300)]
    for client in silent[::2]:
        client.send(b"POST /v1/sc")
    assert daemon.score(ODD).json()["anomaly"] is True
    for client in silent:
        client.socket.close()


def test_a_large_batch_and_small_requests_go_side_by_side(daemon):
    batch = {"instances": [NORMAL] * 20000, "explain": "none"}

    def client(number):
        if number == 0:
            return len(daemon.score(batch).json()["results"])
        return sum(daemon.score(ODD).json()["anomaly"] for _ in range(20))

    assert in_threads(5, client) == [20000, 20, 20, 20, 20]


def test_clients_that_break_off_harm_nobody(daemon):
    def client(number):
        for step in range(20):
            with daemon.connect() as client:
                client.send(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n["
                            + b"1," * (step * number))
        return daemon.score(ODD).json()["anomaly"]

    assert in_threads(8, client) == [True] * 8
