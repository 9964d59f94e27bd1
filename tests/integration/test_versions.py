"""Versions and models over the API: files out and in, promotions, retention, deletion, the audit.

Whatever is done, scoring goes on: Scorer asks meanwhile."""

import http.client
import random
import subprocess
import threading

import pytest
from conftest import (ANOMALYCTL, DEADLINE_S, FEATURES, NORMAL, StoppedThread, check_problem,
                      wait_for)
from test_learning_api import MODEL, QUICK, LearningDaemon, rows_like_normal

ENDLESS = {"epochs": 1000000, "patience": 0}
OCTETS = {"Content-Type": "application/octet-stream"}
EXTRA = "[models]\nauto_create = yes\nmax_models = 3\n[model *]\npreset = fast\nmin_rows = 10000\n"


class Versions(LearningDaemon):
    """With what a person does to versions."""

    creates = False

    def write_config(self, models, extra="", **server):
        super().write_config(models, (EXTRA if self.creates else "") + extra, **server)

    def folder_of(self, model="web"):
        return self.folder / "state" / "models" / model

    def file_of(self, version):
        return self.folder_of() / f"{version}.safetensors"

    def put(self, data, model=MODEL, query="", headers=None):
        return self.request("PUT", model + query, data, OCTETS if headers is None else headers)

    def promote(self, version, query=""):
        return self.post(f"versions/{version}/promote{query}")

    def states(self):
        return {each["version"]: each["state"] for each in self.get("versions")["versions"]}

    def train(self):
        run = self.end_of(self.retrain())
        assert run["state"] in ("promoted", "refused"), run
        return run

    def acts(self, model=MODEL):
        return [(act["act"], act.get("detail", "")) for act in self.get("audit", model)["audit"]]


class Scorer:
    """A with block in which a client scores all the time; each answer must be a verdict of a version
    that there is."""

    def __init__(self, daemon, versions, row=None):
        self.daemon, self.versions, self.row = daemon, set(versions), row or NORMAL
        self.enough, self.seen, self.faults = threading.Event(), set(), []
        self.thread = threading.Thread(target=self._score)

    def _score(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=DEADLINE_S)
        while not self.enough.is_set():
            reply = self.daemon.request_on(connection, "POST", f"{MODEL}/score?learn=false",
                                           {"features": self.row})
            version = reply.json().get("version")
            self.seen.add(version)
            if reply.status != 200 or version not in self.versions:
                self.faults.append(reply.body)
        connection.close()

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.seen, "the first verdict")
        return self

    def __exit__(self, *unused):
        self.enough.set()
        self.thread.join()
        assert not self.faults, self.faults[:3]


def train_file(folder, names, seed=1, options=()):
    """A model file of other features."""
    chance = random.Random(seed)
    lines = [",".join(names)]
    lines += [",".join(f"{chance.gauss(0, 1):.5g}" for _ in names) for _ in range(200)]
    data, path = folder / "rows.csv", folder / "other-features.safetensors"
    data.write_text("\n".join(lines) + "\n")
    subprocess.run([ANOMALYCTL, "train", "--data", data, "--output", path, "--preset", "fast",
                    "--false-alarm-rate", "0.05", "--epochs", "5", *options], check=True,
                   capture_output=True, timeout=DEADLINE_S)
    return path.read_bytes()


@pytest.fixture(scope="module")
def other_features(tmp_path_factory):
    """A model file that lacks net and has swap and disk."""
    return train_file(tmp_path_factory.mktemp("other"), FEATURES[:5] + ["swap", "disk"])


@pytest.fixture
def start(tmp_path, model_file):
    """start(keys): the model `web` with the file; creates: auto_create."""
    started = []

    def begin(keys=None, creates=False, models=None, server=None):
        class Configured(Versions):
            pass

        Configured.creates = creates
        place = tmp_path / str(len(started))
        place.mkdir()
        web = {"web": {**QUICK, "file": model_file, **(keys or {})}}
        started.append(Configured(place, server or {"threads": 2},
                                  web if models is None else models))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.stop()


# ---- files out ----


def test_the_file_of_every_version_comes_as_it_is(start, model_file):
    daemon = start({"buffer_rows": 4000})
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    run = daemon.train()
    assert run["state"] == "refused" and daemon.states()[run["version"]] == "refused"
    for version in (1, run["version"]):
        reply = daemon.request("GET", f"{MODEL}/versions/{version}/file")
        assert reply.status == 200 and reply.body == daemon.file_of(version).read_bytes()
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.headers["content-disposition"] == (
            f'attachment; filename="web-{version}.safetensors"')
        assert int(reply.headers["content-length"]) == len(reply.body)
    assert daemon.request("GET", f"{MODEL}/versions/1/file").body == model_file.read_bytes()
    head = daemon.request("HEAD", f"{MODEL}/versions/1/file")
    assert head.status == 200 and head.body == b""
    assert int(head.headers["content-length"]) == model_file.stat().st_size


def test_a_version_that_is_not_there_has_no_file(start):
    daemon = start()
    detail = check_problem(daemon.request("GET", f"{MODEL}/versions/7/file"), 404)["detail"]
    assert detail == 'Model "web" has no version 7'


@pytest.mark.parametrize("harm, says", [("delete", "No such file"), ("cut", "damaged"),
                                        ("change", "damaged"), ("folder", "folder")])
def test_a_file_that_is_gone_or_damaged_is_not_sent(start, harm, says):
    daemon = start()
    file = daemon.file_of(1)
    good = file.read_bytes()
    file.unlink()
    if harm == "folder":
        file.mkdir()
    elif harm != "delete":
        file.write_bytes(good[:-4] if harm == "cut" else good[:-1] + bytes([good[-1] ^ 1]))
    problem = check_problem(daemon.request("GET", f"{MODEL}/versions/1/file"), 409)
    assert "Version 1 cannot be read" in problem["detail"] and says in problem["detail"]
    assert daemon.score(NORMAL).json()["version"] == 1


# ---- promotions ----


@pytest.mark.parametrize("harm", ["delete", "cut", "garbage"])
def test_a_version_that_cannot_serve_is_not_promoted_and_scoring_goes_on(start, other_model_file,
                                                                         harm):
    daemon = start()
    assert daemon.put(other_model_file.read_bytes()).json() == {"model": "web", "version": 2}
    file = daemon.file_of(1)
    good = file.read_bytes()
    file.unlink()
    if harm != "delete":
        file.write_bytes(good[: len(good) // 2] if harm == "cut" else b"garbage " * 100)
    before = daemon.states()
    with Scorer(daemon, [2]):
        for path in ("versions/1/promote", "rollback"):
            problem = check_problem(daemon.post(path), 409)
            assert problem["detail"].startswith("Version 1 cannot serve: ")
        assert daemon.states() == before == {1: "former", 2: "live"}
    file.unlink(missing_ok=True)
    file.write_bytes(good)
    with Scorer(daemon, [1, 2]):
        assert daemon.promote(1).status == 200
    assert daemon.states() == {1: "live", 2: "former"}


def test_two_promotions_at_once_leave_one_live_and_scoring_goes_on(start, other_model_file):
    daemon = start()
    assert daemon.put(other_model_file.read_bytes()).status == 200
    with Scorer(daemon, [1, 2]) as scorer:
        for _ in range(10):
            replies, begin = {}, threading.Barrier(2)

            def promote(version):
                begin.wait()
                replies[version] = daemon.promote(version)

            threads = [threading.Thread(target=promote, args=(version,)) for version in (1, 2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [reply.status for reply in replies.values()] == [200, 200]
            assert sorted(daemon.states().values()) == ["former", "live"]
            live = next(v for v, state in daemon.states().items() if state == "live")
            assert daemon.get("")["version"] == daemon.score(NORMAL).json()["version"] == live
        wait_for(lambda: scorer.seen == {1, 2}, "both versions")
    daemon.process.kill()
    daemon.process.wait()
    assert daemon._start()
    assert daemon.get("")["version"] == live


def test_a_promotion_while_a_run_trains_leaves_the_run_alone(start, other_model_file):
    daemon = start(ENDLESS)
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    assert daemon.put(other_model_file.read_bytes()).status == 200
    run = daemon.retrain()
    wait_for(lambda: daemon.request("GET", run).json().get("progress", 0) > 0, "the training")
    with Scorer(daemon, [1, 2]):
        assert daemon.promote(1).json()["version"] == 1
        assert daemon.promote(2).json()["version"] == 2
        assert daemon.promote(1).json()["version"] == 1
    assert daemon.request("GET", run).json()["state"] == "running"
    assert daemon.request("DELETE", run).status == 200
    assert daemon.end_of(run)["state"] == "cancelled"
    assert daemon.get("")["version"] == 1


def test_a_version_of_other_features_is_promoted_only_where_that_is_said(start, other_features):
    daemon = start()
    assert daemon.post("observe", {"instances": rows_like_normal(50)}).status == 200
    with Scorer(daemon, [1]):
        problem = check_problem(daemon.put(other_features), 409)
        assert "(lacks net; has swap, disk)" in problem["detail"]
        assert "?features=replace" in problem["detail"]
        assert daemon.get("buffer")["rows"] == 50 and daemon.states() == {1: "live"}
    assert not daemon.file_of(2).exists()

    reply = daemon.put(other_features, query="?features=replace")
    assert (reply.status, reply.json()) == (200, {"model": "web", "version": 2, "dropped_rows": 50})
    assert daemon.get("")["features"] == FEATURES[:5] + ["swap", "disk"]
    assert daemon.get("buffer")["rows"] == 0
    assert "the rows of the old ones are dropped" in daemon.log()
    assert daemon.acts()[0] == ("upload", "version 2, 50 rows of other features dropped")
    pinned = [each["version"] for each in daemon.get("versions")["versions"] if each["pinned"]]
    assert pinned == [2]  # what was pinned cannot judge such rows
    check_problem(daemon.score(NORMAL), 422)
    assert daemon.post("observe", {"instances": [[0] * 7] * 3}).json() == {"rows": 3}

    with Scorer(daemon, [2], row=[0] * 7):
        for path in ("versions/1/promote", "rollback"):
            assert "features=replace" in check_problem(daemon.post(path), 409)["detail"]
    check_problem(daemon.promote(1, "?features=keep"), 400)
    assert daemon.promote(1, "?features=replace").json() == {
        "model": "web", "version": 1, "dropped_rows": 3}
    daemon.process.kill()
    daemon.process.wait()
    assert daemon._start()
    assert daemon.score(NORMAL).json()["version"] == 1
    assert daemon.post("observe", NORMAL).json() == {"rows": 1}


def test_a_rollback_to_other_features_is_done_where_that_is_said(start, other_features):
    daemon = start()
    assert daemon.put(other_features, query="?features=replace").status == 200
    assert daemon.post("observe", {"instances": [[0] * 7] * 3}).json() == {"rows": 3}
    problem = check_problem(daemon.post("rollback"), 409)
    assert "(lacks swap, disk; has net)" in problem["detail"]
    check_problem(daemon.post("rollback?features=keep"), 400)
    assert daemon.states() == {1: "former", 2: "live"}
    assert daemon.post("rollback?features=replace").json() == {
        "model": "web", "version": 1, "dropped_rows": 3}
    assert daemon.states() == {1: "live", 2: "former"}
    assert daemon.acts()[0] == ("rollback", "version 1, 3 rows of other features dropped")
    assert daemon.score(NORMAL).json()["version"] == 1


def test_of_many_other_features_some_are_named_in_full(start, tmp_path):
    names = [f"{i:02}-" + "a-rather-long-name-" * 2 for i in range(30)]
    daemon = start()
    detail = check_problem(daemon.put(train_file(tmp_path, names)), 409)["detail"]
    told = detail[detail.index("(lacks ") + 1:detail.index("):")]
    assert told.endswith(", …")
    lacking, _, having = told.removesuffix(", …").partition("; has ")
    assert set(lacking.removeprefix("lacks ").split(", ")) <= set(FEATURES)
    assert having and set(having.split(", ")) < set(names)
    assert "?features=replace" in detail


def test_a_version_that_is_prepared_otherwise_is_told_by_its_inputs(start, tmp_path):
    def file(*options):
        return train_file(tmp_path, FEATURES, options=options)

    daemon = start()
    load, mem = FEATURES[:2]
    problem = check_problem(daemon.put(file("--prepare", f"{load}=delta", "--context", "3")), 409)
    assert (f"(prepares {load} as delta instead of raw; sees 3 rows at once instead of 1)"
            in problem["detail"])
    assert daemon.put(file("--prepare", f"{load}=delta"), query="?features=replace").status == 200
    problem = check_problem(daemon.put(file("--prepare", f"{mem}=delta")), 409)
    assert (f"(prepares {load} as raw instead of delta, {mem} as delta instead of raw)"
            in problem["detail"])


def test_a_run_ends_when_the_features_of_its_model_are_replaced(start, other_features):
    daemon = start(ENDLESS)
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    run = daemon.retrain()
    wait_for(lambda: daemon.request("GET", run).json().get("progress", 0) > 0, "the training")
    assert daemon.put(other_features, query="?features=replace").status == 200
    ended = daemon.end_of(run)
    assert ended["state"] == "cancelled" and "features replaced" in ended["reason"]
    assert daemon.states() == {1: "former", 2: "live"}


# ---- retention ----


def test_live_former_and_pinned_stay_and_the_oldest_others_go(start, model_file, other_model_file):
    daemon = start({"keep_versions": 3})
    files = [model_file.read_bytes(), other_model_file.read_bytes()]
    for i in range(2, 8):
        assert daemon.put(files[i % 2]).json()["version"] == i
        assert len(daemon.states()) <= 3
        assert daemon.states()[1] in ("former", "kept")  # pinned
        assert sorted(file.stem for file in daemon.folder_of().glob("*.safetensors")) == sorted(
            map(str, daemon.states()))
    assert daemon.states() == {1: "kept", 6: "former", 7: "live"}
    assert daemon.post("rebaseline").status == 200
    assert daemon.put(files[0]).status == 200
    assert daemon.put(files[1]).status == 200
    assert daemon.states() == {7: "kept", 8: "former", 9: "live"}
    check_problem(daemon.promote(1), 404)


def test_refused_candidates_are_bounded_and_the_newest_is_kept(start, other_model_file):
    daemon = start({"keep_versions": 2})
    assert daemon.put(other_model_file.read_bytes()).status == 200
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    for _ in range(3):
        run = daemon.train()
        assert run["state"] == "refused" and "rows" in run["reason"]
        assert run["comparison"]["candidate"]
        assert daemon.states() == {1: "former", 2: "live", run["version"]: "refused"}
        assert daemon.request("GET", f"{MODEL}/versions/{run['version']}/file").status == 200
        assert len(list(daemon.folder_of().glob("*.safetensors"))) == 3
    check_problem(daemon.request("GET", f"{MODEL}/versions/3/file"), 404)
    assert daemon.score(NORMAL).json()["version"] == 2


# ---- files in ----


def test_an_uploaded_file_serves_at_once_and_outlives_a_kill(start, model_file, other_model_file):
    daemon = start()
    with Scorer(daemon, [1, 2]):
        reply = daemon.put(other_model_file.read_bytes())
        assert (reply.status, reply.json()) == (200, {"model": "web", "version": 2})
        assert daemon.score(NORMAL).json()["version"] == 2
    newest = daemon.get("versions")["versions"][-1]
    assert newest["origin"] == "upload" and newest["state"] == "live" and not newest["pinned"]
    assert newest["sha256"] == daemon.get("")["sha256"] and newest["rows"] == 500
    daemon.process.kill()
    daemon.process.wait()
    assert daemon._start()
    assert daemon.score(NORMAL).json()["version"] == 2
    assert daemon.file_of(2).read_bytes() == other_model_file.read_bytes()
    assert daemon.post("rollback").json()["version"] == 1
    assert daemon.request("GET", f"{MODEL}/versions/1/file").body == model_file.read_bytes()


def bad_files(good):
    header = int.from_bytes(good[:8], "little")
    return {
        "empty": b"", "text": b"hello", "json": b'{"features": [1, 2]}', "cut": good[: len(good) // 2],
        "header only": good[: 8 + header], "cut header": good[:100], "longer": good + b"x" * 64,
        "huge header": (1 << 62).to_bytes(8, "little") + good[8:],
        "other bytes": good[:-1] + bytes([good[-1] ^ 1]), "zeros": bytes(len(good)),
    }


def test_a_file_that_is_no_model_changes_nothing(start, model_file):
    daemon = start(creates=True)
    for name, data in bad_files(model_file.read_bytes()).items():
        with Scorer(daemon, [1]):
            for model in (MODEL, "/v1/models/shop"):
                problem = check_problem(daemon.put(data, model), 400)
                assert problem["detail"].startswith("the body"), name
    assert daemon.states() == {1: "live"} and daemon.acts() == []
    assert [file.name for file in daemon.folder_of().glob("*.safetensors")] == ["1.safetensors"]
    assert [model["name"] for model in daemon.request("GET", "/v1/models").json()["models"]] == ["web"]
    assert not daemon.folder_of("shop").exists()


def test_an_upload_that_is_too_large_or_of_another_type_changes_nothing(start, model_file):
    daemon = start(server={"threads": 2, "max_body": "4K"})
    data = model_file.read_bytes()
    assert len(data) > 4096
    check_problem(daemon.put(data), 413)
    check_problem(daemon.put(iter([data])), 413)
    check_problem(daemon.put(b"{}", headers={"Content-Type": "application/json"}), 415)
    check_problem(daemon.put(b"{}", headers={**OCTETS, "Content-Encoding": "gzip"}), 415)
    check_problem(daemon.put(b"{}", query="?pin=yes"), 400)
    assert daemon.states() == {1: "live"}
    assert daemon.score(NORMAL).json()["version"] == 1


def test_a_file_makes_a_model_where_a_row_would(start, model_file):
    data = model_file.read_bytes()
    daemon = start()
    detail = check_problem(daemon.put(data, "/v1/models/shop"), 404)["detail"]
    assert "auto_create" in detail and "[model shop]" in detail
    assert not daemon.folder_of("shop").exists()

    daemon = start(creates=True)
    reply = daemon.put(data, "/v1/models/shop")
    assert (reply.status, reply.json()) == (201, {"model": "shop", "version": 1})
    assert daemon.put(data, "/v1/models/shop").status == 200
    assert daemon.put(data, "/v1/models/cart", headers={}).status == 201  # as curl -T does
    assert "max_models" in check_problem(daemon.put(data, "/v1/models/more"), 409)["detail"]
    for name in (".hidden", "a%2Fb", "x" * 65, "..%2F..%2Fetc"):
        check_problem(daemon.put(data, f"/v1/models/{name}"), 404)
    daemon.process.kill()
    daemon.process.wait()
    assert daemon._start()
    assert daemon.request("POST", "/v1/models/shop/score", {"features": NORMAL}).status == 200


def test_a_file_is_the_first_version_of_a_model_that_learns_from_nothing(start, model_file):
    daemon = start(models={"web": {**QUICK, "min_rows": 10000}})
    rows = [dict(zip(FEATURES, row)) for row in rows_like_normal(40)]
    assert daemon.post("observe", {"instances": rows}).status == 202
    assert daemon.put(model_file.read_bytes()).json() == {"model": "web", "version": 1}
    assert daemon.score(NORMAL).json()["version"] == 1
    assert daemon.get("buffer")["rows"] == 40
    assert daemon.get("versions")["versions"][0]["pinned"] is True


def test_uploads_at_once_all_become_versions(start, model_file, other_model_file):
    daemon = start({"keep_versions": 100}, server={"threads": 4})
    files = [model_file.read_bytes(), other_model_file.read_bytes()]
    replies = []
    with Scorer(daemon, range(1, 14)):
        threads = [threading.Thread(target=lambda i=i: replies.append(daemon.put(files[i % 2])))
                   for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(reply.json()["version"] for reply in replies) == list(range(2, 14))
    assert sorted(daemon.states()) == list(range(1, 14))
    assert sorted(daemon.states().values())[-2:] == ["kept", "live"]


# ---- away ----


def test_a_configured_model_is_not_deleted(start):
    daemon = start()
    detail = check_problem(daemon.request("DELETE", MODEL), 409)["detail"]
    assert "[model web]" in detail and "reload" in detail
    assert daemon.score(NORMAL).status == 200 and daemon.acts() == []
    check_problem(daemon.request("DELETE", "/v1/models/shop"), 404)


def test_a_made_model_is_deleted_with_all_that_is_known_of_it(start, model_file):
    daemon = start(creates=True)
    shop = "/v1/models/shop"
    assert daemon.put(model_file.read_bytes(), shop).status == 201
    assert daemon.post("observe", {"instances": rows_like_normal(50)}, shop).status == 200
    with Scorer(daemon, [1]):
        reply = daemon.request("DELETE", shop)
        assert (reply.status, reply.json()) == (200, {"model": "shop", "state": "deleted"})
    assert not daemon.folder_of("shop").exists()
    for path in ("", "/versions", "/buffer", "/versions/1/file"):
        check_problem(daemon.request("GET", shop + path), 404)
    check_problem(daemon.request("DELETE", shop), 404)
    assert daemon.acts(shop)[0] == ("delete", "")  # its audit outlives it
    assert 'anomalyd_buffer_rows{model="shop"}' not in daemon.metrics()
    daemon.reload("reloaded")
    daemon.stop()
    assert daemon._start()
    check_problem(daemon.request("GET", shop), 404)

    reply = daemon.request("POST", f"{shop}/score", {"features": [1, 2]})
    assert reply.status == 202 and reply.json()["rows"] == 1  # anew, with other features
    assert daemon.put(model_file.read_bytes(), shop, "?features=replace").json()["version"] == 1
    assert daemon.request("DELETE", shop).status == 200
    assert daemon.put(model_file.read_bytes(), shop).json() == {"model": "shop", "version": 1}


def test_a_deleted_models_run_is_cancelled(start, model_file):
    daemon = start(creates=True)
    shop = "/v1/models/shop"
    endless = EXTRA.replace("preset", "epochs = 1000000\npatience = 0\npreset")
    daemon.config.write_text(daemon.config.read_text().replace(EXTRA, endless))
    daemon.reload("reloaded")
    assert daemon.put(model_file.read_bytes(), shop).status == 201
    assert daemon.post("observe", {"instances": rows_like_normal(400)}, shop).status == 200
    for _ in range(2):  # one that trains and one that waits
        run = daemon.post("retrain", model=shop).headers["location"]
        wait_for(lambda: daemon.request("GET", run).json()["state"] in ("running", "queued"), run)
        wait_for(lambda: list(daemon.folder_of("shop").glob("*.tmp")), "the candidate")
    assert daemon.request("DELETE", shop).status == 200
    wait_for(lambda: "cancelled" in daemon.log(), "the end of the run")
    assert not daemon.folder_of("shop").exists()
    assert "could not be stored" not in daemon.log()
    check_problem(daemon.request("GET", run), 404)
    assert daemon.put(model_file.read_bytes(), shop).status == 201
    assert daemon.post("observe", NORMAL, shop).json() == {"rows": 1}


def test_what_a_section_left_behind_is_deleted_after_the_reload(start):
    daemon = start()
    assert daemon.post("observe", {"instances": rows_like_normal(20)}).status == 200
    daemon.write_config({})
    daemon.reload("reloaded")
    check_problem(daemon.request("GET", MODEL), 404)
    assert daemon.file_of(1).exists()
    assert daemon.request("DELETE", MODEL).status == 200
    assert not daemon.folder_of().exists()
    check_problem(daemon.request("DELETE", MODEL), 404)


def test_rows_on_their_way_to_a_deleted_model_are_told_so(start, model_file):
    daemon = start(creates=True)
    shop = "/v1/models/shop"
    assert daemon.put(model_file.read_bytes(), shop).status == 201
    replies = []

    def observe():
        replies.append(daemon.post("observe", NORMAL, shop))

    thread = threading.Thread(target=observe)
    with StoppedThread(daemon.process.pid, "intake"):
        thread.start()
        requests = 'anomalyd_http_requests_total{route="/v1/models/{m}/observe",code="200"}'
        assert daemon.metrics()[requests] == 0
        wait_for(lambda: daemon.request("DELETE", shop).status == 200, "the end of the model")
    thread.join()
    assert replies[0].status in (202, 404), replies[0].body  # 202: it came after, and made it anew


def test_models_that_come_and_go_under_load_leave_nothing(start, model_file):
    daemon = start(creates=True, server={"threads": 4})
    data, problems = model_file.read_bytes(), []
    allowed = {"PUT": {200, 201, 409}, "DELETE": {200, 404}, "POST": {200, 202, 404, 409, 422}}

    def run(method, path, body):
        for _ in range(25):
            reply = daemon.request(method, f"/v1/models/{path}", body,
                                   OCTETS if method == "PUT" else None)
            if reply.status not in allowed[method]:
                problems.append((method, path, reply.body))

    work = [("PUT", "a", data), ("PUT", "b", data), ("DELETE", "a", None), ("DELETE", "b", None),
            ("POST", "a/score", {"features": NORMAL}), ("POST", "b/observe", {"features": NORMAL}),
            ("POST", "a/retrain", None), ("POST", "b/versions/1/promote", None)]
    threads = [threading.Thread(target=run, args=each) for each in work]
    with Scorer(daemon, [1]):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems, problems[:3]
    for name in "ab":
        daemon.request("DELETE", f"/v1/models/{name}")
    assert [folder.name for folder in daemon.folder_of().parent.iterdir()] == ["web"]


# ---- who did what ----


def test_every_act_of_a_person_is_audited(start, model_file):
    daemon = start(ENDLESS)
    assert daemon.acts() == []
    assert daemon.post("observe", {"instances": rows_like_normal(400)}).status == 200
    event = daemon.score([100, 0, -3, 0, 1, 0]).json()["event"]
    run = daemon.retrain()
    number = run.rsplit("/", 1)[1]
    assert daemon.request("DELETE", run).status == 200
    assert daemon.put(model_file.read_bytes()).status == 200
    for path in ("versions/1/promote", "rollback", "freeze", "unfreeze", "rebaseline", "reset"):
        assert daemon.post(path).status == 200
    assert daemon.post("feedback", {"event": event, "label": "normal"}).status == 200
    check_problem(daemon.promote(77), 404)  # is no act
    assert daemon.acts()[::-1] == [
        ("retrain", f"run {number}"), ("cancel", f"run {number}"), ("upload", "version 2"),
        ("promote", "version 1"), ("rollback", "version 2"), ("freeze", ""), ("unfreeze", ""),
        ("rebaseline", "version 2"), ("reset", ""), ("feedback", f"normal, event {event}")]
    act = daemon.get("audit")["audit"][0]
    assert act["who"] == "127.0.0.1" and act["time"].endswith("Z")
    for _ in range(210):
        daemon.post("freeze")
    assert len(daemon.get("audit")["audit"]) == 200
    daemon.process.kill()
    daemon.process.wait()
    assert daemon._start()
    assert daemon.acts()[0] == ("freeze", "")
