#!/usr/bin/python3
"""make bench-explanation: what an explanation adds to a verdict, over HTTP.

usage: explain_cost.py [--features D] [--requests N] [--rounds K] [--most RATIO]

A daemon, one open connection, a row at a time; requests with and without an explanation take turns in
rounds of N. CPU time of all the daemon's threads a request, and how long the client waits, medians.

First anomalous rows of D numbers, with explain=anomalies (the default). Then rows of a model of 12
categories of 6, 8 numbers and 2 times that sees 1, 2 and 10 rows at once, with explain=all, and that
in detail. Exit status 1 if the ratio of CPU time is above --most for the numbers; of the others it is
only told (docs/quality.md)."""
import argparse
import json
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile

from latency import TOP, Client, Daemon

CATEGORIES, NUMBERS = [f"state{i}" for i in range(12)], [f"number{i}" for i in range(8)]
PREPARE = ",".join([f"{name}=onehot" for name in CATEGORIES] +
                   ["timestamp=hour-of-day", "timestamp=day-of-week"])
TRAINING_ROWS = 3000
BEGIN, STEP = 1709251200, 60


class DaemonOfFile(Daemon):
    """Of a model file, where Daemon learns one."""

    def __init__(self, folder, model):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = folder / "anomalyd.conf"
        config.write_text(f"[server]\nlisten = 127.0.0.1:{self.port}\nthreads = 2\n"
                          f"[model m]\nfile = {model}\nlearn = off\n")
        self.process = subprocess.Popen([TOP / "anomalyd", "--config", config],
                                        stderr=subprocess.DEVNULL)
        self.wait(lambda: self.get("/v1/models/m") is not None)


def cpu_seconds(process):
    tasks = pathlib.Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def request(query, body):
    body = json.dumps(body).encode()
    return (b"POST /v1/models/m/score?learn=false&%s HTTP/1.1\r\nHost: m\r\n"
            b"Content-Length: %d\r\n\r\n" % (query.encode(), len(body)) + body)


def odd_rows(n_features):
    while True:
        row = [round(random.gauss(0, 1), 4) for _ in range(n_features)]
        for feature in random.sample(range(n_features), 3):
            row[feature] += 8
        yield row


def mixed_rows():
    """A row a minute; three causes move the categories and the numbers."""
    i = 0
    while True:
        causes = [random.gauss(0, 1) for _ in range(3)]
        row = {"timestamp": BEGIN + STEP * i}
        for k, name in enumerate(CATEGORIES):
            row[name] = f"s{min(max(int(causes[k % 3] + random.gauss(0, 0.2) + 2.5), 0), 5)}"
        for k, name in enumerate(NUMBERS):
            row[name] = round(causes[k % 3] * (1 + k) + random.gauss(0, 0.3), 4)
        yield row
        i += 1


def train_mixed(folder, rows, context):
    with open(folder / "train.csv", "w", encoding="ascii") as file:
        for i, row in zip(range(TRAINING_ROWS), rows):
            file.write(",".join(row) + "\n" if i == 0 else "")
            file.write(",".join(map(str, row.values())) + "\n")
    model = folder / "model.safetensors"
    subprocess.run([TOP / "anomalyctl", "train", "--data", file.name, "--output", model,
                    "--prepare", PREPARE, "--context", str(context)], check=True,
                   capture_output=True)
    return model


def measure(daemon, rows, queries, arguments):
    """(CPU time, wait) in seconds a request of each query, medians."""
    client = Client(daemon.port, 1)
    costs = {query: [] for query in queries}
    for _ in range(arguments.rounds):
        for query, seen in costs.items():
            client.requests = [request(query, next(rows)) for _ in range(arguments.requests)]
            begin = cpu_seconds(daemon.process)
            waits = [client.send_one(i) for i in range(arguments.requests)]
            cpu = (cpu_seconds(daemon.process) - begin) / arguments.requests
            seen.append((cpu, statistics.median(waits)))
    daemon.process.terminate()
    daemon.process.wait()
    return [[statistics.median(values) for values in zip(*seen)] for seen in costs.values()]


def tell(label, none, explained):
    """The ratio of CPU time."""
    ratios = [much / little for much, little in zip(explained, none)]
    for what, little, much, ratio in zip(("CPU time", "wait"), none, explained, ratios):
        print(f"{label}, {what}: a verdict {1e6 * little:.1f} us, with its explanation "
              f"{1e6 * much:.1f} us: {ratio:.2f} times", flush=True)
    return ratios[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=38)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, default=1.5)
    arguments = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(folder, arguments.features, 5000)
        costs = measure(daemon, odd_rows(arguments.features),
                        ["explain=none", "explain=anomalies"], arguments)
        is_above = tell(f"{arguments.features} numbers", *costs) > arguments.most
    for context in (1, 2, 10):
        rows = mixed_rows()
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            daemon = DaemonOfFile(folder, train_mixed(folder, rows, context))
            none, told, detail = measure(daemon, ({"features": row} for row in rows),
                                         ["explain=none", "explain=all", "explain=all&detail=true"],
                                         arguments)
        label = f"categories, {context} row{'s' if context > 1 else ''} at once"
        tell(label, none, told)
        tell(f"{label}, in detail", none, detail)
    return is_above


if __name__ == "__main__":
    sys.exit(main())
