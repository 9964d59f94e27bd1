#!/usr/bin/env python3
"""What missing values cost: the table under "Missing values" in docs/quality.md.

A model is trained on each set's whole rows; of the test rows a share of the values is taken away at
random, and what has less than half of its values left is not judged, as the daemon would refuse it.

The folder --data has one folder for each set: train.csv.gz and test.csv.gz (a header, features
only) and labels.txt.gz (0 or 1 for each test row). Needs numpy. Without data the exit status is 77.
"""

import argparse
import csv
import gzip
import pathlib
import subprocess
import sys
import tempfile

import numpy

TOP = pathlib.Path(__file__).resolve().parents[2]


def read_lines(path):
    with gzip.open(path, "rt") as file:
        return file.read().splitlines()


def roc_auc(errors, labels):
    _, inverse, counts = numpy.unique(errors, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = labels.sum()
    return (ranks[labels == 1].sum() - n * (n + 1) / 2) / (n * (len(labels) - n))


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def judge(options, folder, header, rows, labels, share, chance):
    """ROC AUC, and the share of the normal rows that are flagged."""
    cells = [row.split(",") for row in rows]
    gone = chance.random((len(cells), len(cells[0]))) < share
    kept = numpy.flatnonzero(gone.sum(axis=1) * 2 <= gone.shape[1])
    lines = [",".join("" if away else cell for cell, away in zip(cells[i], gone[i])) for i in kept]
    (folder / "test.csv").write_text("\n".join([header, *lines]) + "\n")
    told = run(options.bin, "score", "--model", folder / "model", "--data", folder / "test.csv")
    verdicts = list(csv.DictReader(told.splitlines()))
    errors = numpy.array([float(verdict["reconstruction_error"]) for verdict in verdicts])
    flags = numpy.array([verdict["anomaly"] == "1" for verdict in verdicts])
    return roc_auc(errors, labels[kept]), flags[labels[kept] == 0].mean()


def measure(options, data):
    header, *rows = read_lines(data / "train.csv.gz")
    test = read_lines(data / "test.csv.gz")[1:]
    labels = numpy.array([int(line) for line in read_lines(data / "labels.txt.gz")])
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for seed in options.seeds:
            (folder / "train.csv").write_text("\n".join([header, *rows]) + "\n")
            run(options.bin, "train", "--data", folder / "train.csv", "--output", folder / "model",
                "--false-alarm-rate", str(options.false_alarm_rate), "--seed", str(seed))
            chance = numpy.random.default_rng(seed)
            found.append([judge(options, folder, header, test, labels, share, chance)
                          for share in options.shares])
    return numpy.mean(found, axis=0)


def show(name, figures):
    print(f"{name:20}" + "".join(f"   {auc:.4f} {alarms:6.2%}" for auc, alarms in figures),
          flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=TOP / "anomalyctl")
    parser.add_argument("--data", type=pathlib.Path, default=TOP.parent / "shared/quality/data")
    parser.add_argument("--sets", default="", help="names, separated by commas")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--shares", default="0,0.1,0.3", help="of the values that are taken away")
    parser.add_argument("--false-alarm-rate", type=float, default=0.01)
    options = parser.parse_args()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.shares = [float(share) for share in options.shares.split(",")]
    sets = [folder for folder in sorted(options.data.glob("*/"))
            if not options.sets or folder.name in options.sets.split(",")]
    if not sets:
        print(f"missing: no data sets in {options.data}; name a folder with --data")
        sys.exit(77)
    print("ROC AUC, false alarms; with " +
          ", ".join(f"{share:.0%}" for share in options.shares) + " of the values taken away")
    found = []
    for data in sets:
        found.append(measure(options, data))
        show(data.name, found[-1])
    show(f"MEAN of {len(sets)} sets", numpy.mean(found, axis=0))


main()
