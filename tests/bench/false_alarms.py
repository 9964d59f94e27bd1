#!/usr/bin/python3
"""Whether the false-alarm rate that was asked for is the one that fresh normal rows get.

For every set (a folder with train.csv.gz, test.csv.gz and labels.txt.gz) and seed a model is
trained with no other option, and the normal rows of the test file are flagged at the thresholds
that `anomalyctl inspect` gives for 10 %, 1 % and 0.1 %.

Beside each stands the sampling error: the middle 95 % of what an exact threshold would give. With
m calibration rows the probability of an alarm is spread as Beta((m + 1) rate, (m + 1) (1 - rate)),
and alarms on n fresh rows are binomial with that (Angelopoulos & Bates 2021, section 3.2).

Sets in time order stand apart: normal has moved between their training and test rows, and no
threshold of the past promises anything. With --rows N each seed draws N of the training rows.
Without data the exit status is 77.
"""

import argparse
import csv
import gzip
import json
import math
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
RATES = [0.1, 0.01, 0.001]
IN_TIME = ("asd_", "skab_", "smd_")


def log_beta(a, b):
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def interval(rate, n_calibration, n_rows):
    """The middle 95 % of the alarms on n_rows."""
    a, b = (n_calibration + 1) * rate, (n_calibration + 1) * (1 - rate)
    below, low = 0.0, None
    for k in range(n_rows + 1):
        below += math.exp(
            math.lgamma(n_rows + 1) - math.lgamma(k + 1) - math.lgamma(n_rows - k + 1)
            + log_beta(k + a, n_rows - k + b) - log_beta(a, b)
        )  # fmt: skip
        if low is None and below > 0.025:
            low = k
        if below >= 0.975:
            return low, k
    return low, n_rows


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def unpack(source, target):
    with gzip.open(source) as packed, open(target, "wb") as plain:
        shutil.copyfileobj(packed, plain)
    return target


def draw(path, n_rows, seed):
    """Keeps n_rows of the file, in their order; 0: all."""
    head, *rows = path.read_text().splitlines(keepends=True)
    if 0 < n_rows < len(rows):
        drawn = sorted(random.Random(seed).sample(range(len(rows)), n_rows))
        path.write_text(head + "".join(rows[i] for i in drawn))


def measure(program, folder, seed, n_rows, scratch):
    """For each rate: alarms, normal rows, calibration rows, what the threshold rests on."""
    train = unpack(folder / "train.csv.gz", scratch / "train.csv")
    draw(train, n_rows, seed)
    test = unpack(folder / "test.csv.gz", scratch / "test.csv")
    model = scratch / "model.safetensors"
    run(program, "train", "--data", train, "--output", model, "--seed", str(seed))
    calibration = json.loads(run(program, "inspect", "--json", model))["calibration"]
    thresholds = {each["false_alarm_rate"]: each for each in calibration["thresholds"]}
    scored = csv.DictReader(run(program, "score", "--model", model, "--data", test).splitlines())
    with gzip.open(folder / "labels.txt.gz", "rt") as labels:
        errors = [float(row["reconstruction_error"])
                  for row, label in zip(scored, labels, strict=True) if int(label) == 0]
    return {rate: (sum(error > thresholds[rate]["threshold"] for error in errors), len(errors),
                   calibration["rows"], thresholds[rate]["threshold_basis"]) for rate in RATES}


def percent(share):
    return f"{100 * share:.2f}"


def row_of(name, runs, within):
    """A line of the table; counts in within[rate] the runs inside the sampling error."""
    cells = []
    for rate in RATES:
        found = [run[rate] for run in runs]
        inside = 0
        for alarms, n_rows, n_calibration, _ in found:
            low, high = interval(rate, n_calibration, n_rows)
            inside += low <= alarms <= high
        within[rate].append((inside, len(found)))
        n_rows, basis = found[0][1], found[0][3]
        mean = sum(alarms for alarms, *_ in found) / len(found) / n_rows
        cells.append(f"{percent(mean)} ({percent(low / n_rows)} to {percent(high / n_rows)}), "
                     f"{inside}/{len(found)}{'' if basis == 'conformal' else ', ' + basis}")
    return f"| `{name}` | {runs[0][RATES[0]][2]} | {runs[0][RATES[0]][1]} | " + " | ".join(cells) + " |"


def mean_row(measured, within):
    cells = []
    for rate in RATES:
        means = [sum(run[rate][0] / run[rate][1] for run in runs) / len(runs) for runs in measured]
        inside = sum(n for n, _ in within[rate])
        cells.append(f"**{percent(sum(means) / len(means))}**, within in {inside} of "
                     f"{sum(n for _, n in within[rate])} runs")
    return "| **all** | | | " + " | ".join(cells) + " |"


def print_table(title, folders, arguments):
    print(f"\n{title}\n\n| set | calibration rows | normal test rows | asked 10 % | asked 1 % | "
          "asked 0.1 % |\n|---|---|---|---|---|---|")
    within, measured = {rate: [] for rate in RATES}, []
    for folder in folders:
        with tempfile.TemporaryDirectory() as scratch:
            measured.append([measure(arguments.bin, folder, int(seed), arguments.rows,
                                     pathlib.Path(scratch))
                             for seed in arguments.seeds.split(",")])
        print(row_of(folder.name, measured[-1], within), flush=True)
    if folders:
        print(mean_row(measured, within))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", default=TOP / "anomalyctl")
    parser.add_argument("--data", type=pathlib.Path, default=TOP.parent / "shared/quality/data")
    parser.add_argument("--sets", default="", help="names, separated by commas")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--rows", type=int, default=0)
    arguments = parser.parse_args()
    wanted = arguments.sets.split(",") if arguments.sets else None
    folders = [path for path in sorted(arguments.data.glob("*/"))
               if (path / "labels.txt.gz").exists() and (not wanted or path.name in wanted)]
    if not folders:
        print(f"false_alarms: no data sets in {arguments.data}; name a folder with --data")
        return 77
    in_time = [folder for folder in folders if folder.name.startswith(IN_TIME)]
    print_table("Rows drawn at random:", [folder for folder in folders if folder not in in_time],
                arguments)
    if in_time:
        print_table("Rows in time order:", in_time, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
