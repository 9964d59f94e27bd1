"""anomalyctl watch: what happens, a line an event."""

import json
import subprocess

import ctl
import pytest
from conftest import DEADLINE_S, wait_for
from test_incidents import start  # noqa: F401 a fixture


class Watcher:
    def __init__(self, daemon, *arguments):
        self.process = subprocess.Popen(
            [ctl.ANOMALYCTL, "watch", "--url", f"http://127.0.0.1:{daemon.port}", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        wait_for(lambda: any(name.startswith('anomalyd_http_requests_total{route="/v1/events"')
                             and value > 0 for name, value in daemon.metrics().items()),
                 "the watcher to follow")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)

    def line(self):
        return self.process.stdout.readline().rstrip("\n")


def test_an_event_is_a_line(start):
    daemon = start()
    with Watcher(daemon) as watcher:
        incident = daemon.alarm("db", timestamp=1700000000)
        first = watcher.line()
        assert first.startswith(f"2023-11-14T22:13:20Z web: incident {incident} of db: ")
        assert "(expected " in first
        daemon.end("db", timestamp=1700000060)
        assert watcher.line().startswith(
            f"2023-11-14T22:14:20Z web: incident {incident} of db is over: ")


def test_json_is_the_event_as_it_came(start):
    daemon = start()
    with Watcher(daemon, "--json", "--model", "web", "--kind", "incident") as watcher:
        incident = daemon.alarm("db")
        told = json.loads(watcher.line())
        event, = daemon.get("events")["events"]
        assert told == {"model": "web", **event} and told["id"] == incident


def test_it_goes_on_over_a_restart(start):
    daemon = start()
    with Watcher(daemon) as watcher:
        first = daemon.alarm("a")
        assert f"incident {first} " in watcher.line()
        daemon.stop()
        assert daemon._start()
        second = daemon.alarm("b")
        while f"incident {second} of b: " not in watcher.line():
            pass


@pytest.mark.parametrize("arguments, status, told", [
    (["--model", "nobody"], 1, 'status 404: There is no model "nobody"'),
    (["--kind", "verdict"], 1, 'The parameter "kind" must be one of drift, '),
    (["--kind", "a&b"], 2, "watch: --kind a&b: is no kind of an event"),
    (["--model", "../x"], 2, "watch: ../x: is no name of a model"),
    (["--url", "http://127.0.0.1:1"], 1, "cannot connect; is anomalyd running"),
    (["--url", "nowhere"], 2, "nowhere: is no address of anomalyd"),
])
def test_what_cannot_be_watched_is_told(start, arguments, status, told):
    url = ["--url", f"http://127.0.0.1:{start().port}"] if "--url" not in arguments else []
    assert told in ctl.fail(status, "watch", *url, *arguments)
