#!/usr/bin/python3
"""make bench-explanation: what an explanation adds to an anomalous verdict, over HTTP.

usage: explain_cost.py [--features D] [--requests N] [--rounds K] [--most RATIO]

One daemon, one open connection, an anomalous row at a time; requests with explain=anomalies (the
default) and explain=none take turns in rounds of N. CPU time of all the daemon's threads a request,
medians. Exit status 1 if the ratio is above --most."""
import argparse
import json
import pathlib
import random
import statistics
import sys
import tempfile

from latency import Client, Daemon


def cpu_seconds(process):
    tasks = pathlib.Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def requests(n_features, explain):
    for _ in range(64):
        row = [round(random.gauss(0, 1), 4) for _ in range(n_features)]
        for feature in random.sample(range(n_features), 3):
            row[feature] += 8
        body = json.dumps(row).encode()
        yield (b"POST /v1/models/m/score?learn=false&explain=%s HTTP/1.1\r\nHost: m\r\n"
               b"Content-Length: %d\r\n\r\n" % (explain.encode(), len(body)) + body)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=38)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, default=1.5)
    arguments = parser.parse_args()
    random.seed(1)
    costs = {"none": [], "anomalies": []}
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(folder, arguments.features, 5000)
        client = Client(daemon.port, arguments.features)
        for _ in range(arguments.rounds):
            for explain, seen in costs.items():
                client.requests = list(requests(arguments.features, explain))
                begin = cpu_seconds(daemon.process)
                for i in range(arguments.requests):
                    client.send_one(i)
                seen.append(1e6 * (cpu_seconds(daemon.process) - begin) / arguments.requests)
        daemon.process.terminate()
        daemon.process.wait()
    none, anomalies = (statistics.median(seen) for seen in costs.values())
    print(f"a verdict {none:.1f} us, with its explanation {anomalies:.1f} us of CPU time: "
          f"{anomalies / none:.2f} times, at most {arguments.most}")
    return anomalies > arguments.most * none


if __name__ == "__main__":
    sys.exit(main())
