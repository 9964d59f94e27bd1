"""Fixtures for the tests that run the real programs, and TAP output for `make check` (TAP=1).

Programs: ./anomalyd and ./anomalyctl in the current folder, or $ANOMALYD and $ANOMALYCTL.

Where they are built with sanitizers, a report of any process that a test has started makes it fail,
whatever the test looks at: see Reports."""

import ctypes
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

ANOMALYD = os.path.abspath(os.environ.get("ANOMALYD", "./anomalyd"))
ANOMALYCTL = os.path.abspath(os.environ.get("ANOMALYCTL", "./anomalyctl"))
FEATURES = ["cpu", "load", "mem", "disk_io", "temp", "net"]
NORMAL = [10, 0.1, -3, 0.2, 1, 0]
ODD = [100, 0, -3, 0, 1, 0]
LIBRARIES = subprocess.run(["ldd", ANOMALYD], capture_output=True).stdout
# Sanitizers have memory of their own, and keep what has been freed.
IS_SANITIZED = b"libasan" in LIBRARIES or b"libtsan" in LIBRARIES
DEADLINE_S = 300 if b"libtsan" in LIBRARIES else 60  # for milliseconds: busy machines are slow


def wait_for(condition, what, seconds=DEADLINE_S):
    """Asks again and again until condition() is true; its value."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        pause.wait(0.01)
    pytest.fail(f"waited {seconds} s for {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Reports:
    """What sanitizers have to say: a file each process, for a test may not see its stderr, nor ask
    for its exit status. A trainer may open no file; its sanitizer complains about that on stderr,
    which is the daemon's log."""

    SANITIZERS = ("ASAN", "LSAN", "TSAN", "UBSAN")
    EXIT_STATUS = 66  # as no program of ours
    TRACES = re.compile(r"Sanitizer|runtime error:|ERROR: Can't open file:")

    def __init__(self, folder):
        self.folder = folder
        for sanitizer in self.SANITIZERS:
            options = os.environ.get(f"{sanitizer}_OPTIONS", "")
            os.environ[f"{sanitizer}_OPTIONS"] = (
                f"{options}:log_path={folder}/report:exitcode={self.EXIT_STATUS}")

    def check(self):
        """Fails for what has come since the last time."""
        files = sorted(self.folder.iterdir())
        texts = [file.read_text(errors="replace") for file in files]
        for file in files:
            file.unlink()
        assert not texts, "\n".join(texts)
        for daemon in Daemon.started:
            self.check_log(daemon.log())

    @classmethod
    def check_log(cls, log):
        assert not cls.TRACES.search(log), log


@pytest.fixture(scope="session", autouse=True)
def reports(tmp_path_factory):
    reports = Reports(tmp_path_factory.mktemp("reports"))
    yield reports
    reports.check()  # of what ended behind the last test


@pytest.fixture(autouse=True)
def no_reports(reports):
    """Made before all else that a test has, so that it looks when the programs have ended."""
    yield
    reports.check()


class Reply:
    """One answer: status, header fields (names in lower case), body."""

    def __init__(self, status, fields, body):
        self.status, self.headers, self.body = status, fields, body

    def json(self):
        def refuse(constant):
            raise ValueError(f"{constant} is not JSON")

        return json.loads(self.body.decode("utf-8"), parse_constant=refuse)


def check_problem(reply, status):
    """reply is a complete RFC 9457 problem of that status; its members."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"]
    problem = reply.json()
    assert problem["status"] == status
    assert problem["type"] and problem["title"] and len(problem["detail"]) > 10
    return problem


class RawClient:
    """A socket that speaks HTTP as badly as a test wants."""

    def __init__(self, address, family=socket.AF_INET):
        self.socket = socket.socket(family)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(address)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """One answer with a Content-Length."""
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        fields = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            fields[name.lower()] = value.strip()
        length = int(fields["content-length"])
        while len(self.rest) < length:
            self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return Reply(int(lines[0].split()[1]), fields, body)

    def _more(self):
        data = self.socket.recv(65536)
        assert data, f"the connection ended after {self.rest!r}"
        self.rest += data

    def is_closed(self):
        """Reads to the end of the connection; true if nothing more came."""
        try:
            return self.rest == b"" and self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True


class Daemon:
    """A running anomalyd with a configuration of its own."""

    started = []

    def __init__(self, folder, server, models):
        self.folder = folder
        self.server = server
        self.config = folder / "anomalyd.conf"
        self.log_path = folder / "log"
        self.process = None
        for _ in range(20):  # somebody else may take the port between our look and its bind
            self.port = free_port()
            self.write_config(models)
            if self._start():
                Daemon.started.append(self)
                return
        pytest.fail("found no free port")

    def write_config(self, models, extra="", **server):
        self.server = {**self.server, **server}
        listen = [f"127.0.0.1:{self.port}", *self.server.get("also", [])]
        lines = ["[server]", "listen = " + ", ".join(listen)]
        lines += [f"{key} = {value}" for key, value in self.server.items() if key != "also"]
        for name, keys in models.items():
            lines += [f"[model {name}]", *(f"{key} = {value}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n" + extra)

    def _start(self):
        if self.process:
            Reports.check_log(self.log())  # which begins anew
        self.is_stopping = False
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [ANOMALYD, "--config", str(self.config)], stderr=log, stdout=log
            )
        wait_for(self._answers_or_has_ended, "the daemon to answer")
        if self.process.poll() is None:
            return True
        assert "use" in self.log(), self.log()
        return False

    def _answers_or_has_ended(self):
        if self.process.poll() is not None:
            return True
        try:
            return self.request("GET", "/healthz").status == 200
        except OSError:
            return False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            return self.request_on(connection, method, path, body, headers)
        finally:
            connection.close()

    @staticmethod
    def request_on(connection, method, path, body=None, headers=None):
        if body is not None and not isinstance(body, (bytes, str)) and not hasattr(body, "__next__"):
            body = json.dumps(body)
            headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, fields, answer.read())

    def score(self, body, query="", **headers):
        return self.request("POST", "/v1/models/web/score" + query, body, headers)

    def connect(self):
        return RawClient(("127.0.0.1", self.port))

    def metrics(self):
        """{'name{labels}': value} of /metrics."""
        page = self.request("GET", "/metrics").body.decode()
        lines = [line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def peak_memory(self):
        """The most that was ever resident, in bytes."""
        status = open(f"/proc/{self.process.pid}/status").read()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])

    def signal(self, number):
        self.is_stopping |= number == signal.SIGTERM
        self.process.send_signal(number)

    def reload(self, log_text):
        """SIGHUP, then waits for what the log must say about it; returns only the new lines."""
        before = len(self.log())
        self.signal(signal.SIGHUP)
        return wait_for(lambda: re.search(log_text, self.log()[before:]) and self.log()[before:],
                        f"{log_text!r} in the log")

    def wait_for_exit(self):
        return self.process.wait(DEADLINE_S)

    def stop(self):
        if self.process.poll() is None and not self.is_stopping:  # a second one ends it at once
            self.signal(signal.SIGTERM)
        assert self.wait_for_exit() == 0, self.log()


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A small model of six features, trained by the real anomalyctl."""
    folder = tmp_path_factory.mktemp("model")
    chance = random.Random(1)
    lines = [",".join(FEATURES)]
    for _ in range(500):
        a, b = chance.gauss(0, 1), chance.gauss(0, 1)
        noise = [chance.gauss(0, 0.1) for _ in range(3)]
        row = [10 + 3 * a, 2 * a + noise[0], 5 * b - 3, b - a + noise[1], 1 + noise[2], 7 * (a + b)]
        lines.append(",".join(f"{value:.6g}" for value in row))
    (folder / "normal.csv").write_text("\n".join(lines) + "\n")
    path = folder / "web.safetensors"
    subprocess.run(
        [ANOMALYCTL, "train", "--data", folder / "normal.csv", "--output", path,
         "--false-alarm-rate", "0.05", "--epochs", "40"],
        check=True, capture_output=True, timeout=10 * DEADLINE_S,
    )
    return path


@pytest.fixture(scope="session")
def other_model_file(model_file):
    """Another model of the same features, to be told from the first by its checksum."""
    path = model_file.with_name("other.safetensors")
    subprocess.run(
        [ANOMALYCTL, "train", "--data", model_file.with_name("normal.csv"), "--output", path,
         "--false-alarm-rate", "0.05", "--epochs", "10", "--seed", "2"],
        check=True, capture_output=True, timeout=10 * DEADLINE_S,
    )
    return path


def _starter(folder, model_file, started):
    def start(models=None, **server):
        place = folder / str(len(started))
        place.mkdir()
        daemon = Daemon(place, {"threads": 2, **server},
                        {"web": {"file": model_file}} if models is None else models)
        started.append(daemon)
        return daemon

    return start


@pytest.fixture
def start_daemon(tmp_path, model_file):
    """start_daemon(models={name: {key: value}}, key_of_server=value): stopped after the test, and
    that must go well."""
    started = []
    yield _starter(tmp_path, model_file, started)
    for daemon in started:
        daemon.stop()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, model_file):
    """One daemon with the model `web` for all tests of a file that do not change it."""
    started = []
    yield _starter(tmp_path_factory.mktemp("daemon"), model_file, started)()
    for running in started:
        running.stop()


# ---- TAP ----


MOST_CAPTURED = 40  # lines of what a test that failed has printed


class Tap:
    """Prints the results as `make check` reads them (testanything.org), and nothing else."""

    def __init__(self):
        self.count = 0
        self.reports = {}

    def pytest_collection_finish(self, session):
        print(f"1..{len(session.items)}", flush=True)

    def pytest_collectreport(self, report):
        if report.failed:
            print("Bail out! " + str(report.longrepr).replace("\n", " | "), flush=True)

    def pytest_runtest_logreport(self, report):
        self.reports.setdefault(report.nodeid, []).append(report)
        if report.when == "teardown":
            self._print(report.nodeid.split("::", 1)[1], self.reports.pop(report.nodeid))

    def _print(self, name, reports):
        self.count += 1
        name = name.replace("#", "")
        failed = [report for report in reports if report.failed]
        skipped = [report for report in reports if report.skipped]
        if failed:
            print(f"not ok {self.count} - {name}")
            for report in failed:
                for line in str(report.longrepr).splitlines():
                    print("# " + line)
            for title, words in failed[-1].sections:
                for line in [f"--- {title}"] + words.splitlines()[-MOST_CAPTURED:]:
                    print("# " + line)
        elif skipped:
            reason = skipped[0].longrepr[2].removeprefix("Skipped: ")
            print(f"ok {self.count} - {name} # SKIP {reason}")
        else:
            print(f"ok {self.count} - {name}")
        sys.stdout.flush()


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if os.environ.get("TAP") == "1":
        config.pluginmanager.unregister(name="terminalreporter")
        config.pluginmanager.register(Tap(), "tap")


def pytest_make_parametrize_id(val):
    """Short, printable names for parameters, whatever bytes they hold."""
    if isinstance(val, (bytes, str)) and (len(val) > 40 or not str(val).isprintable()):
        return ascii(val[:40])
    return None


class StoppedThread:
    """A with block in which one thread of a process, found by its name, does nothing."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, pid, name):
        tasks = pathlib.Path(f"/proc/{pid}/task")

        def find():  # one that has just begun has no name yet
            return next((int(task.name) for task in tasks.iterdir()
                         if (task / "comm").read_text().strip() == name), None)

        self.thread = wait_for(find, f"the thread {name}")
        self.libc = ctypes.CDLL(None, use_errno=True)

    def _trace(self, request):
        if self.libc.ptrace(request, self.thread, None, None) < 0:
            pytest.skip(f"ptrace: {os.strerror(ctypes.get_errno())}")

    def _sleeps(self):
        return pathlib.Path(f"/proc/{self.thread}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"

    def __enter__(self):
        wait_for(self._sleeps, "the thread to have nothing to do")  # nor does it hold a lock
        self._trace(self.SEIZE)
        self._trace(self.INTERRUPT)
        os.waitpid(self.thread, self.WALL)
        return self

    def __exit__(self, *unused):
        self._trace(self.DETACH)
