#!/usr/bin/python3
"""make bench-explanation: are the right features named, and is what was expected right?

usage: explanation.py [--bin ANOMALYCTL] [--data DIR] [--sets NAME,…] [--seeds 1,2] [--markdown]

Faults are made up in normal rows of labelled data sets (folders with train.csv.gz, test.csv.gz and
labels.txt.gz), so that the feature to blame and its true value are known: a feature of a row is
moved by some of its standard deviations, up or down. Rows are independent (--independent-rows), or
the test set is one series, as it came, and the fault lasts. Printed is the mean over sets of:

- named first: the share of faults whose feature has the largest share of the blame;
- expected: how far the expected value of a moved feature is from the true one, in its deviations;
  beside it the training mean, which anyone could give.
"""
import argparse
import csv
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy

TOP = pathlib.Path(__file__).resolve().parents[2]
SIZES = [2, 3, 5, 8]
ROWS = 400 # a kind of fault
LASTS = [1, 20, 60, 150]


def read_table(path):
    with gzip.open(path, "rt") as file:
        table = csv.reader(file)
        header = next(table)
        return header, numpy.array(list(table), dtype="f8")


class Model:
    """A model of anomalyctl train with no options, asked by anomalyctl score."""

    def __init__(self, program, folder, scratch):
        self.program, self.scratch = program, scratch
        self.names, train = read_table(folder / "train.csv.gz")
        _, test = read_table(folder / "test.csv.gz")
        labels = numpy.loadtxt(gzip.open(folder / "labels.txt.gz"))
        # The first rows are a stretch without a gap; others are no series any more.
        self.normal = test[labels == 0]
        self.stretch = longest_stretch(test, labels == 0)
        self.mean, self.sd = train.mean(axis=0), train.std(axis=0)
        self.moving = numpy.flatnonzero(self.sd > 0)
        self.path = scratch / "model.safetensors"
        self.run("train", "--data", self.write("train.csv", train), "--output", self.path)

    def write(self, name, rows):
        path = self.scratch / name
        numpy.savetxt(path, rows, delimiter=",", header=",".join(self.names), comments="",
                      fmt="%.9g")
        return path

    def run(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], check=True, text=True,
                              capture_output=True).stdout

    def explain(self, rows, *options):
        """[(names by share, {name: expected})] of each row."""
        out = self.run("score", "--model", self.path, "--data", self.write("rows.csv", rows),
                       "--format", "ndjson", "--explain", len(self.names), *options)
        for line in out.splitlines():
            parts = json.loads(line)["contributions"]
            yield ([self.names.index(part["feature"]) for part in parts],
                   {self.names.index(part["feature"]): part["expected"] for part in parts})


def longest_stretch(rows, is_normal):
    edges = numpy.flatnonzero(numpy.diff(numpy.r_[0, is_normal.astype(int), 0]))
    begin, end = max(zip(edges[::2], edges[1::2]), key=lambda edge: edge[1] - edge[0])
    return rows[begin:end]


def move(model, random, rows, n_features, size):
    """(rows with a fault each, which features)"""
    faulty = rows.copy()
    moved = [random.choice(model.moving, n_features, replace=False) for _ in rows]
    for row, features in zip(faulty, moved):
        row[features] += size * model.sd[features] * random.choice([-1, 1], n_features)
    return faulty, moved


def single_rows(model, random):
    rows = model.normal[random.choice(len(model.normal), ROWS)]
    n_moving = len(model.moving)
    found = {}
    for size in SIZES:
        faulty, moved = move(model, random, rows, 1, size)
        firsts = [names[0] for names, _ in model.explain(faulty, "--independent-rows")]
        found[f"first {size}"] = numpy.mean([one == other[0] for one, other in zip(firsts, moved)])
    for label, n in (("1", 1), ("3", 3), ("d/4", n_moving // 4)):
        if not 0 < n <= n_moving // 2:
            continue
        faulty, moved = move(model, random, rows, n, 5)
        off = {"expected": [], "mean": []}
        for i, (_, expected) in enumerate(model.explain(faulty, "--independent-rows")):
            for j in moved[i]:
                off["expected"].append(abs(expected[j] - rows[i, j]) / model.sd[j])
                off["mean"].append(abs(model.mean[j] - rows[i, j]) / model.sd[j])
        for what, values in off.items():
            found[f"{what} {label}"] = numpy.mean(values)
    return found


def lasting(model, random, n_faults=60):
    """A fault that stays: is it still named first after so many rows?"""
    length, before = max(LASTS) + 1, 300
    if len(model.stretch) < length + before:
        return {}
    firsts = {last: [] for last in LASTS}
    for _ in range(n_faults):
        begin = random.integers(len(model.stretch) - length - before + 1)
        rows = model.stretch[begin:begin + before + length].copy()
        feature = random.choice(model.moving)
        rows[before:, feature] += 5 * model.sd[feature] * random.choice([-1, 1])
        names = [names[0] for names, _ in model.explain(rows)]
        for last in LASTS:
            firsts[last].append(names[before + last - 1] == feature)
    return {f"lasting {last}": numpy.mean(values) for last, values in firsts.items()}


def measure(program, folder, seed):
    with tempfile.TemporaryDirectory() as scratch:
        model = Model(program, folder, pathlib.Path(scratch))
        random = numpy.random.default_rng(seed)
        return {**single_rows(model, random), **lasting(model, random)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", default=TOP / "anomalyctl")
    parser.add_argument("--data", type=pathlib.Path, default=TOP.parent / "shared/quality/data")
    parser.add_argument("--sets", default="")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    wanted = arguments.sets.split(",") if arguments.sets else None
    folders = [path for path in sorted(arguments.data.glob("*/"))
               if (path / "labels.txt.gz").exists() and (not wanted or path.name in wanted)]
    if not folders:
        print(f"explanation: no data sets in {arguments.data}; name a folder with --data")
        return 77
    found = {}
    for folder in folders:
        runs = [measure(arguments.bin, folder, int(seed)) for seed in arguments.seeds.split(",")]
        found[folder.name] = {key: numpy.mean([run[key] for run in runs]) for key in runs[0]}
        print_row(folder.name, found[folder.name], arguments.markdown)
    keys = list(dict.fromkeys(key for of_set in found.values() for key in of_set))
    print_row("mean", {key: numpy.mean([of_set[key] for of_set in found.values() if key in of_set])
                       for key in keys}, arguments.markdown)
    return 0


def print_row(name, figures, markdown):
    if markdown:
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in figures.values()) + " |")
    else:
        print(f"{name:16}", *(f"{key} {value:.2f};" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
