"""auto_create: a row for an unknown name makes a model, which learns from nothing."""

import pytest
from conftest import check_problem, wait_for
from test_learning_api import LearningDaemon, rows_like_normal

CREATED = "/v1/models/shop"
EXTRA = ("[models]\nauto_create = {}\nmax_models = 2\n[model *]\nmin_rows = 80\npreset = fast\n"
         "epochs = 5\nfalse_alarm_rate = 0.05\n")


@pytest.fixture(name="start")
def fixture_start(tmp_path):
    daemons = []

    class Creating(LearningDaemon):
        def write_config(self, models, extra="", **server):
            super().write_config(models, EXTRA.format(self.creates), **server)

    def begin(creates="yes"):
        Creating.creates = creates
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        daemons.append(Creating(folder, {"threads": 2}, {}))
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
    daemon = start("no")
    assert daemon.request("POST", f"{CREATED}/score", {"features": [1]}).status == 404
    assert daemon.request("GET", "/v1/models").json() == {"models": []}
