#!/usr/bin/python3
"""Makes the work load and the faults of normal.csv and incidents.csv, and records them.

    make_load.py --anomalyctl ./anomalyctl [--output FOLDER] [--seed N] [--scale 0.1]

One recorder and one work load run through the whole session: a warm-up, then rounds of a normal
stretch and a stretch with faults. Afterwards the recording is cut by the wall-clock times at which
faults began and ended. README.md says what the files hold. Needs python3, gcc and 37 minutes (two
with --scale 0.05); stays on loopback, in one temporary folder and below 5 GB of memory, and ends
every process it started, also on Ctrl-C.
"""

import argparse
import asyncio
import bisect
import csv
import datetime
import functools
import http.server
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

MB = 1 << 20

REHEARSAL_S = 3  # of each fault, before the warm-up
WARM_UP_S = 120
ROUNDS = 3
NORMAL_S = 300
QUIET_S = 30  # before each fault and at the end
FAULT_S = {"strong": 15, "mild": 25}

# What a fault leaves behind belongs neither to it nor to the quiet stretch: sockets stay in
# TIME_WAIT for a minute, the load average forgets over about as long.
RECOVERY_S = {
    "cpu_hog": 45,
    "memory_leak": 30,
    "disk_write_storm": 45,
    "fork_storm": 45,
    "connection_flood": 70,
    "stalled_process": 30,
}


# ---- processes ----------------------------------------------------------------------------------

started = []


def start(function, *arguments):
    """Runs function in a process group of its own, so that its children end with it."""

    def run():
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        function(*arguments)

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    started.append(process)
    return process


def end(process):
    for kill in (os.killpg, os.kill):  # the group does not exist in its first microseconds
        try:
            kill(process.pid, signal.SIGKILL)
            break
        except ProcessLookupError:
            pass
    process.join()
    started.remove(process)


# ---- the work load ------------------------------------------------------------------------------

LEVELS = ("web", "compile", "database", "files")  # requests/s, jobs, commits/s, MB/s


def draw_phase(rng):
    """One mix of work, for 3 to 15 seconds. A few health checks always go on."""
    seconds = rng.uniform(3, 15)
    if rng.random() < 0.2:
        return seconds, (3, 0, 0, 0)
    return seconds, (
        rng.choice((3, 20, 50, 100)),
        rng.choice((0, 0, 1)),
        rng.choice((0, 5, 15, 40)),
        rng.choice((0, 0, 10, 40)),
    )


class WebHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class WebServer(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, *_):
        """Clients that lost patience are part of the game."""


def serve_web(listener, folder):
    handler = functools.partial(WebHandler, directory=str(folder))
    server = WebServer(listener.getsockname(), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


async def fetch(address, name):
    try:
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
            await reader.read(-1)
        finally:
            writer.close()
    except OSError:
        pass


async def send_requests(levels, address, names, seed):
    """Requests come when they come, whether or not earlier ones were answered; 300 at most."""
    rng = random.Random(seed)
    pending = set()
    due = time.monotonic()
    while True:
        rate = levels[LEVELS.index("web")]
        due = max(due, time.monotonic() - 0.5) + rng.expovariate(rate)
        await asyncio.sleep(max(0, due - time.monotonic()))
        if len(pending) < 300:
            request = fetch(address, rng.choice(names))
            task = asyncio.create_task(asyncio.wait_for(request, timeout=5))
            pending.add(task)
            task.add_done_callback(lambda done: (pending.discard(done), done.exception()))


def request_web(levels, address, names, seed):
    asyncio.run(send_requests(levels, address, names, seed))


def compile_sources(levels, job, folder, seed):
    rng = random.Random(seed)
    sources = sorted((folder / "src").glob("*/*.c"))
    while True:
        if levels[LEVELS.index("compile")] < job:
            time.sleep(0.05)
            continue
        source = rng.choice(sources)
        command = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-c", f"-I{folder}/src"]
        subprocess.run(
            [*command, "-o", f"{folder}/{source.stem}.{job}.o", source],
            stderr=subprocess.DEVNULL,
            check=False,
        )


def write_database(levels, folder, seed):
    """Each commit is on the disk before the next; the table keeps its size."""
    rng = random.Random(seed)
    database = sqlite3.connect(folder / "rows.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, time REAL, body BLOB)")
    database.execute("CREATE INDEX row_time ON row (time)")
    insert = "INSERT OR REPLACE INTO row VALUES (?, ?, ?)"

    def draw_row(number):
        return number, time.time(), rng.randbytes(rng.randrange(50, 1000))

    database.execute("BEGIN")
    database.executemany(insert, map(draw_row, range(20000)))
    database.execute("COMMIT")
    due = time.monotonic()
    while True:
        rate = levels[LEVELS.index("database")]
        if rate == 0:
            time.sleep(0.05)
            continue
        due = max(due, time.monotonic() - 0.2) + 1 / rate
        time.sleep(max(0, due - time.monotonic()))
        database.execute("BEGIN")
        database.executemany(insert, [draw_row(rng.randrange(20000)) for _ in range(20)])
        database.execute("COMMIT")
        database.execute("SELECT count(*) FROM row WHERE time > ?", (time.time() - 2,)).fetchone()


def copy_files(levels, folder, seed):
    """Copies files over the same copies again and again, half of the time from the disk itself."""
    rng = random.Random(seed)
    names = [f"file-{n}" for n in range(8)]
    for name in names:
        (folder / name).write_bytes(rng.randbytes(16 * MB))
        shutil.copyfile(folder / name, folder / f"{name}.copy")
    due = time.monotonic()
    while True:
        name = rng.choice(names)
        with open(folder / name, "rb") as source, open(folder / f"{name}.copy", "r+b") as copy:
            if rng.random() < 0.5:
                os.fsync(source.fileno())
                os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := source.read(MB):
                while (rate := levels[LEVELS.index("files")]) == 0:
                    time.sleep(0.05)
                due = max(due, time.monotonic() - 0.2) + 1 / rate
                time.sleep(max(0, due - time.monotonic()))
                copy.write(chunk)


class WorkLoad:
    def __init__(self, folder, seed):
        self.rng = random.Random(seed)
        self.levels = multiprocessing.Array("d", [3, 0, 0, 0], lock=False)
        self.phase_ends = time.monotonic()

        pages = folder / "pages"
        pages.mkdir()
        names = [f"page-{n}" for n in range(20)]
        for name in names:
            (pages / name).write_bytes(self.rng.randbytes(self.rng.choice((1, 10, 50, 200)) << 10))
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            self.web_server = start(serve_web, listener, pages)
            start(request_web, self.levels, listener.getsockname(), names, seed + 1)
        start(compile_sources, self.levels, 1, folder, seed + 2)
        start(compile_sources, self.levels, 2, folder, seed + 3)
        start(write_database, self.levels, folder, seed + 4)
        start(copy_files, self.levels, folder, seed + 5)

    def run(self, seconds):
        """Goes through phases for so long."""
        stop = time.monotonic() + seconds
        while (now := time.monotonic()) < stop:
            if now >= self.phase_ends:
                length, self.levels[:] = draw_phase(self.rng)
                self.phase_ends = now + length
            time.sleep(max(0, min(self.phase_ends, stop) - time.monotonic()))


# ---- the faults ---------------------------------------------------------------------------------


def burn_cpu():
    while True:
        pass


def leak_memory(mb_per_s, max_mb):
    leaked = []
    due = time.monotonic()
    while True:
        if 10 * len(leaked) < max_mb:
            leaked.append(b"\1" * (10 * MB))
        due += 10 / mb_per_s
        time.sleep(max(0, due - time.monotonic()))


def write_storm(path, chunk_mb):
    chunk = os.urandom(chunk_mb * MB)
    with open(path, "wb", buffering=0) as file:
        while True:
            file.seek(0)
            for _ in range(512 // chunk_mb):
                file.write(chunk)
                os.fsync(file.fileno())


def fork_children():
    """The shell forks for each pair of brackets, several times faster than Python would."""
    os.execlp("sh", "sh", "-c", "while :; do (:); done")


def accept_flood(listener):
    while True:
        connection, _ = listener.accept()
        connection.close()


def connect_flood(address, per_second):
    due = time.monotonic()
    while True:
        try:
            with socket.create_connection(address, timeout=5) as connection:
                connection.recv(1)
        except OSError:
            pass
        due = max(due, time.monotonic() - 0.1) + 1 / per_second
        time.sleep(max(0, due - time.monotonic()))


class Fault:
    """One of the six kinds; the label covers begin() to finish()."""

    def __init__(self, kind, strength, folder, load):
        self.kind, self.strong = kind, strength == "strong"
        self.folder, self.load = folder, load
        self.processes = []
        self.listener = None

    def begin(self):
        getattr(self, self.kind)()

    def finish(self):
        if self.kind == "stalled_process":
            os.kill(self.load.web_server.pid, signal.SIGCONT)
        for process in self.processes:
            end(process)
        if self.listener:
            self.listener.close()

    def add(self, function, *arguments):
        self.processes.append(start(function, *arguments))

    def cpu_hog(self):
        for _ in range(16 if self.strong else 8):
            self.add(burn_cpu)

    def memory_leak(self):
        self.add(leak_memory, 250 if self.strong else 120, 4000)

    def disk_write_storm(self):
        for n in range(2 if self.strong else 1):
            self.add(write_storm, self.folder / f"storm-{n}", 32 if self.strong else 8)

    def fork_storm(self):
        for _ in range(3 if self.strong else 1):
            self.add(fork_children)

    def connection_flood(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.add(accept_flood, self.listener)
        for _ in range(2):
            self.add(connect_flood, self.listener.getsockname(), 3000 if self.strong else 1000)

    def stalled_process(self):
        os.kill(self.load.web_server.pid, signal.SIGSTOP)


# ---- the session --------------------------------------------------------------------------------


class Session:
    def __init__(self, load, folder, scale):
        self.load, self.folder, self.scale = load, folder, scale
        self.times, self.labels = [], []  # from this wall-clock time on, this label

    def mark(self, label):
        self.times.append(time.time())
        self.labels.append(label)
        print(f"{datetime.datetime.now():%H:%M:%S} {label}", flush=True)

    def stretch(self, label, seconds):
        self.mark(label)
        self.load.run(seconds * self.scale)

    def fault(self, kind, strength, seconds):
        fault = Fault(kind, strength, self.folder, self.load)
        try:
            fault.begin()
            self.load.run(seconds * self.scale)
        finally:
            fault.finish()

    def rehearse(self):
        """What only the first fault of its kind changes for good (threads, kernel caches)."""
        self.mark("warm-up")
        for kind in RECOVERY_S:
            self.fault(kind, "strong", REHEARSAL_S)
            self.remove_storm()

    def incident(self, kind, strength):
        self.stretch("0", QUIET_S)
        self.mark(kind)
        self.fault(kind, strength, FAULT_S[strength])
        self.mark("recovery")
        self.remove_storm()
        self.load.run(RECOVERY_S[kind] * self.scale)

    def remove_storm(self):
        for file in self.folder.glob("storm-*"):
            file.unlink()

    def run(self, seed):
        faults = []
        for strength in FAULT_S:
            kinds = list(RECOVERY_S)
            random.Random(f"{seed} {strength}").shuffle(kinds)
            faults += [(kind, strength) for kind in kinds]

        self.rehearse()
        self.stretch("warm-up", WARM_UP_S)
        per_round = len(faults) // ROUNDS
        for first in range(0, len(faults), per_round):
            self.stretch("normal", NORMAL_S)
            for kind, strength in faults[first : first + per_round]:
                self.incident(kind, strength)
        self.stretch("0", QUIET_S)

    def label_of(self, timestamp):
        at = datetime.datetime.fromisoformat(timestamp).timestamp()
        return self.labels[bisect.bisect_right(self.times, at) - 1]

    def cut(self, recorded, output):
        """Every row goes to one of the two files, as it was recorded, or was warm-up."""
        with open(recorded, newline="") as file:
            header, *rows = csv.reader(file)
        with open(output / "normal.csv", "w") as normal, open(output / "incidents.csv", "w") as bad:
            print(*header, sep=",", file=normal)
            print(*header, "incident", sep=",", file=bad)
            for row in rows:
                label = self.label_of(row[0])
                if label == "normal":
                    print(*row, sep=",", file=normal)
                elif label != "warm-up":
                    print(*row, label, sep=",", file=bad)


def copy_sources(folder):
    """Those of our own sources that need no more than the C library."""
    tree = pathlib.Path(__file__).resolve().parents[3] / "src"
    shutil.copytree(tree / "base", folder / "src" / "base")
    (folder / "src" / "base" / "checksum.c").unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anomalyctl", default="./anomalyctl")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1, help="of all times, for a rehearsal")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="make_load.") as name:
        folder = pathlib.Path(name)
        copy_sources(folder)
        recorded = folder / "recorded.csv"
        command = [options.anomalyctl, "record", "--interval", "250ms", "--output", recorded]
        try:
            session = Session(WorkLoad(folder, options.seed), folder, options.scale)
            recorder = subprocess.Popen(command, start_new_session=True)
            try:
                session.run(options.seed)
            finally:
                recorder.terminate()
                status = recorder.wait()
        finally:
            for process in list(started):
                end(process)
        if status != 0:
            sys.exit("the recorder failed")
        session.cut(recorded, options.output)


if __name__ == "__main__":
    main()
