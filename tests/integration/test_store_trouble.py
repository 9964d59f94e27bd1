"""Whatever becomes of the state directory: the daemon starts, scores, says what is wrong, and learns
again when that is mended."""

import os
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from conftest import ANOMALYD, FEATURES, NORMAL, check_problem, wait_for
from ctl import run, succeed
from learner import FAST, LEARN, mount, normal_rows, small_disk, start_learner

BY_ROWS = {**FAST, "retrain_rows": "600", "retrain_min_interval": "0s"}
OUTLIER = [1000, -1000, 1000, -1000, 1000, -1000]
LATE = 60 * 365 * 86400 * 10**6  # microseconds


def check_scores(learner, version=None):
    reply = learner.score({"features": NORMAL})
    assert reply.status == 200, reply.body
    assert version is None or reply.json()["version"] == version


def check_learns_nothing(learner, why):
    """It says so wherever somebody may look."""
    check_scores(learner)
    assert re.search(f"nothing is learned: .*{why}", learner.log())
    assert re.search(f"nothing is learned: .*{why}", learner.warnings()[0])
    problem = check_problem(learner.observe(normal_rows(10)), 503)
    assert re.search(why, problem["detail"])
    assert learner.metrics()["anomalyd_store_ok"] == 0
    status = run("status", "--url", f"http://127.0.0.1:{learner.port}")
    assert status.returncode == 0 and re.search(f"warning: nothing is learned: .*{why}", status.stdout)


def check_learns_again(learner, rows=0, by_itself=False):
    if not by_itself:  # sooner
        learner.reload("the store is open")
    wait_for(lambda: learner.observe(normal_rows(10)).status == 200, "the store to be open")
    assert "the store is open" in learner.log()
    assert learner.get("/buffer")["rows"] == rows + 10
    assert not learner.warnings()
    assert learner.metrics()["anomalyd_store_ok"] == 1


# ---- room ----


@pytest.mark.parametrize("method, path", [("POST", "/v1/models/web/reset"),
                                          ("DELETE", "/v1/models/other")])
def test_at_max_size_what_is_deleted_makes_room(start_learner, model_file, method, path):
    learner = start_learner(models={"web": {"file": model_file, **LEARN}})
    learner.write_config({"web": {"file": model_file, **LEARN}, "other": {"file": model_file, **LEARN}},
                         "max_size = 4M\n")
    learner.restart()
    model = "web" if method == "POST" else "other"
    rows = {"instances": normal_rows(5000)}

    def observe():
        return learner.request("POST", f"/v1/models/{model}/observe", rows)

    wait_for(lambda: observe().status == 503, "the store to be full")
    assert check_problem(learner.observe(normal_rows(10)), 503)
    if method == "DELETE":
        learner.write_config({"web": {"file": model_file, **LEARN}}, "max_size = 4M\n")
        learner.reload("reloaded")
    assert learner.request(method, path).status == 200
    assert learner.observe(normal_rows(5000)).status == 200


# ---- the directory at the start ----


def test_a_missing_directory_is_made(start_learner, tmp_path):
    learner = start_learner(state=tmp_path / "made")
    assert (learner.state.stat().st_mode & 0o777) == 0o750
    assert learner.observe(normal_rows(10)).status == 200
    assert not learner.warnings()
    learner.kill()
    learner.start()
    assert learner.get("/buffer")["rows"] == 10


def test_a_directory_that_cannot_be_made_stops_learning_not_scoring(start_learner, tmp_path):
    state = tmp_path / "none" / "state"
    learner = start_learner(state=state)
    check_learns_nothing(learner, "there is no such folder")
    state.parent.mkdir()
    check_learns_again(learner, by_itself=True)
    check_scores(learner, version=1)


def test_a_file_in_place_of_the_directory_stops_learning_not_scoring(start_learner, tmp_path):
    state = tmp_path / "state"
    state.write_text("")
    learner = start_learner(state=state)
    check_learns_nothing(learner, "is no folder")
    state.unlink()
    check_learns_again(learner)


def test_a_reload_finds_another_directory(start_learner, tmp_path, model_file):
    learner = start_learner(state=tmp_path / "none" / "state")
    check_learns_nothing(learner, "there is no such folder")
    learner.state = tmp_path / "state"
    learner.write_config({"web": {"file": model_file, **LEARN}})
    learner.reload("the store is open")
    assert learner.observe(normal_rows(10)).status == 200


def test_a_model_from_nothing_is_not_ready_without_a_store(start_learner, tmp_path):
    state = tmp_path / "none" / "state"
    learner = start_learner(models={"web": {**FAST, "features": ", ".join(FEATURES)}}, state=state)
    problem = check_problem(learner.request("GET", "/readyz"), 503)
    assert problem["reasons"] == ["model web has no version and cannot learn"]
    assert "there is no such folder" in problem["warnings"][0]
    assert "there is no such folder" in check_problem(learner.score({"features": NORMAL}), 503)["detail"]
    state.parent.mkdir()
    learner.reload("the store is open")
    assert learner.score({"features": NORMAL}).status == 202
    assert not learner.warnings()


def test_two_daemons_do_not_share_a_directory(start_learner, tmp_path):
    first = start_learner(state=tmp_path / "state")
    second = start_learner(state=tmp_path / "state")
    check_learns_nothing(second, "another anomalyd uses this folder")
    assert first.observe(normal_rows(20)).status == 200
    first.stop()
    check_learns_again(second, rows=20)


def test_check_config_warns_of_a_directory_that_cannot_be_used(start_learner, tmp_path):
    learner = start_learner(state=tmp_path / "none" / "state")
    done = subprocess.run([ANOMALYD, "--check-config", "--config", learner.config],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"warning: nothing would be learned: {learner.state}: there is no such" in done.stdout
    learner.state.parent.mkdir()
    done = subprocess.run([ANOMALYD, "--check-config", "--config", learner.config],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "warning: nothing" not in done.stdout


def test_a_read_only_disk_serves_what_served_last(start_learner, small_disk):
    learner = start_learner(FAST, state=small_disk)
    assert learner.observe(normal_rows(400)).status == 200
    assert learner.promote(learner.train_version()).status == 200
    learner.stop()
    mount("-o", "remount,ro", str(small_disk))
    learner.start()
    check_scores(learner, version=2)
    check_learns_nothing(learner, "Read-only file system")
    learner.reload("reloaded")
    check_scores(learner, version=2)
    mount("-o", "remount,rw", str(small_disk))
    check_learns_again(learner, rows=400)
    check_scores(learner, version=2)


def test_a_disk_that_is_full_at_the_start_stops_learning_not_scoring(start_learner, small_disk):
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    learner = start_learner(state=small_disk)
    check_learns_nothing(learner, "No space left|too little space")
    filler.unlink()
    check_learns_again(learner)


# ---- while it runs ----


def check_refuses_rows(learner, why):
    problem = check_problem(learner.observe(normal_rows(10)), 503)
    assert re.search(why, problem["detail"])
    assert re.search(why, learner.warnings()[0])
    check_scores(learner)


def test_a_directory_that_is_removed_while_it_runs(start_learner):
    learner = start_learner(min_free="none")
    assert learner.observe(normal_rows(10)).status == 200
    shutil.rmtree(learner.state)
    check_refuses_rows(learner, "is gone")
    learner.state.mkdir()
    check_refuses_rows(learner, "is gone")
    learner.restart()
    assert learner.observe(normal_rows(10)).status == 200
    assert learner.get("/buffer")["rows"] == 10
    check_scores(learner)


@pytest.mark.parametrize("name", ["state.db", "state.db-wal"])
def test_rows_are_not_written_to_files_that_were_replaced(start_learner, name):
    """A backup that is put back under a running daemon, a -wal that somebody tidies up."""
    learner = start_learner(min_free="none")
    assert learner.observe(normal_rows(10)).status == 200
    file = learner.state / name
    backup = file.read_bytes()
    file.unlink()
    file.write_bytes(backup)
    check_refuses_rows(learner, "is gone")


# ---- version files ----


def harm_file(path, harm):
    good = path.read_bytes()
    header = re.search(rb"\d{5}", good)
    digit = b"1" if header.group()[2:3] != b"1" else b"2"
    at = header.start() + 2
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes({"cut": good[: len(good) // 2], "garbage": b"garbage " * 100,
                          "digit": good[:at] + digit + good[at + 1:]}[harm])
    return good


@pytest.fixture
def versions(start_learner):
    """3 serves, 2 is the former, 1 the first, 4 was refused."""
    learner = start_learner(FAST)
    assert learner.observe(normal_rows(400)).status == 200  # too few for the gate
    for version in (2, 3):
        assert learner.train_version() == version
        assert learner.promote(version).status == 200
    assert learner.train_version() == 4
    states = {each["version"]: each["state"] for each in learner.get("/versions")["versions"]}
    assert states == {1: "kept", 2: "former", 3: "live", 4: "refused"}
    learner.stop()
    return learner


@pytest.mark.parametrize("harm", ["delete", "cut", "garbage", "digit"])
def test_a_damaged_live_version_is_replaced_by_the_former(versions, harm):
    good = harm_file(versions.file_of(3), harm)
    versions.start()
    check_scores(versions, version=2)
    assert "version 3 cannot serve" in versions.log() and "version 2 serves" in versions.log()
    event = next(event for event in versions.get("/events")["events"]
                 if event["kind"] == "rolled_back")
    assert event["detail"]["version"] == 3 and event["detail"]["serving"] == 2
    assert "3.safetensors" in event["detail"]["reason"]
    assert versions.observe(normal_rows(10)).status == 200
    check_problem(versions.promote(3), 409)
    versions.restart()  # it is remembered, and not said again
    check_scores(versions, version=2)
    assert "cannot serve" not in versions.log()
    versions.file_of(3).write_bytes(good)
    assert versions.promote(3).status == 200


@pytest.mark.parametrize("harm", ["delete", "garbage"])
def test_the_newest_good_version_replaces_the_live_and_the_former(versions, harm):
    for version in (2, 3):
        harm_file(versions.file_of(version), harm)
    versions.start()
    check_scores(versions, version=1)  # 4 was refused
    assert versions.post("/rollback").status == 409  # 3 is the former now
    check_scores(versions, version=1)


@pytest.mark.parametrize("harm", ["delete", "garbage"])
def test_the_configured_file_replaces_what_is_damaged(versions, harm):
    for version in (1, 2, 3, 4):
        harm_file(versions.file_of(version), harm)
    versions.start()
    check_scores(versions, version=5)
    assert versions.get("/buffer")["rows"] == 400
    assert versions.observe(normal_rows(10)).status == 200
    versions.restart()
    check_scores(versions, version=5)


def test_a_version_of_other_features_replaces_nothing(start_learner, tmp_path):
    """It would cost the rows, and refuse those of the clients."""
    (tmp_path / "rows.csv").write_text("a,b,c\n" + "".join(
        f"{row[0]},{row[2]},{row[0] + row[2]}\n" for row in normal_rows(300)))
    other = tmp_path / "other.safetensors"
    succeed("train", "--data", tmp_path / "rows.csv", "--output", other, "--preset", "fast",
            "--epochs", "5", "--false-alarm-rate", "0.05")
    learner = start_learner(FAST)
    reply = learner.request("PUT", "/v1/models/web?features=replace", other.read_bytes(),
                            {"Content-Type": "application/octet-stream"})
    assert reply.status == 200, reply.body
    assert learner.observe([[1, 2, 3]] * 50).status == 200
    learner.stop()
    good = harm_file(learner.file_of(2), "cut")
    assert learner._start()
    problem = check_problem(learner.request("GET", "/readyz"), 503)
    assert "2.safetensors" in problem["reasons"][0]
    check_problem(learner.score({"features": [1, 2, 3]}), 503)
    assert learner.log().count("has other features than the model") == 2  # version 1, the file
    learner.file_of(2).write_bytes(good)
    learner.restart()
    assert learner.score({"features": [1, 2, 3]}).json()["version"] == 2
    assert learner.get("/buffer")["rows"] == 50


def test_a_damaged_live_version_without_a_database_is_replaced_by_the_configured(versions):
    harm_file(versions.file_of(3), "cut")
    (versions.state / "state.db").write_bytes(b"garbage " * 1024)
    versions.start()
    check_scores(versions, version=5)
    assert versions.observe(normal_rows(10)).status == 200


# ---- hostile files ----


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def cut_half(path):
    os.truncate(path, path.stat().st_size // 2)


def tear_last_page(path):
    os.truncate(path, path.stat().st_size - 1000)


def fill(path):
    path.write_bytes(b"garbage " * (path.stat().st_size // 8))


def fill_end(path):
    with open(path, "r+b") as file:
        file.seek(-2000, os.SEEK_END)
        file.write(b"\xa5" * 2000)


@pytest.mark.parametrize("do", [make_folder, make_loop, make_pipe, cut_half, tear_last_page, fill,
                                fill_end], ids=lambda do: do.__name__)
@pytest.mark.parametrize("name, dies", [
    ("state.db", False), ("state.db", True), ("state.db-wal", True), ("state.db-shm", True),
], ids=["stopped", "killed", "wal", "shm"])
def test_it_starts_and_scores_whatever_is_in_the_files(start_learner, name, do, dies):
    learner = start_learner(min_free="none")
    assert learner.observe(normal_rows(400)).status == 200
    if dies:
        learner.kill()
    else:
        learner.stop()  # there is no other file then
    do(learner.state / name)
    assert learner.start() < 20
    check_scores(learner)
    reply = learner.observe(normal_rows(10))
    if reply.status == 503:
        assert learner.warnings()
    else:
        assert learner.get("/buffer")["rows"] in (10, 410)
        learner.kill()
        learner.start()  # the check may have found damage meanwhile
        assert learner.get("/buffer")["rows"] >= 10 or "was set aside" in learner.log()
        check_scores(learner)


@pytest.mark.parametrize("target", ["nowhere", "../../../../etc/passwd", "live", "", None])
def test_a_link_to_the_live_version_that_leads_nowhere(start_learner, target):
    learner = start_learner()
    assert learner.observe(normal_rows(10)).status == 200
    learner.stop()
    link = learner.state / "models" / "web" / "live"
    link.unlink()
    if target:
        link.symlink_to(target)
    elif target is None:
        link.mkdir()
    (learner.state / "state.db").write_bytes(b"garbage " * 1024)
    learner.start()
    check_scores(learner)


def test_a_file_in_place_of_the_folder_of_versions(start_learner):
    learner = start_learner()
    assert learner.observe(normal_rows(10)).status == 200
    learner.stop()
    shutil.rmtree(learner.state / "models")
    (learner.state / "models").write_text("")
    learner.start()
    check_scores(learner)
    assert "cannot serve" in learner.log()
    assert learner.observe(normal_rows(10)).status == 200
    assert learner.get("/buffer")["rows"] == 20


# ---- damage that only a check finds ----


def damage_leaves(learner, name, most=10**9):
    """Pages of a table or an index that no start reads, or that one reads early."""
    connection = sqlite3.connect(learner.state / "state.db")
    try:
        pages = [page for page, in connection.execute(
            "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (name,))]
    except sqlite3.OperationalError as error:
        pytest.skip(str(error))
    finally:
        connection.close()
    middle = len(pages) // 2
    with open(learner.state / "state.db", "r+b") as file:
        for page in pages[middle : middle + most] if most == 1 else pages:
            file.seek((page - 1) * 4096)
            file.write(b"\xa5" * 4096)


def test_damage_that_only_the_check_finds_stops_learning_until_a_restart(start_learner):
    learner = start_learner()
    for seed in range(5):
        assert learner.observe(normal_rows(2000, seed)).status == 200
    learner.stop()
    damage_leaves(learner, "rows", most=1)
    learner.start()
    wait_for(learner.warnings, "the check")
    check_refuses_rows(learner, "state.db is damaged; restart the daemon")
    check_problem(learner.post("/retrain"), 503)
    assert not list(learner.state.glob("state.db.damaged-*"))
    learner.kill()
    learner.start()
    assert len(list(learner.state.glob("state.db.damaged-*Z"))) == 1
    check_scores(learner)
    assert learner.observe(normal_rows(10)).status == 200
    wait_for(lambda: "is whole" in learner.log(), "the check")
    assert not learner.warnings()
    learner.restart()
    assert len(list(learner.state.glob("state.db.damaged-*Z"))) == 1
    assert learner.get("/buffer")["rows"] == 10


def test_damage_that_the_start_finds_is_set_aside_at_once(start_learner):
    learner = start_learner()
    for seed in range(5):
        assert learner.observe(normal_rows(2000, seed)).status == 200
    learner.stop()
    damage_leaves(learner, "rows_by_place")
    learner.start()
    assert len(list(learner.state.glob("state.db.damaged-*Z"))) == 1
    check_scores(learner)
    assert learner.observe(normal_rows(10)).status == 200
    assert not learner.warnings()


def test_a_stop_does_not_wait_for_the_check(start_learner):
    learner = start_learner()
    for seed in range(20):
        assert learner.observe(normal_rows(2000, seed)).status == 200
    learner.stop()
    learner.start()
    begin = time.monotonic()
    learner.stop()
    assert time.monotonic() - begin < 9


# ---- over a restart ----


def runs_of(learner):
    return learner.get("/runs")["runs"]


def test_rows_since_the_last_run_are_counted_over_restarts(start_learner):
    learner = start_learner(BY_ROWS)
    for _ in range(2):
        assert learner.observe(normal_rows(400)).status == 200
        learner.restart()  # the third start finds 800
    wait_for(lambda: runs_of(learner) and "ended_at" in runs_of(learner)[0], "a run")
    assert runs_of(learner)[-1]["trigger"] == "rows"
    before = len(runs_of(learner))
    learner.restart()
    assert learner.observe(normal_rows(400)).status == 200
    learner.kill()
    learner.start()
    assert len(runs_of(learner)) == before
    assert learner.observe(normal_rows(400)).status == 200
    wait_for(lambda: len(runs_of(learner)) > before, "another run")


def set_last_run(learner, offset_us):
    connection = sqlite3.connect(learner.state / "state.db")
    connection.execute("UPDATE runs SET started_us = ?", (int(time.time() * 1e6) + offset_us,))
    connection.commit()
    connection.close()


def test_time_since_the_last_run_is_counted_over_restarts(start_learner):
    learner = start_learner({**FAST, "retrain_every": "2h", "retrain_min_interval": "0s"})
    assert learner.observe(normal_rows(400)).status == 200
    learner.train_version()
    assert learner.observe(normal_rows(100, seed=2)).status == 200
    learner.restart()
    assert len(runs_of(learner)) == 1
    learner.stop()
    set_last_run(learner, -3 * 3600 * 10**6)
    learner.start()
    wait_for(lambda: len(runs_of(learner)) == 2, "a run that is due")
    assert runs_of(learner)[0]["trigger"] == "time"


def test_a_last_run_in_the_future_does_not_stop_the_next(start_learner):
    """Somebody has set the clock back by years."""
    learner = start_learner({**FAST, "retrain_every": "1s", "retrain_min_interval": "1s"})
    assert learner.observe(normal_rows(400)).status == 200
    learner.train_version()
    learner.stop()
    set_last_run(learner, LATE)
    learner.start()
    before = len(runs_of(learner))
    assert learner.observe(normal_rows(100, seed=2)).status == 200
    wait_for(lambda: len(runs_of(learner)) > before, "a run that is due")


def open_incident(learner):
    for _ in range(100):
        assert learner.score({"features": OUTLIER}).status == 200
    return wait_for(lambda: [event for event in learner.get("/events")["events"]
                             if event["kind"] == "incident" and event["open"]], "an incident")[0]


def event_of(learner, event):
    return next(each for each in learner.get("/events")["events"] if each["id"] == event)


def test_incidents_do_not_stay_open_when_nobody_watches_them(start_learner):
    auto = {"learn": "auto", "sample_rate": "all", "retrain_rows": "never"}
    learner = start_learner(auto)
    first = open_incident(learner)["id"]
    learner.get("/incidents")  # waits for its rows: a crash may leave some that are in none yet
    learner.kill()
    learner.start()
    event = event_of(learner, first)
    assert not event["open"] and event["detail"]["closed_by"] == "restart"
    assert event["detail"]["rows"] > 0
    quarantined = learner.get("/buffer")["quarantined"]
    assert quarantined > 0
    assert learner.post("/feedback", {"event": first, "label": "normal"}).status == 200
    assert learner.get("/buffer")["quarantined"] == 0  # its rows are still there for an answer
    second = open_incident(learner)["id"]
    assert second != first
    assert learner.post("/reset").status == 200
    event = event_of(learner, second)
    assert not event["open"] and event["detail"]["closed_by"] == "reset"


# ---- clocks ----


def test_times_of_rows_may_jump(start_learner):
    """Forwards to tomorrow, back to the first year: none is lost, others are stored; what cannot be
    is refused."""
    auto = {"learn": "auto", "sample_rate": "1/s", "retrain_rows": "never"}
    learner = start_learner(auto)
    tomorrow = int(time.time()) + 80000
    times = [tomorrow, "1970-01-01T00:00:00Z", 1700000000, 1700000002, 1699999000, tomorrow,
             1700000003, 1700000001]
    for n, moment in enumerate(times, 1):
        reply = learner.score({"features": NORMAL, "timestamp": moment})
        assert reply.status == 200, reply.body
        assert learner.observe(normal_rows(1)).status == 200
        wait_for(lambda: learner.get("/buffer")["rows"] >= n, "the row")
    reply = learner.post("/observe", {"instances": normal_rows(5), "timestamp": tomorrow})
    assert reply.status == 200
    for beyond in ("9999-12-31T23:59:59Z", tomorrow * 1000, tomorrow + 80000):
        reply = learner.post("/observe", {"instances": normal_rows(5), "timestamp": beyond})
        assert reply.status == 400 and "a day from now" in reply.json()["detail"]
    learner.restart()
    assert learner.get("/buffer")["rows"] >= len(times) + 5
    check_scores(learner)
