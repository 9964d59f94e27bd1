"""The learning loop as a whole on real rows: the short form of `make bench-learning`, on the host
recording in tests/data, with the preset fast. What is demanded is what that benchmark demands."""

import os
import pathlib
import sys

import numpy
import pytest

from conftest import ANOMALYD

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "bench"))
import learning  # noqa: E402
import learning_streams as streams  # noqa: E402
from learning_backends import Daemon, Service  # noqa: E402

DRIVER = os.path.abspath(os.environ.get("LEARNING_DRIVER", "tests/bench/learning_driver"))
RECORDING = pathlib.Path(__file__).parents[1] / "data" / "host"
SMALL = {"preset": "fast", "buffer_rows": 4000, "retrain_rows": 1000}
RATE = 0.01


@pytest.fixture(scope="module")
def pool():
    return streams.read_pool(RECORDING)


@pytest.fixture
def random():
    return numpy.random.default_rng(1)


@pytest.fixture
def service(tmp_path, pool, monkeypatch):
    """service(keys): the service's own code in one process, without HTTP."""
    monkeypatch.setattr(streams, "FIRST_ROWS", SMALL["buffer_rows"])
    started = []

    def begin(**keys):
        started.append(Service(tmp_path, DRIVER, pool.n_features, **{**SMALL, **keys}))
        return started[-1]

    yield begin
    for backend in started:
        backend.close()


@pytest.fixture
def daemon(tmp_path, pool, monkeypatch):
    monkeypatch.setattr(streams, "FIRST_ROWS", SMALL["buffer_rows"])
    backend = Daemon(tmp_path, ANOMALYD, pool.n_features, **SMALL)
    yield backend
    backend.close()


def test_retraining_on_the_same_kind_of_rows_keeps_the_alarm_rate(service, pool, random):
    got = streams.stationary(service(), pool, random, RATE, 4, fresh_rows=5000)
    assert got["promoted"] >= 4 and got["auc_change"] >= -0.01
    assert 0.5 <= got["least"] and got["most"] <= 2


def test_a_step_that_is_called_normal_is_learned_and_the_old_level_not_forgotten(service, pool, random):
    got = streams.step_normal(service(), pool, random, RATE, 6, after=0)
    assert got["asked"] and got["rows"] <= 2000 and got["retrains"] <= 4
    assert got["old"] <= 3


def test_nothing_of_a_step_without_an_answer_is_learned(service, pool, random):
    got = streams.unanswered(service(), pool, random, learning.shift(pool, 6), 1500)
    assert got["stored"] == 0 and got["open"] and got["asked"] == 1


def test_features_that_are_stuck_at_their_maximum_are_not_learned(service, pool, random):
    got = streams.unanswered(service(), pool, random, learning.stuck(pool), 1500)
    assert got["stored"] == 0 and got["open"]


def test_of_a_frozen_collector_sixteen_rows_are_stored(service, pool, random):
    got = streams.frozen(service(), pool, random, 500)
    assert got["stored"] <= 16 and got["told"] == 1


def test_bursts_of_real_faults_are_kept_out(service, pool, random):
    got = streams.bursts(service(), pool, random, RATE, retrains=3)
    assert got["auc_change"] >= -0.02 and got["admitted"] <= 0.01 and got["quarantined"] <= 0.05


def test_who_pushes_is_told_and_refused_by_strict(service, pool, random):
    got = streams.poisoning(service(strict="yes"), pool, random, 0.15, retrains=3, every=1000)
    assert got["passed"] == 0 and 1 <= got["excess_at"] <= 2 and got["refused"] >= 1


def test_who_pushes_teaches_nothing_without_strict_either(service, pool, random):
    backend = service(epochs=20)
    got = streams.poisoning(backend, pool, random, 0.15, retrains=4, every=1000)
    assert got["passed"] == 0 and 1 <= got["excess_at"] <= 2
    assert streams.events_of(backend, "excess")[0]["detail"]["pushed"]


def test_the_daemon_learns_the_same_over_http(daemon, pool, random):
    got = streams.unanswered(daemon, pool, random, learning.shift(pool, 6), 750)
    assert got["stored"] == 0 and got["open"]
    incident = streams.open_incident(daemon)
    daemon.do("feedback", incident, "normal")
    for _ in range(3):
        daemon.score(learning.shift(pool, 6)(pool.draw(random, 500)).astype("f4"))
    fresh = learning.shift(pool, 6)(pool.draw(random, 3000)).astype("f4")
    assert streams.false_alarms(daemon, fresh) <= 2 * RATE


def test_a_corner_of_normal_is_refused_until_an_operator_says_that_it_is_all_there_is(service, pool, random):
    backend = service(preset="best", epochs=10)
    streams.begin(backend, pool, random)
    backend.do("reset")
    corner = streams.narrow_rows(pool, random, 4000)
    backend.observe(corner + 0.01 * pool.sd * random.standard_normal(corner.shape)) # all features move
    assert not streams.is_promoted(backend)
    refused = streams.events_of(backend, "refused")[0]["detail"]["reason"]
    assert "typical to the live version" in refused and "rebaseline" in refused

    backend.do("rebaseline")
    assert streams.is_promoted(backend)
