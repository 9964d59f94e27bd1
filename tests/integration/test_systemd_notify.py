"""anomalyd tells the service manager what it does: sd_notify(3) over a real socket."""

import os
import signal
import socket
import statistics
import subprocess
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
ANOMALYD = os.path.abspath(os.environ.get("ANOMALYD", TOP / "anomalyd"))
DEADLINE_S = 30


class Manager:
    """The end of $NOTIFY_SOCKET that systemd would have."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(DEADLINE_S)

    def next(self):
        lines = self.socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_for(self, name):
        """The next message with this field, and the ones before it."""
        before = []
        while name not in (message := self.next()):
            before.append(message)
        return message, before


@pytest.fixture(name="manager")
def fixture_manager(tmp_path):
    manager = Manager(tmp_path)
    yield manager
    manager.socket.close()


@pytest.fixture(name="config")
def fixture_config(tmp_path):
    path = tmp_path / "anomalyd.conf"
    path.write_text(f"[server]\nlisten = unix:{tmp_path}/http.sock\nthreads = 1\n")
    return path


@pytest.fixture(name="start")
def fixture_start(manager, config):
    running = []

    def start(**environment):
        process = subprocess.Popen(
            [ANOMALYD, "--config", config],
            env={**os.environ, "NOTIFY_SOCKET": manager.path, **environment},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_ready_is_said_once_requests_are_answered(start, manager, tmp_path):
    start()
    message, before = manager.wait_for("READY")

    assert message == {"READY": "1", "STATUS": "0 models"}
    assert not before
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        client.connect(f"{tmp_path}/http.sock")
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_nothing_is_said_before_a_start_that_fails(start, manager, config):
    config.write_text("[server]\nthreads = many\n")
    process = start()
    _, errors = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 78
    assert f"{config}:2: threads: many is neither auto nor" in errors
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.next()


def test_a_reload_is_announced_with_its_time(start, manager):
    process = start()
    manager.wait_for("READY")
    before_us = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    process.send_signal(signal.SIGHUP)
    message, _ = manager.wait_for("RELOADING")
    ready, _ = manager.wait_for("READY")

    now_us = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    assert before_us - 1 <= int(message["MONOTONIC_USEC"]) <= now_us
    assert ready["STATUS"] == "0 models"


def test_a_failed_reload_is_told_and_the_old_state_goes_on(start, manager, config):
    process = start()
    manager.wait_for("READY")
    config.write_text("[server]\nthread = 1\n")
    process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING")
    manager.wait_for("READY")
    status = manager.next()["STATUS"]

    assert status.startswith("reload failed, the old state goes on: ")
    assert f"{config}:2: thread is no key" in status
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_is_said_and_the_exit_status_is_0(start, manager, number):
    process = start()
    manager.wait_for("READY")
    process.send_signal(number)
    manager.wait_for("STOPPING")

    _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert log.splitlines()[-1] == "anomalyd: stopped"


def test_a_second_stop_signal_ends_it_at_once(start, manager, tmp_path):
    process = start()
    manager.wait_for("READY")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        client.connect(f"{tmp_path}/http.sock")
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        # The idle connection would hold the drain for 5 seconds.
        process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 0
    assert time.monotonic() - started < 4
    assert "stopped" not in log


def test_the_watchdog_is_fed_twice_as_often_as_it_must(start, manager):
    start(WATCHDOG_USEC="200000")
    manager.wait_for("READY")
    times = []
    for _ in range(10):
        manager.wait_for("WATCHDOG")
        times.append(time.monotonic())

    pauses = [later - earlier for earlier, later in zip(times, times[1:])]
    assert 0.09 < statistics.median(pauses) < DEADLINE_S  # we may look late at some of them


def test_without_a_watchdog_nothing_is_fed(start, manager):
    process = start()
    manager.wait_for("READY")
    process.send_signal(signal.SIGTERM)
    _, before = manager.wait_for("STOPPING")

    assert not before
