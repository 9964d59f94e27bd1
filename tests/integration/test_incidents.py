"""Incidents: what opens and ends them, how they are listed, and what people see of them."""

import ctl
import pytest
from conftest import NORMAL, ODD, check_problem
from test_learning_api import MODEL, QUICK, LearningDaemon

ALARM = {"alarm": "3 of 5", "alarm_clear": "5 below 0.8"}


class IncidentDaemon(LearningDaemon):
    def send(self, rows, **options):
        reply = self.score({"instances": rows, **options})
        assert reply.status == 200, reply.body

    def alarm(self, series="db", n=3, **options):
        """An incident that the alarm policy has opened; its id."""
        self.send([ODD] * n, series=series, **options)
        return self.incidents(f"series={series}")[0]["id"]

    def end(self, series="db", **options):
        self.send([NORMAL] * 5, series=series, **options)

    def incidents(self, query=""):
        return self.get(f"incidents?{query}")["incidents"]

    def ids(self, query):
        return [incident["id"] for incident in self.incidents(query)]

    def ctl(self, *arguments):
        return ctl.succeed(*arguments, "--url", f"http://127.0.0.1:{self.port}").stdout


@pytest.fixture
def start(tmp_path, model_file):
    started = []

    def begin(keys=None, extra=""):
        folder = tmp_path / f"daemon-{len(started)}"
        folder.mkdir()
        keys = {**QUICK, **ALARM, "learn": "off", "file": model_file, "false_alarm_rate": 0.001,
                **(keys or {})}
        started.append(IncidentDaemon(folder, {"threads": 2}, {"web": keys}))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.stop()


def test_anomalies_of_a_series_are_one_incident(start):
    daemon = start()
    daemon.send([NORMAL] * 9 + [ODD] * 3 + [NORMAL] + [ODD] * 2, series="db", timestamp=1700000000)
    incident, = daemon.incidents()
    assert incident["open"] and incident["opened_by"] == "alarm" and incident["series"] == "db"
    assert incident["began_at"] == incident["opened_at"] == "2023-11-14T22:13:20Z"
    assert "ended_at" not in incident
    daemon.end("db", timestamp=1700000060)
    over, = daemon.incidents()
    assert over["id"] == incident["id"] and not over["open"]
    assert (over["rows"], over["anomalies"]) == (11, 5)
    assert over["ended_at"] == "2023-11-14T22:14:20Z"
    assert daemon.get(f"incidents/{over['id']}") == over


def test_an_incident_says_how_bad_it_was_and_what_is_to_blame(start):
    daemon = start()
    verdict = daemon.score({"features": ODD, "series": "db"}).json()
    daemon.alarm("db")
    incident, = daemon.incidents()
    assert incident["peak"]["score"] == pytest.approx(verdict["score"])
    assert incident["peak"]["version"] == verdict["version"]
    first = incident["contributions"][0]
    assert first["share"] > 0 and {"feature", "value", "expected"} <= set(first)
    assert incident["reason"].startswith(f"{first['feature']} ") and "(expected " in incident["reason"]
    event, = [event for event in daemon.get("events")["events"] if event["kind"] == "incident"]
    assert event["id"] == incident["id"] and event["reason"] == incident["reason"]
    assert f"model web: incident: {incident['reason']}: see the features" in daemon.log()


@pytest.mark.parametrize("options", [{}, {"learn": False}])
@pytest.mark.parametrize("learn", ["off", "observe", "auto"])
def test_rows_page_whether_or_not_they_are_learned_from(start, learn, options):
    daemon = start({"learn": learn})
    assert daemon.alarm("db", **options)


def test_independent_rows_and_an_alarm_that_is_never_page_nobody(start):
    daemon = start()
    daemon.send([ODD] * 20, series=None)
    assert daemon.incidents() == []
    silent = start({"alarm": "never"})
    silent.send([ODD] * 20)
    assert silent.incidents() == []


def test_a_cusum_joins_the_incident_of_the_alarm(start):
    daemon = start({"learn": "auto"})
    daemon.send([[x + i * 1e-3 for x in NORMAL] for i in range(20)], series="db")
    first = daemon.alarm(n=20)
    incident = daemon.get(f"incidents/{first}")
    assert incident["opened_by"] == "alarm" and "hard" in incident["openers"]
    assert "kept from learning" in incident["advice"]
    assert len(daemon.incidents()) == 1


def test_incidents_are_filtered_and_paged(start):
    daemon = start()
    ids = []
    for i, series in enumerate(["a", "b", "a"]):
        ids.append(daemon.alarm(series, timestamp=1000 * (i + 1)))
        if i < 2:
            daemon.end(series, timestamp=1000 * (i + 1) + 100)
    a, b, c = ids
    assert daemon.ids("") == [c, b, a]
    assert daemon.ids("open=true") == [c] and daemon.ids("open=false") == [b, a]
    assert daemon.ids("series=a") == [c, a] and daemon.ids("series=c") == []
    assert daemon.ids("opened_by=alarm") == [c, b, a] and daemon.ids("opened_by=hard") == []
    assert daemon.ids("since=1101") == [c, b]  # it had ended at 1100
    assert daemon.ids("until=1970-01-01T00:33:20Z") == [a]
    assert daemon.ids("since=2050&until=2051") == [b]
    page = daemon.get("incidents?limit=2")
    assert [incident["id"] for incident in page["incidents"]] == [c, b]
    last = daemon.get(f"incidents?limit=2&before={page['before']}")
    assert [incident["id"] for incident in last["incidents"]] == [a] and "before" not in last


@pytest.mark.parametrize("query, told", [
    ("open=yes", "\"open\" must be true or false"),
    ("opened_by=me", "\"opened_by\" must be alarm, hard or soft"),
    ("since=noon", "\"since\" must be a time in RFC 3339"),
    ("limit=0", "\"limit\" must be a whole number from 1 to 1000"),
    ("before=x", "\"before\" must be an id"),
    ("colour=red", "no parameter \"colour\"; incidents are asked for by open, opened_by"),
])
def test_a_bad_query_is_refused(start, query, told):
    reply = start().request("GET", f"{MODEL}/incidents?{query}")
    check_problem(reply, 400)
    assert told in reply.json()["detail"]


def test_an_unknown_incident_is_not_found(start):
    daemon = start()
    daemon.alarm()
    verdict = daemon.get("events?kind=verdict")["events"][0]["id"]
    for other in (verdict, 99999999):
        reply = daemon.request("GET", f"{MODEL}/incidents/{other}")
        check_problem(reply, 404)
        assert f"no incident {other}" in reply.json()["detail"]


def test_an_incident_survives_a_restart_as_closed(start):
    daemon = start()
    first = daemon.alarm("db")
    daemon.stop()
    assert daemon._start()
    incident = daemon.get(f"incidents/{first}")
    assert not incident["open"] and incident["closed_by"] == "restart" and incident["reason"]


def test_a_word_on_an_alarm_is_remembered(start):
    daemon = start()
    first = daemon.alarm()
    assert daemon.post("feedback", {"event": first, "label": "normal"}).status == 200
    assert daemon.get(f"incidents/{first}")["label"] == "normal"
    verdict = daemon.get("events?kind=verdict")["events"][0]
    assert verdict["incident"] == first
    reply = daemon.post("feedback", {"event": verdict["id"], "label": "anomaly"})
    assert reply.json() == {"event": verdict["id"], "label": "anomaly"}  # on that row alone
    assert daemon.get(f"incidents/{first}")["label"] == "normal"


def test_incidents_are_counted(start):
    daemon = start()
    daemon.alarm("a")
    daemon.alarm("b")
    daemon.end("a")
    daemon.incidents()  # behind all that came before
    metrics = daemon.request("GET", "/metrics").body.decode()
    assert 'anomalyd_incidents_open{model="web"} 1\n' in metrics
    assert 'anomalyd_incidents_opened_total{model="web",opened_by="alarm"} 2\n' in metrics
    assert 'anomalyd_incidents_opened_total{model="web",opened_by="soft"} 0\n' in metrics


def test_a_person_sees_incidents_in_a_table(start):
    daemon = start()
    first = daemon.alarm("a")
    daemon.end("a")
    second = daemon.alarm("b")
    table = daemon.ctl("incidents", "web").splitlines()
    assert table[0].split() == ["INCIDENT", "BY", "OPENED", "OPEN", "ROWS", "PEAK", "LABEL", "SERIES"]
    assert table[1].split()[:2] == [str(second), "alarm"] and "yes" in table[1]
    assert table[2].startswith("    ") and "(expected " in " ".join(table[2:4])
    assert any(line.split()[:1] == [str(first)] for line in table[3:])
    assert max(map(len, table)) <= 80
    assert str(first) not in daemon.ctl("incidents", "web", "--open").split()
