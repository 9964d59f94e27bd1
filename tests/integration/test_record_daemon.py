"""anomalyctl record --model: this host's metrics go to a daemon, which learns and judges them."""

import http.server
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import threading

import ctl
import pytest
from conftest import wait_for
from test_learning_api import QUICK, LearningDaemon

HOST = "/v1/models/host"
TEMPLATE = {**QUICK, "epochs": 5, "min_rows": 80}


class Daemon(LearningDaemon):
    keys = {}

    def write_config(self, models, extra="", **server):
        keys = "".join(f"{key} = {value}\n" for key, value in {**TEMPLATE, **self.keys}.items())
        super().write_config(models, f"[models]\nauto_create = yes\n[model *]\n{keys}{extra}", **server)

    def rows(self, what="count(*)"):
        with sqlite3.connect(f"{self.folder}/state/state.db") as database:
            return database.execute(f"SELECT {what} FROM rows ORDER BY time_us").fetchall()


@pytest.fixture(name="start")
def fixture_start(tmp_path):
    started = []

    def begin(**keys):
        started.append(type("Own", (Daemon,), {"keys": keys})(tmp_path, {"threads": 2}, {}))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.stop()


class Recorder:
    """A running anomalyctl record; what it prints can be waited for."""

    def __init__(self, url, *options, interval="20ms"):
        command = [ctl.ANOMALYCTL, "record", "--interval", interval, "--model", "host", "--url", url]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.printed = {"stdout": "", "stderr": ""}
        self.readers = [threading.Thread(target=self._read, args=(name,)) for name in self.printed]
        for reader in self.readers:
            reader.start()

    def _read(self, name):
        for line in getattr(self.process, name):
            self.printed[name] += line

    def wait_for(self, pattern, name="stderr"):
        return wait_for(lambda: re.search(pattern, self.printed[name]), f"{pattern} on {name}")

    def end(self, number=signal.SIGINT):
        """Its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        status = self.process.wait(60)
        for reader in self.readers:
            reader.join()
        return status


@pytest.fixture(name="record")
def fixture_record():
    started = []

    def begin(place, *options, **more):
        url = place if isinstance(place, str) else f"http://127.0.0.1:{place.port}"
        started.append(Recorder(url, *options, **more))
        return started[-1]

    yield begin
    for recorder in started:
        if recorder.process.poll() is None:
            recorder.process.kill()
            recorder.wait()


# ---- learning and verdicts ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_from_nothing_to_verdicts(start, record, number):
    daemon = start()
    recorder = record(daemon)
    recorder.wait_for("host: version 1 answers\n")
    assert recorder.end(number) == 0
    lines = recorder.printed["stderr"].splitlines()
    assert lines[0] == "anomalyctl: host: learning, 1 of 80 rows"
    assert "anomalyctl: host: learning, 80 of 80 rows" in lines
    told = [int(n) for n in re.findall(r"learning, (\d+) of 80 rows", "\n".join(lines))]
    assert sum(n <= 80 for n in told) <= 11  # one a tenth; more come while it trains
    sent = int(re.fullmatch(r"anomalyctl: (\d+) rows sent to host, \d+ anomalies", lines[-1])[1])
    assert sent > 80 and daemon.get("", HOST)["version"] == 1


def test_an_anomaly_is_a_line_with_its_event_and_the_features_to_blame(start, record):
    daemon = start(false_alarm_rate=0.5)  # so that there are some
    recorder = record(daemon)
    line = recorder.wait_for(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z  score \S+  event (\d+)  "
                             r"(\w+) \S+ \(expected \S+\), \w+ \S+ \(expected \S+\), .*\n", "stdout")
    assert recorder.end() == 0
    assert line[2] in daemon.get("", HOST)["features"]
    events = daemon.get("events?kind=verdict", HOST)["events"]
    assert int(line[1]) in [event["id"] for event in events]
    lines = recorder.printed["stdout"].splitlines()
    assert recorder.printed["stderr"].endswith(f"rows sent to host, {len(lines)} anomalies\n")


def test_observed_rows_are_learned_from_without_a_verdict(start, record):
    daemon = start(learn="observe")
    recorder = record(daemon, "--observe", "--series", "web-1")
    wait_for(lambda: recorder.process.poll() is not None or daemon.request("GET", HOST).status == 200 and
             daemon.get("", HOST)["state"] == "serving", "a version")
    assert recorder.end() == 0 and recorder.printed["stdout"] == ""
    sent = int(re.search(r"(\d+) rows sent", recorder.printed["stderr"])[1])
    assert daemon.rows("count(*), min(series), max(series), min(is_observed)") == [(sent, "web-1", "web-1", 1)]


def test_the_summary_is_json(start):
    daemon = start()
    done = ctl.succeed("record", "--interval", "50ms", "--duration", "500ms", "--model", "host", "--json",
                       "--url", f"http://127.0.0.1:{daemon.port}")
    summary = json.loads(done.stdout)
    assert done.stderr == "" and " " not in done.stdout
    assert summary["model"] == "host" and "output" not in summary and summary["anomalies"] == 0
    assert summary["sent"] == summary["rows"] == daemon.rows()[0][0] >= 1


def test_a_terminal_shows_progress_in_one_line(start):
    daemon = start()
    terminal, slave = pty.openpty()
    command = [ctl.ANOMALYCTL, "record", "--interval", "20ms", "--model", "host", "--url",
               f"http://127.0.0.1:{daemon.port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while process.poll() is None and not re.search(rb"host: version 1, \d+ rows, \d+ anomalies, Ctrl-C ends it", shown):
            shown += os.read(terminal, 4096)
        process.terminate()
        assert process.wait(60) == 0
    os.close(terminal)
    assert b"\r\x1b[Khost: learning, 7 of 80 rows, Ctrl-C ends it\r\x1b[K" in shown
    assert b"\r\x1b[Kanomalyctl: host: version 1 answers\r\n" in shown


# ---- trouble ----


def test_rows_wait_for_a_daemon_that_is_away(start, record):
    daemon = start(min_rows=1000)
    daemon.stop()
    recorder = record(daemon)
    recorder.wait_for("cannot connect; is anomalyd running.* wait until it answers")
    assert daemon._start()
    recorder.wait_for(r"it answers again; \d+ rows waited, 0 were dropped")
    wait_for(lambda: daemon.rows()[0][0] > 5, "rows")
    daemon.stop()
    wait_for(lambda: recorder.printed["stderr"].count("cannot connect") == 2, "the second trouble")
    assert daemon._start()
    wait_for(lambda: recorder.printed["stderr"].count("answers again") == 2, "the daemon")
    assert recorder.end() == 0
    sent = int(re.search(r"(\d+) rows sent", recorder.printed["stderr"])[1])
    times = [time for time, in daemon.rows("time_us")]
    assert len(times) == sent
    gaps = sorted(b - a for a, b in zip(times, times[1:]))
    assert gaps[len(gaps) // 2] < 40000  # each has the time when it was sampled


def test_rows_that_never_arrive_are_a_failure(record):
    recorder = record("http://127.0.0.1:9", "--duration", "200ms")
    assert recorder.wait() == 1
    assert re.search(r"anomalyctl: \d+ rows never reached host", recorder.printed["stderr"])
    assert recorder.printed["stderr"].count("cannot connect") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_daemon_that_hangs_does_not_keep_it_from_ending(record, number):
    with socket.create_server(("127.0.0.1", 0)) as server:
        recorder = record(f"http://127.0.0.1:{server.getsockname()[1]}")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1)
            recorder.process.send_signal(number)
            assert recorder.wait() == 1
        assert "rows never reached host" in recorder.printed["stderr"]


def test_rows_wait_while_the_daemon_says_that_it_cannot():
    answers = [503, 503, 429, 202, 202]
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(answers[min(len(bodies), len(answers)) - 1])
            self.end_headers()
            self.wfile.write(b'{"title":"Busy","state":"learning","rows":1,"rows_needed":9}')

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        done = ctl.run("record", "--interval", "50ms", "--duration", "6s", "--model", "host", "--json",
                       "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert done.returncode == 0, done.stderr
    assert "status 503: Busy (up to 3600 rows wait" in done.stderr and "answers again" in done.stderr
    assert json.loads(done.stdout)["sent"] == json.loads(done.stdout)["rows"]
    first = bodies[0]
    assert bodies[:4] == [first] * 4 and len(first["features"]) >= 30
    times = [body["timestamp"] for body in bodies[3:]]
    assert times == sorted(set(times))


def test_what_the_daemon_refuses_ends_it(start):
    daemon = start()
    daemon.request("POST", f"{HOST}/observe", {"features": {"fan": 1}})
    url = f"http://127.0.0.1:{daemon.port}"
    for model, says in (("host", "status 422: "), ("-", None)):
        message = ctl.fail(1 if says else 2, "record", "--interval", "10ms", "--url", url, "--model", model)
        assert (says or "is no name of a model") in message


def test_verdicts_that_cannot_be_printed_end_it(start):
    daemon = start(false_alarm_rate=0.5)
    with open("/dev/full", "w", encoding="ascii") as full:
        done = ctl.run("record", "--interval", "20ms", "--model", "host", "--url",
                       f"http://127.0.0.1:{daemon.port}", stdout=full)
    assert done.returncode == 1
    assert done.stderr.endswith("answers\nanomalyctl: standard output: cannot write: No space left on device\n")


@pytest.mark.parametrize("options, message", [
    (["--url", "http://127.0.0.1:1"], "--url needs --model NAME"),
    (["--series", "a"], "--series needs --model NAME"),
    (["--observe"], "--observe needs --model NAME"),
    (["--model", "a", "--output", "b.csv"], "--output does not go with --model"),
    (["--model", "a", "--url", "ftp://x"], "ftp://x: is no address of anomalyd"),
    (["--model", "a/b"], "a/b: is no name of a model"),
])
def test_wrong_usage_is_refused(options, message):
    assert message in ctl.fail(2, "record", *options)
