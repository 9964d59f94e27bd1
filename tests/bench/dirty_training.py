#!/usr/bin/env python3
"""What anomalies among the training rows cost, and what --trim brings back: the tables under "Dirty
training data" in docs/quality.md.

For each set, seed and share, that many labelled anomalies are taken out of the test rows and mixed
into the training rows at random places (of sets with few at most half of them). Models trained on
these and on the clean rows, with each --trim, judge the test rows that are left.

The folder --data has one for each set: train.csv.gz and test.csv.gz (a header, features only) and
labels.txt.gz (0 or 1 for each test row). Needs numpy. Without data the exit status is 77.
"""

import argparse
import concurrent.futures
import csv
import gzip
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy

TOP = pathlib.Path(__file__).resolve().parents[2]


def read_lines(path):
    with gzip.open(path, "rt") as file:
        return file.read().splitlines()


class Set:
    def __init__(self, folder):
        self.name = folder.name
        self.header, *self.train = read_lines(folder / "train.csv.gz")
        self.test = read_lines(folder / "test.csv.gz")[1:]
        self.labels = numpy.array([int(line) for line in read_lines(folder / "labels.txt.gz")])

    def mix(self, share, seed):
        """The dirty training rows, which of them are anomalies, and the test rows that are left."""
        draw = random.Random(f"{self.name} {share} {seed}")
        anomalies = [int(i) for i in numpy.flatnonzero(self.labels)]
        n = min(round(share / (1 - share) * len(self.train)), len(anomalies) // 2)
        taken = draw.sample(anomalies, n)
        rows = [(row, False) for row in self.train]
        for i in taken:
            rows.insert(draw.randint(0, len(rows)), (self.test[i], True))
        left = numpy.setdiff1d(numpy.arange(len(self.test)), taken)
        return [row for row, _ in rows], numpy.array([planted for _, planted in rows]), left


def roc_auc(errors, labels):
    _, inverse, counts = numpy.unique(errors, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = labels.sum()
    return (ranks[labels == 1].sum() - n * (n + 1) / 2) / (n * (len(labels) - n))


def average_precision(errors, labels):
    distinct, inverse = numpy.unique(-errors, return_inverse=True)
    found = numpy.bincount(inverse, labels, len(distinct))
    precision = numpy.cumsum(found) / numpy.cumsum(numpy.bincount(inverse))
    return (found * precision).sum() / labels.sum()


def train(options, rows, header, trim, seed, folder):
    (folder / "train.csv").write_text("\n".join([header, *rows]) + "\n")
    command = [options.bin, "train", "--data", folder / "train.csv", "--output", folder / "model",
               "--false-alarm-rate", str(options.false_alarm_rate), "--seed", str(seed),
               "--threads", "1", "--json", "--trim", trim, *options.train_args.split()]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def judge(options, data, folder):
    (folder / "test.csv").write_text("\n".join([data.header, *data.test]) + "\n")
    command = [options.bin, "score", "--model", folder / "model", "--data", folder / "test.csv",
               "--format", "csv"]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    verdicts = list(csv.DictReader(done.stdout.splitlines()))
    return (numpy.array([float(verdict["reconstruction_error"]) for verdict in verdicts]),
            numpy.array([verdict["anomaly"] == "1" for verdict in verdicts]))  # fmt: skip


def figures(errors, flags, labels):
    return [roc_auc(errors, labels), average_precision(errors, labels), flags[labels == 0].mean(),
            flags[labels == 1].mean()]  # fmt: skip


def measure(options, data, seed):
    """{(share, trim): figures…, share of the planted rows left out, of the others, seconds}; share
    0 is the clean model, judged on the rows that are left of each share: {(0, trim, share): …}."""
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        mixed = {share: data.mix(share, seed) for share in options.shares}
        clean = (data.train, numpy.zeros(len(data.train), bool), None)
        for share, (rows, planted, left) in [(0, clean), *mixed.items()]:
            for trim in options.trim:
                told = train(options, rows, data.header, trim, seed, folder)
                errors, flags = judge(options, data, folder)
                out = numpy.array(told["trimmed"]["rows"], int)
                is_out = numpy.isin(numpy.arange(len(rows)), out)
                # Only the first 1,000 are listed.
                scale = told["trimmed"]["count"] / max(len(out), 1)
                gone = [scale * is_out[planted].mean() if planted.any() else 0.0,
                        scale * is_out[~planted].mean(), told["seconds"]]  # fmt: skip
                for of, where in [(share, left)] if share else [
                    (of, mixed[of][2]) for of in mixed
                ]:
                    kept = figures(errors[where], flags[where], data.labels[where])
                    results[share, trim, of] = kept + gone
    return results


def show(name, values):
    auc, ap, fpr, recall, planted, normal, seconds = values
    print(f"  {name:22} {auc:.4f} {ap:.4f}  {fpr:6.2%} {recall:6.1%}  {planted:6.1%} {normal:6.2%} "
          f"{seconds:6.2f} s", flush=True)  # fmt: skip


def show_all(options, title, results):
    print(f"{title}: AUC, AP; false alarms, recall; left out of the anomalies, of the others; time")
    for of in options.shares:
        for share in [0, of]:
            for trim in options.trim:
                show(f"{share:4.0%} of {of:4.0%} trim {trim}", results[share, trim, of])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--bin", default=TOP / "anomalyctl")
    parser.add_argument("--data", type=pathlib.Path, default=TOP.parent / "shared/quality/data")
    parser.add_argument("--sets", default="", help="names, separated by commas")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--shares", default="0.01,0.05,0.1")
    parser.add_argument("--trim", default="0,auto,0.05")
    parser.add_argument("--train-args", default="", help="further options of train")
    parser.add_argument("--false-alarm-rate", type=float, default=0.01)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--brief", action="store_true", help="only the means")
    options = parser.parse_args()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.shares = [float(share) for share in options.shares.split(",")]
    options.trim = options.trim.split(",")
    sets = [Set(folder) for folder in sorted(options.data.glob("*/"))
            if not options.sets or folder.name in options.sets.split(",")]  # fmt: skip
    if not sets:
        print(f"dirty_training: no data sets in {options.data}; name a folder with --data")
        sys.exit(77)
    means = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [[pool.submit(measure, options, data, seed) for seed in options.seeds]
                for data in sets]  # fmt: skip
        for data, jobs in zip(sets, runs):
            found = [job.result() for job in jobs]
            mean = {key: numpy.mean([run[key] for run in found], axis=0) for key in found[0]}
            means.append(mean)
            if not options.brief:
                show_all(options, data.name, mean)
    show_all(options, f"MEAN of {len(sets)} sets, seeds {options.seeds}",
             {key: numpy.mean([mean[key] for mean in means], axis=0) for key in means[0]})


main()
