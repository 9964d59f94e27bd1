#!/usr/bin/python3
"""The training of bench_training with PyTorch and scikit-learn, in turns with ours.

usage: train_peers.py [--features D,…] [--rounds N] BENCH_TRAINING

The same 50,000 rows, layers, batches of 256, 20 passes, Adam and number of threads (one). Prints one
line of JSON a run and a table of medians: CPU seconds of the thread, and the mean squared error
over all rows at the end. A peer that Python does not have is left out."""
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time
import warnings

import numpy

N_PASSES = 20
N_BATCH = 256


def widths(features):
    """As preset fast has them (src/detector/plan.c)."""
    hidden = min(64, (5 * features + 7) // 8)
    code = min(hidden, 32, (3 * features + 9) // 10)
    return [features, hidden, code, hidden, features]


def train_torch(rows, seed):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    sizes = widths(rows.shape[1])
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Tanh()]
        torch.nn.init.xavier_uniform_(layers[-2].weight)
        torch.nn.init.zeros_(layers[-2].bias)
    model = torch.nn.Sequential(*layers[:-1])
    values = torch.from_numpy(rows)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    judge = torch.nn.MSELoss()

    begin = time.thread_time()
    for _ in range(N_PASSES):
        order = torch.randperm(len(values))
        for i in range(0, len(values), N_BATCH):
            batch = values[order[i:i + N_BATCH]]
            optimizer.zero_grad()
            judge(model(batch), batch).backward()
            optimizer.step()
    seconds = time.thread_time() - begin
    with torch.no_grad():
        return seconds, judge(model(values), values).item()


def train_sklearn(rows, seed):
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(widths(rows.shape[1])[1:-1], activation="tanh", solver="adam", alpha=0.0,
                         batch_size=N_BATCH, learning_rate_init=0.001, max_iter=N_PASSES, tol=0.0,
                         n_iter_no_change=N_PASSES, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 20 passes are not enough
        begin = time.thread_time()
        model.fit(rows, rows)
        seconds = time.thread_time() - begin
    return seconds, float(numpy.mean((model.predict(rows) - rows) ** 2))


PEERS = {"torch": train_torch, "scikit-learn": train_sklearn}


def run_ours(bench, features, path):
    done = subprocess.run([bench, str(features), path], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def measure(arguments, features, folder):
    path = pathlib.Path(folder) / f"{features}.f32"
    results = {}
    for turn in range(arguments.rounds):
        runs = [run_ours(arguments.bench, features, path)]
        rows = numpy.fromfile(path, numpy.float32).reshape(-1, features)
        for who, train in PEERS.items():
            try:
                seconds, loss = train(rows, turn + 1)
            except ImportError as error:
                print(f"# {who} is left out: {error}")
                continue
            runs.append({"who": who, "features": features, "seconds": round(seconds, 3),
                         "loss": round(loss, 6)})
        for run in runs:
            print(json.dumps(run), flush=True)
            results.setdefault(run["who"], []).append(run)
    return results


def print_table(features, results):
    def median(runs, key):
        return statistics.median(run[key] for run in runs)

    ours = median(results["anomalyd"], "seconds")
    share = median(results["anomalyd"], "share_of_peak")
    print(f"\n{features} features    seconds   times ours       loss   ({100 * share:.0f} % of the "
          "multiply-add peak)")
    for who, runs in results.items():
        seconds = median(runs, "seconds")
        print(f"{who:14} {seconds:8.2f} {seconds / ours:12.1f} {median(runs, 'loss'):10.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--features", default="38,128")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = [(features, measure(arguments, features, folder))
                  for features in map(int, arguments.features.split(","))]
    for features, results in tables:
        print_table(features, results)


if __name__ == "__main__":
    main()
