"""What learning.py sends its streams to: the service in one process (Service), the daemon over HTTP
(Daemon), and what a user would write without it (Naive). All have observe(), score(), get(), do()."""
import csv
import json
import socket
import subprocess
import time
import urllib.request

import numpy

MODEL = "m"
BATCH = 250  # rows scored at a time: how long an answer is behind


def write_config(folder, listen, **keys):
    """An anomalyd.conf with one model that learns at once and from every row."""
    settings = {"sample_rate": "all", "retrain_min_interval": "0s", "retrain_rows": 2000,
                "buffer_rows": 10000, "min_rows": keys.get("buffer_rows", 10000),
                "false_alarm_rate": 0.01, **keys}
    lines = [f"{key} = {value}" for key, value in settings.items() if value is not None]
    path = folder / "anomalyd.conf"
    path.write_text(f"[server]\nlisten = {listen}\n[storage]\ndirectory = {folder / 'state'}\n"
                    f"durability = process\nmin_free = 0\n[model {MODEL}]\n" + "\n".join(lines) + "\n")
    (folder / "state").mkdir(exist_ok=True)
    return path


def names(n_features):
    return [f"f{i}" for i in range(n_features)]


class Service:
    """The real code in one process: every answer comes after all trainings it led to."""

    def __init__(self, folder, driver, n_features, **keys):
        keys.setdefault("features", ", ".join(names(n_features)))
        self.folder, self.n_features = folder, n_features
        config = write_config(folder, "127.0.0.1:1", **keys)
        self.log = open(folder / "driver.log", "ab")
        self.process = subprocess.Popen([driver, config], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log)
        self.version, self.threshold = 0, 0.0

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def _ask(self, line, rows=None):
        self.process.stdin.write(line.encode() + b"\n")
        if rows is not None:
            self.process.stdin.write(numpy.ascontiguousarray(rows, "<f4").tobytes())
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode().split(maxsplit=1)
        if not answer or answer[0] != "ok":
            raise RuntimeError(f"{line}: {' '.join(answer)}")
        return answer[1].split() if len(answer) > 1 else []

    def observe(self, rows, series="s"):
        for begin in range(0, len(rows), 1000):
            part = rows[begin:begin + 1000]
            self._ask(f"observe {MODEL} {len(part)} {self.n_features} {series}", part)

    def _score(self, rows, learn, series):
        version, threshold = self._ask(
            f"score {MODEL} {len(rows)} {self.n_features} {int(learn)} {series}", rows)
        self.version, self.threshold = int(version), float(threshold)
        told = self.process.stdout.read(24 * len(rows))
        return numpy.frombuffer(told, "<f8").reshape(-1, 3)

    def score(self, rows, learn=True, series="s"):
        """[n][3]: error, p-value, flagged."""
        size = BATCH if learn else 5000
        parts = [self._score(rows[i:i + size], learn, series) for i in range(0, len(rows), size)]
        return numpy.concatenate(parts)

    def get(self, part):
        length = int(self._ask(f"get {MODEL} {part}")[0])
        return json.loads(self.process.stdout.read(length))

    def do(self, verb, *arguments):
        self._ask(" ".join([verb, MODEL, *map(str, arguments)]))


class Daemon:
    """anomalyd itself, over HTTP. After each batch the rows on their way and the run that they led
    to are waited for, so that a stream means the same here and in Service."""

    def __init__(self, folder, program, n_features, **keys):
        keys.setdefault("features", ", ".join(names(n_features)))
        self.folder, self.n_features = folder, n_features
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        config = write_config(folder, f"127.0.0.1:{port}", **keys)
        self.log = open(folder / "daemon.log", "ab")
        self.process = subprocess.Popen([program, "--config", config], stderr=self.log)
        self.version, self.threshold = 0, 0.0
        self._until(self._is_alive)

    @staticmethod
    def _until(happens, deadline_s=120):
        deadline = time.monotonic() + deadline_s
        while not happens():
            if time.monotonic() > deadline:
                raise RuntimeError("waited in vain")
            time.sleep(0.002)

    def _is_alive(self):
        try:
            with urllib.request.urlopen(self.url + "/healthz") as answer:
                return answer.status == 200
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def _call(self, method, path, body=None):
        request = urllib.request.Request(f"{self.url}/v1/models/{MODEL}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def _is_settled(self):
        self._call("GET", "/events?kind=verdict")  # answered behind all rows that came before
        runs = self._call("GET", "/runs")["runs"]
        return all(run["state"] not in ("queued", "running") for run in runs)

    def _settle(self):
        self._until(self._is_settled)

    def observe(self, rows, series="s"):
        for begin in range(0, len(rows), 1000):
            part = rows[begin:begin + 1000].tolist()
            self._call("POST", f"/observe?series={series}", {"instances": part})
        self._settle()

    def score(self, rows, learn=True, series="s"):
        told = []
        for begin in range(0, len(rows), BATCH):
            part = rows[begin:begin + BATCH].tolist()
            answer = self._call("POST", f"/score?series={series}&explain=none"
                                f"&learn={'true' if learn else 'false'}", {"instances": part})
            self.version, self.threshold = answer["version"], answer["threshold"]
            told += [(verdict["reconstruction_error"], verdict["p_value"], verdict["anomaly"])
                     for verdict in answer["results"]]
            if learn:
                self._settle()
        return numpy.array(told, dtype=float)

    def get(self, part):
        return self._call("GET", f"/{part}")

    def do(self, verb, *arguments):
        if verb == "feedback":
            self._call("POST", "/feedback", {"event": arguments[0], "label": arguments[1]})
        elif verb == "promote":
            self._call("POST", f"/versions/{arguments[0]}/promote", {})
        else:
            self._call("POST", f"/{verb}", {})
        self._settle()


class Naive:
    """The usual script: keep the newest rows, train on them every so often, always take the new
    model. kind: "never" trains once; "all" keeps every row, "unflagged" those it did not flag. The
    detector, its preset and its own calibration are the service's."""

    def __init__(self, folder, driver, anomalyctl, n_features, kind, every=2000, window=5000,
                 rate=0.01, preset=None):
        self.folder, self.driver, self.anomalyctl = folder, driver, anomalyctl
        self.n_features, self.kind, self.every, self.window = n_features, kind, every, window
        self.rate, self.preset = rate, preset
        self.rows = numpy.empty((0, n_features), "f4")
        self.fresh, self.version, self.service = 0, 0, None

    @property
    def threshold(self):
        return self.service.threshold

    def close(self):
        if self.service:
            self.service.close()

    def _train(self):
        self.version += 1
        self.fresh = 0
        home = self.folder / str(self.version)
        home.mkdir()
        with open(home / "rows.csv", "w", newline="", encoding="ascii") as file:
            table = csv.writer(file)
            table.writerow(names(self.n_features))
            table.writerows(self.rows.tolist())
        options = ["--preset", self.preset] if self.preset else []
        subprocess.run([self.anomalyctl, "train", "--data", home / "rows.csv", "--output",
                        home / "model", "--seed", "1", "--false-alarm-rate", str(self.rate), *options],
                       check=True, capture_output=True)
        self.close()
        self.service = Service(home, self.driver, self.n_features, file=home / "model", learn="off",
                               false_alarm_rate=self.rate, features=None)

    def observe(self, rows):
        self.rows = rows[-self.window:]
        self._train()

    def _keep(self, rows, told):
        kept = rows[told[:, 2] == 0] if self.kind == "unflagged" else rows
        self.rows = numpy.concatenate([self.rows, kept])[-self.window:]
        self.fresh += len(kept)
        if self.fresh >= self.every:
            self._train()

    def score(self, rows, learn=True):
        if not learn:
            return self.service.score(rows, learn=False)
        parts = []
        for begin in range(0, len(rows), BATCH):
            part = rows[begin:begin + BATCH]
            parts.append(self.service.score(part, learn=False))
            if self.kind != "never":
                self._keep(part, parts[-1])
        return numpy.concatenate(parts)

    def get(self, part):
        return {part: []}

    def do(self, verb, *arguments):
        """Nobody listens."""
