"""Verdicts that feedback can name: their events, what a word on one does, how it is remembered."""

import json
import sqlite3
import threading

import ctl
import pytest
from conftest import NORMAL, ODD, check_problem
from test_learning_api import MODEL, QUICK, LearningDaemon, rows_like_normal

TRAIN, CALIBRATE, GATE, QUARANTINE, CONFIRMED, ASIDE = range(6)


class FeedbackDaemon(LearningDaemon):
    def odd(self, **options):
        """The event of one anomalous verdict."""
        return self.score({"features": ODD, **options}).json()["event"]

    def lone(self, n, series="db"):
        """Events of anomalies far apart among normal rows, all of which have come out of the hold
        queue and are stored."""
        events = []
        for i in range(n):
            rows = rows_like_normal(60, seed=i)
            assert self.score({"instances": rows, "series": series}).status == 200
            events.append(self.odd(series=series))
        assert self.score({"instances": rows_like_normal(200, seed=n), "series": series}).status == 200
        self.get("events?kind=verdict")  # behind all that came before
        assert not [event for event in self.get("events")["events"] if event["kind"] == "incident"]
        return events

    def say(self, event, label):
        reply = self.post("feedback", {"event": event, "label": label})
        assert reply.status == 200, reply.body
        return reply.json()

    def verdicts(self):
        return {event["id"]: event for event in self.get("events?kind=verdict")["events"]}

    def restart(self):
        self.stop()
        assert self._start()

    def query(self, sql, *parameters):
        with sqlite3.connect(f"file:{self.folder}/state/state.db?mode=ro", uri=True) as database:
            return database.execute(sql, parameters).fetchall()

    def row(self, event):
        """(role, is_approved) of the row of a verdict; None: it is not stored."""
        found = self.query("SELECT role, is_approved FROM rows WHERE event = ?", event)
        return found[0] if found else None


@pytest.fixture
def start(tmp_path, model_file):
    started = []

    def begin(keys=None):
        folder = tmp_path / f"daemon-{len(started)}"
        folder.mkdir()
        keys = {**QUICK, "file": model_file, "false_alarm_rate": 0.001, **(keys or {})}
        started.append(FeedbackDaemon(folder, {"threads": 2}, {"web": keys}))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.stop()


# ---- the id ----


def test_an_anomalous_verdict_carries_its_event_behind_anomaly(start):
    daemon = start()
    reply = daemon.score(ODD)
    event = reply.json()["event"]
    assert event > 0 and b'"anomaly":true,"event":%d,"contributions"' % event in reply.body
    assert "event" not in daemon.score(NORMAL).json()
    assert daemon.odd() > event


def test_a_batch_gives_each_anomaly_its_own(start):
    daemon = start()
    reply = daemon.score({"instances": [ODD, NORMAL, ODD, ODD], "explain": "none"}).json()
    events = [verdict.get("event") for verdict in reply["results"]]
    assert events[1] is None
    assert events[0] < events[2] < events[3]
    assert list(reply["results"][0]) == ["reconstruction_error", "score", "p_value", "anomaly",
                                         "event"]
    assert set(daemon.verdicts()) == {events[0], events[2], events[3]}


def test_without_a_store_there_is_none(daemon):
    assert "event" not in daemon.score(ODD).json()
    check_problem(daemon.request("POST", f"{MODEL}/feedback", {"event": 1, "label": "normal"}), 409)


@pytest.mark.parametrize("learn", ["auto", "observe", "off"])
def test_verdicts_are_events_whatever_is_learned(start, learn):
    daemon = start({"learn": learn})
    plain, refused = daemon.odd(series="db"), daemon.odd(learn=False, series=None)
    verdicts = daemon.verdicts()
    assert set(verdicts) == {plain, refused}
    assert verdicts[plain]["kind"] == "verdict" and verdicts[plain]["series"] == "db"
    detail = verdicts[plain]["detail"]
    assert detail["score"] > 1 and 0 < detail["p_value"] <= 1 and detail["version"] == 1
    assert "series" not in verdicts[refused]
    assert daemon.say(refused, "anomaly") == {"event": refused, "label": "anomaly"}
    assert daemon.verdicts()[refused]["label"] == "anomaly"
    assert daemon.get("events")["events"] == []  # a list of its own


def test_ids_are_unique_over_threads_and_starts(start):
    daemon = start()
    events, lock = [], threading.Lock()

    def score():
        for _ in range(20):
            results = daemon.score({"instances": [ODD] * 5, "series": None}).json()["results"]
            with lock:
                events.extend(verdict["event"] for verdict in results)

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(events)) == 400
    assert set(daemon.verdicts()) <= set(events)  # the newest of them
    assert daemon.query("SELECT count(*) FROM events WHERE kind = 'verdict'") == [(400,)]
    daemon.restart()
    assert daemon.odd() > max(events)
    assert daemon.say(events[0], "normal") == {"event": events[0], "label": "normal"}


# ---- a word on a lone row ----


def test_normal_lets_a_lone_row_train_or_stay_where_it_calibrates(start):
    daemon = start()
    events = daemon.lone(12)
    before = {event: daemon.row(event) for event in events}
    assert {role for role, _ in before.values()} == {CALIBRATE, GATE, ASIDE}
    assert not any(is_approved for _, is_approved in before.values())
    for event in events:
        assert daemon.say(event, "normal") == {"event": event, "label": "normal"}
        role = before[event][0]
        assert daemon.row(event) == (TRAIN if role == ASIDE else role, 1)


def test_anomaly_confirms_a_lone_row_and_minds_may_change(start):
    daemon = start()
    events = daemon.lone(8)
    for event in events:
        daemon.say(event, "anomaly")
        assert daemon.row(event) == (CONFIRMED, 0)
    assert daemon.get("buffer")["confirmed"] == 8
    daemon.say(events[0], "normal")
    assert daemon.row(events[0]) == (TRAIN, 1)
    assert daemon.get("buffer")["confirmed"] == 7
    assert daemon.verdicts()[events[0]]["label"] == "normal"


def test_a_word_at_once_reaches_a_row_that_still_waits(start):
    daemon = start()
    assert daemon.score({"instances": rows_like_normal(60), "series": "db"}).status == 200
    event = daemon.odd(series="db")
    daemon.say(event, "anomaly")
    assert daemon.row(event) is None
    assert daemon.score({"instances": rows_like_normal(200, 2), "series": "db"}).status == 200
    daemon.get("events?kind=verdict")
    assert daemon.row(event) == (CONFIRMED, 0)


def test_a_word_right_behind_the_verdict_always_finds_it(start):
    daemon = start()
    for i in range(50):
        daemon.say(daemon.odd(series=None), "normal" if i % 2 else "anomaly")
    assert len([event for event in daemon.verdicts().values() if event["label"]]) == 50


# ---- incidents ----


def test_a_word_on_a_verdict_of_an_incident_is_on_the_incident(start):
    daemon = start()
    events = [daemon.odd(series="db") for _ in range(12)]
    verdicts = daemon.verdicts()
    incident = next(event for event in daemon.get("events")["events"] if event["kind"] == "incident")
    assert verdicts[events[-1]]["incident"] == incident["id"]
    quarantined = daemon.get("buffer")["quarantined"]
    assert quarantined >= 10

    # the first was judged before there was an incident, which has taken its row since
    assert daemon.say(events[0], "anomaly") == {"event": events[0], "label": "anomaly",
                                                "incident": incident["id"]}
    assert daemon.get("buffer")["confirmed"] == quarantined
    assert daemon.say(events[-1], "normal")["incident"] == incident["id"]
    buffer = daemon.get("buffer")
    assert buffer["confirmed"] == 0 and buffer["rows"] >= quarantined
    labels = [event["label"] for event in daemon.get("events")["events"] if event["id"] == incident["id"]]
    assert labels == ["normal"]


def test_a_word_on_a_regime_change_is_on_its_incident(start):
    daemon = start()
    rows = [[value + 0.1 * i for value in ODD] for i in range(600)]  # none equals the one before
    assert daemon.score({"instances": rows, "series": "db", "explain": "none"}).status == 200
    daemon.get("events?kind=verdict")
    events = {event["kind"]: event for event in daemon.get("events")["events"]}
    change, incident = events["regime_change"], events["incident"]
    assert change["incident"] == incident["id"] and "incident" not in incident
    assert daemon.say(change["id"], "normal") == {"event": change["id"], "label": "normal",
                                                  "incident": incident["id"]}
    buffer = daemon.get("buffer")
    assert buffer["quarantined"] == 0 and buffer["rows"] > 500


def test_a_word_on_a_sampled_out_row_reaches_its_incident(start):
    daemon = start({"sample_rate": "1/s"})
    for i in range(12):
        daemon.odd(series="db", timestamp=1700000000 + i)
    event = daemon.odd(series="db", timestamp=1700000011.001)
    assert daemon.verdicts()[event]["incident"] and daemon.row(event) is None
    daemon.say(event, "anomaly")
    assert daemon.get("buffer")["confirmed"] >= 10


# ---- what is not there ----


def test_an_event_that_is_not_there_is_a_404_that_says_so(start):
    daemon = start()
    event = daemon.odd()
    for unknown in (event + 1, 2**62):
        detail = check_problem(daemon.post("feedback", {"event": unknown, "label": "normal"}), 404)["detail"]
        assert f"no event {unknown}" in detail and "too old" in detail and "kind=verdict" in detail


def test_events_refuse_another_query(start):
    daemon = start()
    for query in ("kind=incident", "kind", "x=1", "kind=verdict&kind=verdict"):
        problem = check_problem(daemon.request("GET", f"{MODEL}/events?{query}"), 400)
        assert "kind=verdict" in problem["detail"]


def test_metrics_count_verdicts_that_were_dropped(start):
    daemon = start()
    dropped = 'anomalyd_verdicts_dropped_total{model="web"}'
    assert daemon.metrics()[dropped] == 0
    everything = daemon.score({"instances": [ODD] * 30000, "series": None, "explain": "none"}).json()
    assert len({verdict["event"] for verdict in everything["results"]}) == 30000
    daemon.get("events?kind=verdict")
    kept = daemon.query("SELECT count(*) FROM events WHERE kind = 'verdict'")[0][0]
    assert 10000 <= kept < 30000  # a flood is bounded, and told
    assert daemon.metrics()[dropped] == 30000 - kept


# ---- from a shell ----


def test_anomalyctl_lists_verdicts_and_answers_them(start):
    daemon = start()
    url = ("--url", f"http://127.0.0.1:{daemon.port}")
    lone = daemon.lone(1)[0]
    lines = ctl.succeed("events", "web", "--verdicts", *url).stdout.splitlines()
    assert lines[0].split() == ["EVENT", "TIME", "SCORE", "INCIDENT", "LABEL", "SERIES"]
    assert lines[1].split()[0] == str(lone) and lines[1].split()[-1] == "db"
    assert float(lines[1].split()[2]) > 1
    assert ctl.succeed("feedback", "web", str(lone), "normal", *url).stdout == (
        f"Event {lone} of web: normal\n")
    events = json.loads(ctl.succeed("events", "web", "--verdicts", "--json", *url).stdout)["events"]
    assert events[0]["label"] == "normal"
    assert ctl.succeed("events", "web", *url).stdout.splitlines()[1:] == []

    event = [daemon.odd(series="web") for _ in range(12)][-1]
    said = ctl.succeed("feedback", "web", str(event), "anomaly", *url).stdout
    assert said.startswith(f"Event {event} of web: anomaly, and so is incident ")
    assert "status 404" in ctl.fail(1, "feedback", "web", "999999999", "normal", *url)


def test_verdicts_is_no_option_of_other_lists():
    assert "--verdicts" in ctl.fail(2, "runs", "web", "--verdicts")
