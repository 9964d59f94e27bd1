"""The flight recorder: what an export of an incident's rows holds, and what becomes of it."""

import json
import random
import signal
import sqlite3
import struct

from conftest import FEATURES, NORMAL, ODD, StoppedThread, check_problem, wait_for
from test_incidents import start  # noqa: F401 a fixture
from test_learning_api import MODEL

BEFORE, MOST_IN, AFTER = 64, 2000, 32


def export(daemon, incident):
    """The header and the rows."""
    reply = daemon.request("GET", f"{MODEL}/incidents/{incident}/rows")
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/x-ndjson"
    header, *rows = [json.loads(line) for line in reply.body.decode().splitlines()]
    return header, rows


def as_floats(values):
    return [struct.unpack("f", struct.pack("f", value))[0] for value in values]


def parts(rows):
    return [sum(row["part"] == part for row in rows) for part in ("before", "in", "after")]


def rough_rows(n, seed=1):
    draw = random.Random(seed)
    return [[x + draw.gauss(0, 0.1) for x in NORMAL] for _ in range(n)]


def test_the_rows_around_an_incident_are_kept(start):
    daemon = start()
    before, after = rough_rows(100), rough_rows(50, seed=2)
    daemon.send(before, series="db")
    incident = daemon.alarm("db")
    daemon.end("db")
    daemon.send(after, series="db")
    header, rows = export(daemon, incident)
    # The rows that opened it were there before: it is open after the last of them.
    assert parts(rows) == [BEFORE, 6, AFTER] and header["rows"] == len(rows)
    assert (header["left_out"], header["missing"]) == (0, 0)
    sent = before[-62:] + [ODD] * 3 + [NORMAL] * 5 + after[:AFTER]
    assert [row["values"] for row in rows] == [as_floats(values) for values in sent]


def test_each_row_has_its_verdict(start):
    daemon = start()
    verdicts = []
    for row in rough_rows(5) + [ODD] * 3:
        verdicts.append(daemon.score({"features": row, "series": "db", "timestamp": 1700000000.25})
                        .json())
    header, rows = export(daemon, daemon.incidents()[0]["id"])
    assert len(rows) == len(verdicts) and header["model"] == "web"
    assert header["features"] == FEATURES and header["incident"]["id"] == verdicts[-1]["event"] + 1
    assert header["versions"][0]["version"] == 1 and len(header["versions"][0]["sha256"]) == 64
    for row, verdict in zip(rows, verdicts):
        for key in ("version", "score", "p_value", "reconstruction_error", "threshold", "anomaly"):
            assert row[key] == verdict[key]
        assert row["timestamp"] == 1700000000.25


def test_each_series_has_its_own(start):
    daemon = start()
    for i in range(5):
        daemon.send([[i] * 6], series="a")
        daemon.send([[-i] * 6], series="b")
    incident = daemon.alarm("a")
    _, rows = export(daemon, incident)
    assert all(row["values"][0] >= 0 for row in rows)


def test_incidents_that_a_cusum_opens_are_kept_too(start):
    daemon = start({"learn": "auto", "alarm": "never"})
    daemon.send(rough_rows(100), series="db")
    daemon.send([ODD] * 30, series="db")
    incident, = daemon.incidents()
    assert incident["opened_by"] == "hard"
    _, rows = export(daemon, incident["id"])
    before, inside, _ = parts(rows)
    assert before == BEFORE and [row["values"] for row in rows[-inside:]] == [as_floats(ODD)] * inside


def test_what_is_missing_in_a_row_is_null(start):
    daemon = start()
    daemon.send([[*ODD[:-1], None]] * 3, series="db")
    _, rows = export(daemon, daemon.incidents()[0]["id"])
    assert all(row["values"][-1] is None for row in rows)


def test_of_a_long_incident_the_rest_is_counted(start):
    daemon = start()
    incident = daemon.alarm("db", n=2500)
    daemon.end("db")
    header, rows = export(daemon, incident)
    assert parts(rows) == [2, MOST_IN, 0] and header["left_out"] == 2500 - 2 + 5 - MOST_IN


def test_rows_that_the_queue_drops_are_missing(start):
    daemon = start()

    def flood(series, batch):
        with StoppedThread(daemon.process.pid, "intake"):
            for _ in range(15):  # the queue holds 64 MiB
                daemon.send(batch, series=series)

    flood("db", rough_rows(10000))
    incident = daemon.alarm("db")
    missing = export(daemon, incident)[0]["missing"]
    assert 0 < missing < 150000 and missing % 10000 == 0
    flood("other", rough_rows(10000))
    daemon.send([ODD], series="db")
    assert export(daemon, incident)[0]["missing"] == missing  # none of db
    flood("db", [ODD] * 10000)  # it stays open
    daemon.send([ODD], series="db")
    more = export(daemon, incident)[0]["missing"]
    assert missing < more < missing + 150000 and more % 10000 == 0


def test_an_incident_that_opens_while_nothing_is_stored_is_kept_from_when_it_is(start):
    daemon = start()
    dropped = 'anomalyd_verdicts_dropped_total{model="web"}'
    state, away = daemon.folder / "state", daemon.folder / "away"
    daemon.send([NORMAL] * 2, series="db")
    assert daemon.incidents() == []
    state.rename(away)
    daemon.send([ODD] * 5, series="db")
    wait_for(lambda: daemon.metrics()[dropped] == 5, "verdicts that were dropped")
    away.rename(state)
    daemon.send([ODD] * 4, series="db")
    header, rows = export(daemon, daemon.incidents()[0]["id"])
    assert len(rows) == 4 and header["missing"] == 7
    assert header["features"] == FEATURES


def test_an_export_needs_an_incident_of_the_model(start):
    daemon = start()
    daemon.alarm()
    verdict = daemon.get("events?kind=verdict")["events"][0]["id"]
    for other in (verdict, 99999999):
        reply = daemon.request("GET", f"{MODEL}/incidents/{other}/rows")
        assert f"no incident {other}" in check_problem(reply, 404)["detail"]
    reply = daemon.request("GET", "/v1/models/nobody/incidents/1/rows")
    assert '"nobody"' in check_problem(reply, 404)["detail"]


def test_rows_that_have_made_room_are_said_to_be_gone(start):
    daemon = start()
    incident = daemon.alarm()
    with sqlite3.connect(f"{daemon.folder}/state/state.db") as database:
        database.execute("DELETE FROM flights")
    reply = daemon.request("GET", f"{MODEL}/incidents/{incident}/rows")
    assert "No rows of incident" in check_problem(reply, 404)["detail"]


def test_rows_survive_a_restart(start):
    daemon = start()
    incident = daemon.alarm("db")
    daemon.end("db")
    before = export(daemon, incident)
    daemon.stop()
    assert daemon._start()
    assert export(daemon, incident) == before


def test_rows_survive_kill_9_and_none_is_half_there(start):
    daemon = start()
    kept = {}
    for round_ in range(8):
        incident = daemon.alarm(f"db-{round_}")
        kept[incident] = len(export(daemon, incident)[1])
        daemon.send([ODD] * 500, series=f"db-{round_}")
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
        assert daemon._start()
        for each, n in kept.items():
            header, rows = export(daemon, each)
            assert n <= len(rows) <= 503 and header["rows"] == len(rows)
            assert all(len(row["values"]) == len(FEATURES) for row in rows)
            if each != incident:
                assert len(rows) == n  # nothing is added to one that is over
            kept[each] = len(rows)
