"""auto_create: a row for an unknown name makes a model, which learns from nothing."""

import json
import sqlite3
import struct
import threading
import urllib.parse

import pytest
from conftest import check_problem, wait_for
from test_learning_api import LearningDaemon, rows_like_normal

CREATED = "/v1/models/shop"
EXTRA = ("[models]\nauto_create = {}\nmax_models = {}\n[model *]\nmin_rows = {}\npreset = fast\n"
         "epochs = 5\nfalse_alarm_rate = 0.05\n{}")


class Creating(LearningDaemon):
    creates, max_models, min_rows, template = "yes", 2, 80, ""

    def write_config(self, models, extra="", **server):
        keys = (self.creates, self.max_models, self.min_rows, self.template)
        super().write_config(models, EXTRA.format(*keys), **server)


@pytest.fixture(name="start")
def fixture_start(tmp_path):
    daemons = []

    def begin(**settings):
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        daemons.append(type("Own", (Creating,), settings)(folder, {"threads": 2}, {}))
        return daemons[-1]

    yield begin
    for daemon in daemons:
        daemon.stop()


def test_the_first_row_makes_a_model_that_learns_and_serves(start):
    daemon = start()
    rows = rows_like_normal(100)
    reply = daemon.request("POST", f"{CREATED}/score", {"features": rows[0]})
    assert reply.status == 202 and reply.json()["state"] == "learning"
    reply = daemon.request("POST", f"{CREATED}/observe", {"instances": rows[1:]})
    assert reply.status in (200, 202)
    wait_for(lambda: daemon.request("GET", CREATED).json()["state"] == "serving", "a version")
    assert daemon.request("POST", f"{CREATED}/score", {"features": rows[0]}).status == 200


def test_a_created_model_is_there_after_a_reload_and_a_restart(start):
    daemon = start()
    daemon.request("POST", f"{CREATED}/observe", {"instances": rows_like_normal(100)})
    wait_for(lambda: daemon.request("GET", CREATED).json()["state"] == "serving", "a version")
    daemon.reload("reloaded")
    assert daemon.request("GET", CREATED).json()["state"] == "serving"
    daemon.stop()
    assert daemon._start()
    assert daemon.request("GET", CREATED).json()["state"] == "serving"


def test_no_more_models_are_made_than_may_be(start):
    daemon = start()
    row = {"features": [1, 2, 3]}
    assert daemon.request("POST", "/v1/models/a/score", row).status == 202
    assert daemon.request("POST", "/v1/models/b/score", row).status == 202
    reply = daemon.request("POST", "/v1/models/c/score", row)
    assert check_problem(reply, 409)["detail"].startswith("There are 2 models already")


def test_without_auto_create_an_unknown_name_is_not_found(start):
    daemon = start(creates="no")
    assert daemon.request("POST", f"{CREATED}/score", {"features": [1]}).status == 404
    assert daemon.request("GET", "/v1/models").json() == {"models": []}


def names_of_models(daemon):
    return [model["name"] for model in daemon.request("GET", "/v1/models").json()["models"]]


@pytest.mark.parametrize("path", ["score", "observe"])
@pytest.mark.parametrize("body, status", [
    ("", 400), ("[1,2", 400), ("{}", 400), ('{"features":[1],"nonsense":1}', 400),
    ({"features": [1], "timestamp": "noon"}, 400), ("[]", 422), ('{"features":{"":1}}', 422),
    ({"instances": [{"a": 1}, {"b": 1}]}, 422), ({"features": ["x"]}, 422),
])
def test_a_bad_body_makes_no_model(creating, path, body, status):
    check_problem(creating.request("POST", f"{CREATED}/{path}", body), status)
    assert names_of_models(creating) == []


@pytest.fixture(name="creating", scope="module")
def fixture_creating(tmp_path_factory):
    """One daemon for the tests that make no model."""
    daemon = Creating(tmp_path_factory.mktemp("creating"), {"threads": 2}, {})
    yield daemon
    daemon.stop()


def test_rows_that_cannot_be_prepared_make_no_model(start):
    daemon = start(template="prepare = served=rate\n")
    rows = {"instances": [{"served": 1, "mistyped": 2}, {"served": 2, "mistyped": 2}]}
    for act in ("score", "observe"):
        reply = daemon.request("POST", f"{CREATED}/{act}", rows)
        assert "Row 0 has no time" in check_problem(reply, 422)["detail"]
        assert daemon.request("GET", "/v1/models").json()["models"] == []
    row = {"features": {"served": 1, "cpu": 2}}
    assert daemon.request("POST", f"{CREATED}/score", row).status == 202


@pytest.mark.parametrize("name", ["-a", "_a", "a.b", "a%20b", "%2e%2e", "*", "ä", "a" * 65])
def test_a_name_that_cannot_be_makes_no_model(creating, name):
    path = f"/v1/models/{urllib.parse.quote(name, safe='%*')}/score"
    check_problem(creating.request("POST", path, {"features": [1]}), 404)
    assert names_of_models(creating) == []


def test_rows_that_are_not_learned_from_make_no_model(creating):
    reply = creating.request("POST", f"{CREATED}/score", {"features": [1], "learn": False})
    assert "/v1/models/shop/observe" in check_problem(reply, 404)["detail"]
    assert names_of_models(creating) == []


@pytest.mark.parametrize("learn, path, status", [
    ("observe", "score", 404), ("observe", "observe", 202), ("off", "score", 404), ("off", "observe", 404),
])
def test_the_template_says_which_rows_make_a_model(start, learn, path, status):
    daemon = start(template=f"learn = {learn}\n")
    assert daemon.request("POST", f"{CREATED}/{path}", {"features": [1]}).status == status
    assert names_of_models(daemon) == (["shop"] if status == 202 else [])


def test_a_full_daemon_still_takes_rows_for_the_models_it_has(start):
    daemon = start()
    for name, status in (("a", 202), ("b", 202), ("c", 409), ("a", 202)):
        assert daemon.request("POST", f"/v1/models/{name}/observe", {"features": [1]}).status == status
    assert names_of_models(daemon) == ["a", "b"]


def test_models_that_a_reload_removed_do_not_count(tmp_path):
    daemon = Creating(tmp_path, {"threads": 2}, {"a": {}, "b": {}})
    check_problem(daemon.request("POST", f"{CREATED}/score", {"features": [1]}), 409)
    daemon.write_config({})
    daemon.reload("reloaded")
    assert daemon.request("POST", f"{CREATED}/score", {"features": [1]}).status == 202
    daemon.stop()


def test_first_rows_that_come_at_once_make_one_model_and_are_all_kept(start):
    """Each names the features in an order of its own."""
    daemon = start(max_models=8, min_rows=500)
    names = ["cpu", "disk", "mem", "net"]
    begin = threading.Barrier(16)
    statuses = []

    def send(i):
        row = {name: names.index(name) for name in names[i % 4:] + names[:i % 4]}
        for model in range(8):
            begin.wait()
            path = f"/v1/models/m{model}/{'observe' if i % 2 else 'score'}"
            statuses.append(daemon.request("POST", path, {"features": row}).status)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 8 * 16
    assert names_of_models(daemon) == [f"m{model}" for model in range(8)]
    assert {daemon.get("", f"/v1/models/m{model}")["rows"] for model in range(8)} == {16}
    with sqlite3.connect(f"{daemon.folder}/state/state.db") as database:
        stored = database.execute("SELECT vector, features FROM rows JOIN models ON models.id = model")
        for vector, features in stored:  # no value went to another feature
            assert struct.unpack("<4f", vector) == tuple(map(names.index, json.loads(features)))
    reply = daemon.request("POST", "/v1/models/m0/score", {"features": {"cpu": 1, "fan": 2}})
    assert '"fan"' in str(check_problem(reply, 422))
