#!/usr/bin/python3
"""What training costs those who score: p99 latency of single rows while a run trains, over that
without one, in one process and one run; the two take turns.

usage: latency.py [--rows N] [--features D] [--rate R] [--rounds K] [--most RATIO]

A daemon of its own with a model of D features and N rows in its buffer; one client on one open
connection sends R rows a second, in time whatever the answers take. Prints p50, p99 and p99.9 of
both, the ratios, and the median ratio over rounds. Exit status 1 if that of p99 is above --most."""
import argparse
import json
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]


def percentile(values, share):
    values = sorted(values)
    return values[min(int(share * len(values)), len(values) - 1)]


class Daemon:
    def __init__(self, folder, n_features, n_rows):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = pathlib.Path(folder) / "anomalyd.conf"
        config.write_text(f"[server]\nlisten = 127.0.0.1:{self.port}\nthreads = 2\n"
                          f"[storage]\ndirectory = {folder}/state\nmin_free = none\n[model m]\n"
                          f"min_rows = {n_rows}\nbuffer_rows = {n_rows}\nretrain_rows = never\n")
        (pathlib.Path(folder) / "state").mkdir()
        self.process = subprocess.Popen([TOP / "anomalyd", "--config", config],
                                        stderr=subprocess.DEVNULL)
        self.wait(lambda: self.get("/healthz") is not None)
        for begin in range(0, n_rows, 1000):
            rows = [[random.gauss(0, 1) for _ in range(n_features)] for _ in range(1000)]
            self.post("/v1/models/m/observe", {"instances": rows})
        self.wait(lambda: self.get("/v1/models/m")["state"] == "serving")

    def wait(self, condition):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit("latency.py: the daemon does not get ready")

    def call(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return json.loads(text) if text[:1] in b"{[" else text

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body=None):
        return self.call("POST", path, body if body is not None else {})


class Client:
    def __init__(self, port, n_features):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = []
        for _ in range(64):
            body = json.dumps([round(random.gauss(0, 1), 4) for _ in range(n_features)]).encode()
            self.requests.append(b"POST /v1/models/m/score?learn=false HTTP/1.1\r\nHost: m\r\n"
                                 b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def send_one(self, i):
        """Seconds until the whole answer is there."""
        begin = time.perf_counter()
        self.socket.sendall(self.requests[i % len(self.requests)])
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            answer += self.socket.recv(65536)
        return time.perf_counter() - begin

    def send(self, rate, goes_on):
        """Latencies while goes_on(), which is asked ten times a second."""
        latencies, start, i = [], time.perf_counter(), 0
        while i % max(rate // 10, 1) or goes_on():
            due = start + i / rate
            left = due - time.perf_counter()
            if left > 0:
                time.sleep(left)
            latencies.append(self.send_one(i))
            i += 1
        return latencies


def show(name, latencies):
    told = ", ".join(f"{label} {1e6 * percentile(latencies, share):.0f}"
                     for label, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)))
    print(f"{name:10} {len(latencies):7} requests, µs: {told}")


def measure(n_rows, n_features, rate, rounds):
    """(latencies while training, latencies without, the ratio of their p99 of each round)"""
    with tempfile.TemporaryDirectory(prefix="latency.") as folder:
        daemon = Daemon(folder, n_features, n_rows)
        try:
            client = Client(daemon.port, n_features)
            client.send(rate, iter([True] * 10 + [False]).__next__)
            training, idle, ratios = [], [], []
            for _ in range(rounds):
                daemon.post("/v1/models/m/retrain")
                daemon.wait(lambda: daemon.get("/v1/models/m")["state"] == "training")
                during = client.send(rate,
                                     lambda: daemon.get("/v1/models/m")["state"] == "training")
                n = len(during) * 10 // rate
                without = client.send(rate, iter([True] * n + [False]).__next__)
                ratios.append(percentile(during, 0.99) / percentile(without, 0.99))
                training += during
                idle += without
        finally:
            daemon.process.terminate()
            daemon.process.wait()
    return training, idle, ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50000)
    parser.add_argument("--features", type=int, default=38)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, default=1.25)
    options = parser.parse_args()
    training, idle, ratios = measure(options.rows, options.features, options.rate, options.rounds)
    show("training", training)
    show("idle", idle)
    ratios.sort()
    median = ratios[len(ratios) // 2]
    print(f"p99 ratio: {percentile(training, .99) / percentile(idle, .99):.2f} of all requests; "
          f"of each round {', '.join(f'{ratio:.2f}' for ratio in ratios)}; median {median:.2f}")
    return 0 if median <= options.most else 1


if __name__ == "__main__":
    sys.exit(main())
