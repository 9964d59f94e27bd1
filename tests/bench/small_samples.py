#!/usr/bin/env python3
"""How often fresh normal rows are flagged after training on few: the table in docs/quality.md.

Usage: small_samples.py ANOMALYCTL. Takes a few minutes; needs numpy.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy

DRAWS = {20: 20, 50: 12, 200: 10, 1000: 10}
RATES = [0.1, 0.05, 0.01, 0.001]
N_FRESH = 4000


def flagged(program, folder, draw, n_rows, rate):
    mixing = draw.normal(size=(4, 10))

    def write(name, n):
        rows = draw.normal(size=(n, 4)) @ mixing + 0.5 * draw.normal(size=(n, 10))
        numpy.save(folder / name, rows.astype("f4"))
        return folder / name

    model = folder / "model.safetensors"
    subprocess.run(
        [program, "train", "--data", write("train.npy", n_rows), "--output", model,
         "--false-alarm-rate", str(rate)],
        check=True, capture_output=True,
    )  # fmt: skip
    lines = subprocess.run(
        [program, "score", "--model", model, "--data", write("fresh.npy", N_FRESH)],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()[1:]  # fmt: skip
    return sum(line.endswith(",1") for line in lines) / N_FRESH


def main():
    draw = numpy.random.default_rng(3)
    with tempfile.TemporaryDirectory() as folder:
        for n_rows, n_draws in DRAWS.items():
            for rate in RATES:
                found = [flagged(sys.argv[1], pathlib.Path(folder), draw, n_rows, rate)
                         for _ in range(n_draws)]
                print(f"{n_rows:5} rows, asked {rate:5.1%}: {numpy.mean(found):.2%}, "
                      f"worst draw {max(found):.1%}", flush=True)


main()
