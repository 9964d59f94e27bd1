#!/usr/bin/python3
"""How many rows a second /observe stores so that they outlive a power cut (the default,
`durability = power`: an answer comes after the disk has the rows, and those who wait share a sync).

usage: observe.py [--clients N,…] [--batches ROWS,…] [--features D] [--seconds S] [--rounds K]
                  [--directory DIR] [--least ROWS]

A daemon of its own with a model that serves and a full buffer (the default, 50,000 rows), so that
each row pushes another one out. Each client has one open connection and sends its next request when
the answer is there; two processes hold them. The table has acknowledged rows a second, medians of
the rounds, which take turns. At the end the daemon is killed (-9): the store must have counted as
many rows as were acknowledged. DIR: where the state goes, for it is its disk that is measured.
Exit status 1 if the best median is below --least, or a row is missing."""
import argparse
import concurrent.futures
import json
import pathlib
import random
import selectors
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
BUFFER_ROWS = 50000
PROCESSES = 2


class Daemon:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = self.folder / "anomalyd.conf"
        config.write_text(f"[server]\nlisten = 127.0.0.1:{self.port}\n"
                          f"[storage]\ndirectory = {folder}/state\nmin_free = none\n"
                          f"[model m]\nbuffer_rows = {BUFFER_ROWS}\nretrain_rows = never\n")
        self.process = subprocess.Popen([TOP / "anomalyd", "--config", config],
                                        stderr=subprocess.DEVNULL)
        self.wait(lambda: self.get("/healthz"))

    def wait(self, condition):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit("observe.py: the daemon does not get ready")

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return answer.read()

    def is_settled(self):
        """The first version serves, and all that was acknowledged until now is in the buffer."""
        rows = json.loads(self.get("/v1/models/m/buffer"))["rows"]
        return rows == BUFFER_ROWS and json.loads(self.get("/v1/models/m"))["state"] == "serving"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stored(self):
        """All rows that were ever stored; after kill()."""
        with sqlite3.connect(self.folder / "state" / "state.db") as store:
            n, = store.execute("SELECT stored FROM buffers").fetchone()
        store.close()
        return n


def make_requests(n_rows, n_features, n=4):
    requests = []
    for _ in range(n):
        rows = [[round(random.gauss(0, 1), 4) for _ in range(n_features)] for _ in range(n_rows)]
        body = json.dumps({"instances": rows}).encode()
        requests.append(b"POST /v1/models/m/observe HTTP/1.1\r\nHost: m\r\n"
                        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                        + body)
    return requests


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""

    def read(self):
        """True: the whole answer is there."""
        part = self.socket.recv(65536)
        self.answer += part
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not part or (end and head[:13] not in (b"HTTP/1.1 200 ", b"HTTP/1.1 202 ")):
            raise RuntimeError(f"no rows were stored: {self.answer.decode()}")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not end or len(body) < int(length):
            return False
        self.answer = b""
        return True


def drive(port, requests, n_clients, begin, seconds):
    """(answered requests, when the last answer came); begin is of time.monotonic()."""
    n, last = 0, begin
    with selectors.DefaultSelector() as selector:
        clients = [Client(port) for _ in range(n_clients)]
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        time.sleep(max(begin - time.monotonic(), 0))
        for i, client in enumerate(clients):
            client.socket.sendall(requests[i % len(requests)])
        n_waiting = n_clients
        while n_waiting:
            for key, _ in selector.select():
                if not key.data.read():
                    continue
                n, last = n + 1, time.monotonic()
                if last < begin + seconds:
                    key.data.socket.sendall(requests[n % len(requests)])
                else:
                    n_waiting -= 1
        for client in clients:
            client.socket.close()
    return n, last


def measure(pool, port, requests, n_clients, seconds):
    """(answered requests, how many a second)."""
    shares = [n for i in range(PROCESSES) if (n := (n_clients + i) // PROCESSES)]
    begin = time.monotonic() + 0.3 # until then all have connected
    told = [future.result() for future in
            [pool.submit(drive, port, requests, n, begin, seconds) for n in shares]]
    n = sum(n for n, _ in told)
    return n, n / (max(last for _, last in told) - begin)


def numbers(text):
    return [int(part) for part in text.split(",")]


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=numbers, default=[1, 8, 32])
    parser.add_argument("--batches", type=numbers, default=[1, 100, 1000])
    parser.add_argument("--features", type=int, default=38)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory")
    parser.add_argument("--least", type=int, default=20000)
    return parser.parse_args()


def run(options, daemon, pool):
    """(rows a second by clients and batch, a list of the rounds; all acknowledged rows)"""
    requests = {batch: make_requests(batch, options.features) for batch in options.batches}
    fill, n_fill = make_requests(1000, options.features), 0
    while n_fill < BUFFER_ROWS:
        n_fill += 1000 * measure(pool, daemon.port, fill, 1, 0.1)[0]
    daemon.wait(daemon.is_settled)
    rates, n_rows = {}, n_fill
    for _ in range(options.rounds):
        for batch in options.batches:
            for n_clients in options.clients:
                n, rate = measure(pool, daemon.port, requests[batch], n_clients, options.seconds)
                n_rows += n * batch
                rates.setdefault((n_clients, batch), []).append(rate * batch)
    return rates, n_rows


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="observe.", dir=options.directory) as folder, \
            concurrent.futures.ProcessPoolExecutor(PROCESSES) as pool:
        daemon = Daemon(folder)
        try:
            rates, n_rows = run(options, daemon, pool)
        finally:
            daemon.kill()
        n_stored = daemon.stored()
    print("| rows a request |" + "".join(f" clients: {n} |" for n in options.clients))
    print("|---|" + "---|" * len(options.clients))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    for batch in options.batches:
        print(f"| {batch:,} |" + "".join(f" {medians[n, batch]:,.0f} |" for n in options.clients))
    print(f"\nRows a second. {n_rows:,} rows were acknowledged, {n_stored:,} are stored.")
    return 0 if max(medians.values()) >= options.least and n_stored == n_rows else 1


if __name__ == "__main__":
    sys.exit(main())
