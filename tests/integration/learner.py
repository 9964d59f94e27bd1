"""A daemon with a state directory, for the tests of what it learns and keeps."""

import os
import random
import subprocess
import time

import pytest

from conftest import DEADLINE_S, Daemon, wait_for

LEARN = {"learn": "observe", "retrain_rows": "never", "buffer_rows": "1000000", "min_rows": "200"}
FAST = {**LEARN, "preset": "fast", "epochs": "20"}
ENDLESS = {**LEARN, "preset": "fast", "epochs": "1000000", "patience": "0"}  # until it is ended
STORAGE = "[storage]\ndirectory = {}\nmin_free = {}\n"


class Learner(Daemon):
    """A daemon with a state directory; it may die and start again."""

    def __init__(self, folder, models, state=None, min_free="1M", threads=4):
        self.state = state or folder / "state"
        if state is None:
            self.state.mkdir()
        self.min_free = min_free
        super().__init__(folder, {"threads": threads}, models)

    def write_config(self, models, extra="", **server):
        storage = STORAGE.format(self.state, self.min_free)
        super().write_config(models, storage + extra, **server)

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def start(self):
        """Again; the seconds until it was ready."""
        begin = time.monotonic()
        assert self._start()
        wait_for(lambda: self.request("GET", "/readyz").status == 200, "readiness")
        return time.monotonic() - begin

    def restart(self):
        self.stop()
        self.start()

    def warnings(self):
        """Of /readyz; the daemon is ready all the same."""
        reply = self.request("GET", "/readyz")
        assert reply.status == 200, reply.body
        return reply.json().get("warnings", [])

    def get(self, path):
        reply = self.request("GET", "/v1/models/web" + path)
        assert reply.status == 200, reply.body
        return reply.json()

    def post(self, path, body=None):
        return self.request("POST", "/v1/models/web" + path, body)

    def observe(self, rows):
        return self.post("/observe", {"instances": rows})

    def promote(self, version):
        return self.post(f"/versions/{version}/promote")

    def candidate(self):
        return self.state / "models" / "web" / "candidate.tmp"

    def file_of(self, version):
        return self.state / "models" / "web" / f"{version}.safetensors"

    def begin_run(self):
        """A run whose trainer is at work: the path of the run, and the trainer."""
        reply = self.post("/retrain")
        assert reply.status == 202, reply.body
        run = reply.headers["location"].removeprefix("/v1/models/web")
        wait_for(lambda: self.get(run).get("progress", 0) > 0, "progress of the run")
        children = trainers(self.process.pid)
        assert len(children) == 1 and self.candidate().exists()
        return run, children[0]

    def end_of(self, run):
        """The run when it has ended."""
        wait_for(lambda: self.get(run)["state"] not in ("queued", "running"), "the end of the run")
        return self.get(run)

    def train_version(self):
        """The number of a new version, promoted or not."""
        reply = self.post("/retrain")
        return self.end_of(reply.headers["location"].removeprefix("/v1/models/web"))["version"]


def trainers(parent):
    """The trainers that this process has."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line, open(f"/proc/{pid}/stat") as stat:
                is_trainer = b"--train-candidate" in line.read()
                if is_trainer and int(stat.read().rsplit(")", 1)[1].split()[1]) == parent:
                    found.append(int(pid))
        except OSError:
            continue  # it has ended meanwhile
    return found


def is_running(pid):
    """A zombie is not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def normal_rows(n, seed=1):
    """Like those of model_file."""
    chance = random.Random(seed)
    rows = []
    for _ in range(n):
        a, b = chance.gauss(0, 1), chance.gauss(0, 1)
        noise = [chance.gauss(0, 0.1) for _ in range(3)]
        rows.append([10 + 3 * a, 2 * a + noise[0], 5 * b - 3, b - a + noise[1], 1 + noise[2],
                     7 * (a + b)])
    return rows


@pytest.fixture
def start_learner(tmp_path, model_file):
    """start_learner(options=LEARN): a daemon with the model `web`; stopped after the test, and that
    must go well."""
    started = []

    def start(options=None, models=None, **keys):
        web = {"file": model_file, **(LEARN if options is None else options)}
        place = tmp_path / str(len(started))
        place.mkdir()
        learner = Learner(place, models or {"web": web}, **keys)
        started.append(learner)
        return learner

    yield start
    for learner in started:
        learner.stop()


def mount(*arguments):
    """Skips the test where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("cannot mount: " + done.stderr.strip())


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=4M", "none", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
