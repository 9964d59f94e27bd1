"""Windows of maintenance: no alarms, no learning, for a while or each week."""

import time

import ctl
import pytest
from conftest import NORMAL, ODD, check_problem
from test_incidents import IncidentDaemon, start  # noqa: F401, a fixture
from test_learning_api import MODEL, rows_like_normal


def begin(daemon, **window):
    reply = daemon.post("maintenance", window)
    assert reply.status == 200, reply.body
    return reply.json()


def stored(daemon):
    daemon.incidents()  # behind all rows that came before
    return daemon.get("buffer")["rows"]


def test_in_a_window_no_alarm_opens_and_nothing_is_learned(start):
    daemon = start({"learn": "auto"})
    state = begin(daemon, **{"for": "2h"})
    assert state["now"] == {"skip_alarms": True, "skip_learning": True}
    daemon.send(rows_like_normal(300) + [ODD] * 5, series="db")
    assert daemon.incidents() == [] and stored(daemon) == 0
    assert daemon.score({"features": ODD, "series": "db"}).json()["event"]  # verdicts are as ever


def test_trouble_that_outlasts_a_window_opens_an_alarm(start):
    daemon = start()
    begin(daemon, **{"for": "2h"})
    daemon.send([ODD] * 3, series="db")
    reply = daemon.request("DELETE", f"{MODEL}/maintenance")
    assert reply.status == 200 and reply.json()["windows"] == []
    daemon.send([ODD], series="db")
    assert len(daemon.incidents()) == 1


def test_alarms_and_learning_are_left_out_apart(start):
    daemon = start({"learn": "auto"})
    state = begin(daemon, **{"for": "2h", "skip_learning": False})
    assert state["now"] == {"skip_alarms": True, "skip_learning": False}
    daemon.send(rows_like_normal(300), series="db")
    assert stored(daemon) > 0
    quiet = start({"learn": "auto"})
    begin(quiet, **{"for": "2h", "skip_alarms": False})
    quiet.send(rows_like_normal(300), series="db")
    quiet.alarm("db")
    assert stored(quiet) == 0


def test_the_time_of_the_row_counts(start):
    daemon = start()
    soon = int(time.time()) + 3600
    state = begin(daemon, **{"from": soon, "until": soon + 60})
    assert state["now"] == {"skip_alarms": False, "skip_learning": False}
    daemon.send([ODD] * 3, series="a", timestamp=soon + 30)
    assert daemon.incidents() == []
    daemon.alarm("b", timestamp=soon + 60)


def test_windows_are_listed_and_ended_and_survive_a_restart(start):
    daemon = start()
    begin(daemon, **{"for": "2h"})
    first, second = begin(daemon, **{"from": "2100-01-01T00:00:00Z", "for": "1h",
                                     "skip_alarms": False})["windows"]
    assert second == {"id": second["id"], "from": "2100-01-01T00:00:00Z",
                      "until": "2100-01-01T01:00:00Z", "skip_alarms": False,
                      "skip_learning": True, "who": "127.0.0.1"}
    daemon.stop()
    assert daemon._start()
    assert daemon.get("maintenance")["windows"] == [first, second]
    daemon.send([ODD] * 3, series="db")
    assert daemon.incidents() == []
    reply = daemon.request("DELETE", f"{MODEL}/maintenance/{first['id']}")
    assert reply.json()["windows"] == [second] and not reply.json()["now"]["skip_alarms"]
    check_problem(daemon.request("DELETE", f"{MODEL}/maintenance/{first['id']}"), 404)
    acts = [(act["act"], act["detail"]) for act in daemon.get("audit")["audit"]]
    assert acts[0] == ("end maintenance", f"window {first['id']}")
    assert acts[1] == ("maintenance", "2100-01-01T00:00:00Z to 2100-01-01T01:00:00Z")


@pytest.mark.parametrize("body, status, told", [
    ({}, 422, "\"for\" or until is needed, and not both"),
    ({"for": "2h", "until": 4e9}, 422, "\"for\" or until is needed, and not both"),
    ({"for": "2"}, 400, "\"for\" must be a duration"),
    ({"until": "noon"}, 400, "\"until\" must be a time in RFC 3339"),
    ({"until": 1000}, 422, "\"until\" must be after its beginning"),
    ({"for": "2h", "skip_alarms": 1}, 400, "\"skip_alarms\" must be true or false"),
    ({"for": "2h", "skip_alarms": False, "skip_learning": False}, 422, "must be true"),
    ({"for": "2h", "why": "x"}, 400, "\"why\" is not a known key"),
])
def test_a_bad_window_is_refused(start, body, status, told):
    daemon = start()
    reply = daemon.post("maintenance", body)
    check_problem(reply, status)
    assert told in reply.json()["detail"] and "send {\"for\": \"2h\"}" in reply.json()["detail"]
    assert daemon.get("maintenance")["windows"] == []


def test_a_calendar_leaves_out_what_it_says(start):
    daemon = start({"learn": "auto", "maintenance": "daily 00:00-24:00",
                    "maintenance_skips": "alarms"})
    assert daemon.get("maintenance")["now"] == {"skip_alarms": True, "skip_learning": False}
    daemon.send(rows_like_normal(300) + [ODD] * 3, series="db")
    assert daemon.ids("opened_by=alarm") == []  # a CUSUM's pages nobody
    assert stored(daemon) > 0


def test_a_person_begins_and_ends_a_window(start):
    daemon = start()
    shown = daemon.ctl("maintenance", "--model", "web")
    assert shown == "web: now no maintenance\n"
    shown = daemon.ctl("maintenance", "--model", "web", "--for", "2h", "--keep-learning")
    assert shown.startswith("web: now no alarms\nWINDOW")
    window = shown.splitlines()[-1].split()[0]
    assert max(map(len, shown.splitlines())) <= 80
    shown = daemon.ctl("maintenance", "--model", "web", "--end-window", window)
    assert shown == "web: now no maintenance\n"
    daemon.ctl("maintenance", "--model", "web", "--for", "2h")
    assert daemon.ctl("maintenance", "--model", "web", "--end") == "web: now no maintenance\n"
