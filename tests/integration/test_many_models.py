"""More models than memory holds: detectors are dropped and come back, and nobody can tell.

ANOMALYD_LONG=1: 10,000 models in place of 300."""

import http.client
import os
import shutil
import subprocess
import time

import pytest

from conftest import (ANOMALYCTL, ANOMALYD, DEADLINE_S, IS_SANITIZED, NORMAL, ODD, Daemon, check_problem,
                      wait_for)
from test_concurrency import in_threads
from test_learning_api import QUICK, LearningDaemon, rows_like_normal

N_MANY = 10000 if os.environ.get("ANOMALYD_LONG") == "1" else 300
NOTHING = "1K"  # what is not needed just now does not stay


@pytest.fixture(name="fast_file", scope="module")
def fixture_fast_file(tmp_path_factory, model_file):
    path = tmp_path_factory.mktemp("fast") / "fast.safetensors"
    subprocess.run([ANOMALYCTL, "train", "--data", model_file.with_name("normal.csv"), "--output", path,
                    "--preset", "fast", "--false-alarm-rate", "0.05"],
                   check=True, capture_output=True, timeout=DEADLINE_S)
    return path


class Many(Daemon):
    max_memory = NOTHING

    def write_config(self, models, extra="", **server):
        limit = f"[models]\nmax_memory = {self.max_memory}\n"
        super().write_config(models, limit + extra, **server)


class LearningMany(LearningDaemon):
    max_memory = NOTHING

    def write_config(self, models, extra="", **server):
        limit = f"[models]\nmax_memory = {self.max_memory}\n"
        super().write_config(models, limit + extra, **server)


@pytest.fixture(name="start")
def fixture_start(tmp_path):
    """start(models, kind=Many, max_memory=NOTHING): stopped after the test."""
    daemons = []

    def begin(models, kind=Many, **settings):
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        daemons.append(type("Own", (kind,), settings)(folder, {"threads": 2}, models))
        return daemons[-1]

    yield begin
    for daemon in daemons:
        daemon.stop()


def two_kinds(n, *files):
    return {f"m{i:05d}": {"file": files[i % len(files)]} for i in range(n)}


def ask(daemon, model, row, **options):
    return daemon.request("POST", f"/v1/models/{model}/score", {"features": row, **options})


def test_a_model_that_was_dropped_answers_the_same_to_the_byte(start, model_file, fast_file):
    models = two_kinds(8, model_file, fast_file)
    small, large = start(models), start(models, max_memory="none")
    for _ in range(2):
        for model in models:
            for row in (NORMAL, ODD):
                answers = [ask(daemon, model, row, explain="all", series=None).body
                           for daemon in (small, large)]
                assert answers[0] == answers[1]
    assert small.metrics()["anomalyd_models_loaded"] == 0
    assert small.metrics()["anomalyd_model_loads_total"] == 32
    assert large.metrics()["anomalyd_models_loaded"] == 8
    assert large.metrics()["anomalyd_model_loads_total"] == 0


def test_a_body_that_is_scored_while_it_comes_holds_its_detector(start, model_file, fast_file):
    models = two_kinds(2, model_file, fast_file)
    small, large = start(models), start(models, max_memory="none")
    body = {"series": None, "instances": rows_like_normal(20000)}
    for model in models:
        replies = [daemon.request("POST", f"/v1/models/{model}/score", body) for daemon in (small, large)]
        assert replies[0].status == 200 and replies[0].body == replies[1].body
    assert small.metrics()["anomalyd_models_loaded"] == 0
    assert large.metrics()["anomalyd_models_loaded"] == 2


def test_the_one_that_was_not_needed_for_longest_goes(start, fast_file):
    one = start(two_kinds(1, fast_file), max_memory="none")
    size = int(one.metrics()["anomalyd_models_loaded_bytes"])
    daemon = start(two_kinds(3, fast_file), max_memory=f"{int(2.5 * size)}")
    loads = []
    for model in ("m00000", "m00001", "m00001", "m00000", "m00002", "m00000", "m00001"):
        before = daemon.metrics()["anomalyd_model_loads_total"]
        assert ask(daemon, model, NORMAL).status == 200
        loads.append(int(daemon.metrics()["anomalyd_model_loads_total"] - before))
    assert loads == [1, 1, 0, 0, 1, 0, 1]  # the start dropped the first
    assert daemon.metrics()["anomalyd_models_loaded"] == 2
    assert daemon.metrics()["anomalyd_model_drops_total"] == 5


def test_what_series_were_doing_survives_that_the_model_is_dropped(start, model_file):
    models = {"web": {"file": model_file}}
    small, large = start(models), start(models, max_memory="none")
    for i, row in enumerate([NORMAL, ODD] * 5 + [NORMAL] * 5):
        body = {"instances": [row], "explain": "all", "series": "a", "timestamp": 1000 + i}
        assert small.score(body).body == large.score(body).body
    assert small.metrics()["anomalyd_model_loads_total"] == 15


def test_a_model_that_is_dropped_goes_on_learning(start, model_file):
    """Buffer, threshold, incidents with what is to blame, and a run that ends in a new version."""
    daemon = start({"web": {"file": model_file, "learn": "auto", **QUICK}}, kind=LearningMany)
    put = daemon.request("PUT", "/v1/models/web/thresholds", {"false_alarm_rate": 0.01})
    assert put.status == 200
    assert daemon.post("observe", {"instances": rows_like_normal(300)}).status == 200
    for row in rows_like_normal(20, seed=2) + [ODD] * 20:
        assert daemon.score({"features": row, "series": "a"}).status == 200
    incidents = wait_for(lambda: daemon.get("incidents")["incidents"], "an incident")
    assert incidents[0]["contributions"][0]["feature"] == "cpu"
    assert daemon.get("buffer")["rows"] >= 300
    assert daemon.get("")["false_alarm_rate"] == 0.01
    run = daemon.end_of(daemon.retrain())
    assert run["state"] in ("promoted", "refused"), run
    assert daemon.metrics()["anomalyd_models_loaded"] <= 1  # the former, while it is compared
    assert daemon.get("")["false_alarm_rate"] == 0.01


def test_a_run_is_guarded_by_a_pinned_version_that_is_read_for_it(start, fast_file):
    daemon = start({"web": {"file": fast_file, "learn": "auto", **QUICK}}, kind=LearningMany)
    assert daemon.post("observe", {"instances": rows_like_normal(300)}).status == 200
    pinned = daemon.folder / "state/models/web/1.safetensors"
    kept = pinned.read_bytes()
    pinned.write_bytes(b"damaged")
    run = daemon.end_of(daemon.retrain())
    assert run["state"] == "failed" and str(pinned) in run["reason"], run
    assert "the pinned version cannot be read" in daemon.log()
    pinned.write_bytes(kept)
    assert daemon.end_of(daemon.retrain())["state"] in ("promoted", "refused")


def test_a_file_damaged_meanwhile_is_told_and_serves_again_once_it_is_back(start, tmp_path, fast_file):
    own = tmp_path / "own.safetensors"
    shutil.copy(fast_file, own)
    daemon = start({"web": {"file": own}, "other": {"file": fast_file}})
    before = ask(daemon, "web", NORMAL, series=None)
    own.write_bytes(own.read_bytes()[:-100])

    detail = check_problem(ask(daemon, "web", NORMAL), 503)["detail"]
    assert str(own) in detail and "SHA-256" in detail and "reload" in detail
    assert ask(daemon, "other", NORMAL).status == 200
    ready = daemon.request("GET", "/readyz")
    assert ready.status == 503 and b"model web failed" in ready.body and str(own).encode() in ready.body
    told = daemon.request("GET", "/v1/models/web").json()
    assert told["state"] == "failed" and str(own) in told["error"]
    listed = {model["name"]: model["state"] for model in daemon.request("GET", "/v1/models").json()["models"]}
    assert listed == {"web": "failed", "other": "serving"}
    check_problem(daemon.request("GET", "/v1/models/web/thresholds"), 503)
    many = {"instances": rows_like_normal(20000)}
    check_problem(daemon.request("POST", "/v1/models/web/score", many), 503)

    shutil.copy(fast_file, own)
    assert ask(daemon, "web", NORMAL, series=None).body == before.body
    assert daemon.request("GET", "/readyz").status == 200


def test_a_reload_changes_the_limit(start, fast_file):
    models = two_kinds(5, fast_file)
    daemon = start(models, max_memory="none")
    assert daemon.metrics()["anomalyd_models_loaded"] == 5
    daemon.config.write_text(daemon.config.read_text().replace("max_memory = none", "max_memory = 1K"))
    daemon.reload("reloaded")
    assert daemon.metrics()["anomalyd_models_loaded"] == 0
    assert ask(daemon, "m00003", NORMAL).status == 200


def test_clients_that_want_more_models_than_fit_all_get_their_answers(start, model_file, fast_file):
    models = two_kinds(12, model_file, fast_file)
    daemon = start(models, max_memory="150K")
    expected = {model: ask(daemon, model, ODD, series=None).body for model in models}

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE_S)
        wrong = 0
        for i in range(150):
            model = f"m{(i * (number + 1)) % 12:05d}"
            body = {"features": ODD, "series": None}
            answer = Daemon.request_on(connection, "POST", f"/v1/models/{model}/score", body)
            wrong += answer.body != expected[model]
        connection.close()
        return wrong

    assert in_threads(4, client) == [0] * 4
    assert daemon.metrics()["anomalyd_model_drops_total"] > 50


def hard_links(folder, file, n):
    """A file of its own for each."""
    for i in range(n):
        os.link(file, folder / f"{i}.safetensors")
    return {f"m{i:05d}": {"file": folder / f"{i}.safetensors"} for i in range(n)}


def test_many_models_start_serve_and_are_told_of(start, tmp_path_factory, fast_file):
    folder = fast_file.with_name("links")
    folder.mkdir()
    before = time.monotonic()
    daemon = start(hard_links(folder, fast_file, N_MANY), max_memory="4M")
    if not IS_SANITIZED:
        assert time.monotonic() - before < 5 + N_MANY / 500
    for i in range(0, N_MANY, N_MANY // 100):
        assert ask(daemon, f"m{i:05d}", NORMAL).status == 200
    assert ask(daemon, f"m{N_MANY:05d}", NORMAL).status == 404

    before = time.monotonic()
    metrics = daemon.metrics()
    listed = daemon.request("GET", "/v1/models").json()["models"]
    assert time.monotonic() - before < DEADLINE_S / 10
    assert len(listed) == N_MANY and {model["state"] for model in listed} == {"serving"}
    assert metrics['anomalyd_rows_scored_total{model="m00000"}'] == 1
    assert metrics[f'anomalyd_threshold{{model="m{N_MANY - 1:05d}"}}'] > 0
    assert metrics["anomalyd_models_loaded_bytes"] <= 4 << 20


@pytest.mark.parametrize("sign", ["candidate.tmp", "1.safetensors", "live"])
def test_a_first_start_that_is_killed_is_made_good_by_the_next(tmp_path, fast_file, sign):
    """While copies are made, while they are named, and after the store knows of them."""

    class Killed(LearningMany):
        kills = True

        def _start(self):
            if not self.kills:
                return super()._start()
            self.kills = False
            with open(self.log_path, "wb") as log:
                self.process = subprocess.Popen([ANOMALYD, "--config", self.config], stderr=log)
            while not any(self.folder.glob(f"state/models/*/{sign}")):
                assert self.process.poll() is None, self.log()
            self.process.kill()
            self.process.wait()
            return super()._start()

    names = [f"m{i:05d}" for i in range(300)]
    daemon = Killed(tmp_path, {"threads": 2}, {name: {"file": fast_file, "learn": "auto"} for name in names})
    try:
        for name in names:
            folder = tmp_path / "state/models" / name
            assert sorted(os.listdir(folder)) == ["1.safetensors", "live"]
            assert (folder / "1.safetensors").read_bytes() == fast_file.read_bytes()
        listed = daemon.request("GET", "/v1/models").json()["models"]
        assert [(model["name"], model["state"], model["version"]) for model in listed] == [
            (name, "serving", 1) for name in names]
        for name in names[::50]:
            versions = daemon.request("GET", f"/v1/models/{name}/versions").json()["versions"]
            assert [version["version"] for version in versions] == [1]
            assert ask(daemon, name, NORMAL).status == 200
        assert "does not learn" not in daemon.log()
    finally:
        daemon.stop()


def n_transfers(daemon):
    """How often it has read or written."""
    with open(f"/proc/{daemon.process.pid}/io", encoding="ascii") as io:
        return sum(int(line.split()[1]) for line in io if line.startswith(("syscr", "syscw")))


def test_starts_and_reloads_do_as_much_for_each_model_however_many_there_are(start, fast_file):
    def count(n):
        models = {f"m{i:05d}": {"file": fast_file, "learn": "auto"} for i in range(n)}
        daemon = start(models, kind=LearningMany)
        counts = [n_transfers(daemon)]
        daemon.stop()
        assert daemon._start()
        counts.append(n_transfers(daemon))
        models["m00007"]["false_alarm_rate"] = 0.2
        daemon.write_config(models)
        daemon.reload("reloaded")
        assert daemon.request("GET", "/v1/models/m00007").json()["false_alarm_rate"] == 0.2
        counts.append(n_transfers(daemon) - counts[-1])
        return counts

    for few, many in zip(count(100), count(400)):
        assert many < 4 * 1.2 * few


def test_many_models_are_created_by_their_first_rows(start):
    keys = f"auto_create = yes\nmax_models = {N_MANY}\n[model *]\nmin_rows = 1000\n"

    class Creating(LearningMany):
        def write_config(self, models, extra="", **server):
            super().write_config(models, keys + extra, **server)

    n = min(N_MANY, 1000)
    daemon = start({}, kind=Creating)
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE_S)
    for i in range(n):
        reply = Daemon.request_on(connection, "POST", f"/v1/models/own{i}/score", {"features": NORMAL})
        assert reply.status == 202
    connection.close()
    if n == N_MANY:
        check_problem(ask(daemon, "one-more", NORMAL), 409)
    daemon.stop()
    assert daemon._start()
    assert len(daemon.request("GET", "/v1/models").json()["models"]) == n


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers have memory of their own")
@pytest.mark.parametrize("preset, most_mib", [("fast", 16), ("best", 40)])
def test_ten_models_and_16_connections_take_little_memory(start, model_file, fast_file, preset, most_mib):
    file = fast_file if preset == "fast" else model_file
    models = {f"m{i}": {"file": file, "learn": "auto", "sample_rate": "all"} for i in range(10)}
    daemon = start(models, kind=LearningMany, max_memory="256M")
    rows = rows_like_normal(100)

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE_S)
        for i in range(100):
            path = f"/v1/models/m{(number + i) % 10}/score"
            assert Daemon.request_on(connection, "POST", path, {"features": rows[i]}).status == 200
        return connection

    connections = in_threads(16, client)
    assert pss_kib(daemon.process.pid) < most_mib * 1024
    for connection in connections:
        connection.close()
