"""Runs the real anomalyctl, and makes small files for it. Values are seeded: every run is alike."""

import json
import os
import random
import subprocess

ANOMALYCTL = os.path.abspath(os.environ.get("ANOMALYCTL", "./anomalyctl"))
FEATURES = ["cpu", "mem", "disk", "net"]
DEADLINE_S = 600  # for seconds: sanitizers and busy machines are slow


def run(*arguments, **options):
    """The finished process; its status is for the test to judge."""
    options.setdefault("stdin", subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [ANOMALYCTL, *map(str, arguments)],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=DEADLINE_S,
        check=False,
        **options,
    )


def succeed(*arguments, **options):
    done = run(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done


def fail(status, *arguments, **options):
    """The one line on stderr, without the program's name; nothing on stdout."""
    done = run(*arguments, **options)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert not done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("anomalyctl: "), done.stderr
    assert not lines[0].endswith(".")
    return lines[0].removeprefix("anomalyctl: ")


def succeed_json(*arguments, **options):
    return json.loads(succeed(*arguments, **options).stdout, parse_constant=refuse_constant)


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def make_rows(n_rows, seed=1):
    """Four features, two of which follow from the others."""
    draw = random.Random(seed)
    rows = []
    for _ in range(n_rows):
        a, b = draw.gauss(0, 1), draw.gauss(0, 1)
        rows.append([a, b, 2 * a + 0.1 * draw.gauss(0, 1), a - b + 0.1 * draw.gauss(0, 1)])
    return rows


def write_csv(path, rows, names=FEATURES, labels=None):
    """Labels make a last column `label`."""
    lines = [",".join([*names, "label"] if labels else names)] if names else []
    for i, row in enumerate(rows):
        cells = ["" if value is None else f"{value:.6g}" for value in row]
        lines.append(",".join(cells + [str(labels[i])] if labels else cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_incidents(path, n_rows=200, first=100, n_broken=20, label="leak"):
    """Normal rows with an incident that breaks what disk has to do with cpu."""
    rows = make_rows(n_rows, seed=2)
    labels = ["0"] * n_rows
    for i in range(first, first + n_broken):
        rows[i][2] += 12
        labels[i] = label
    return write_csv(path, rows, labels=labels)


def train(folder, n_rows=600, name="model.safetensors", preset="fast", **options):
    """A model of make_rows()."""
    data = write_csv(folder / "normal.csv", make_rows(n_rows))
    model = folder / name
    succeed(
        "train", "--data", data, "--output", model, "--false-alarm-rate", 0.05, "--epochs", 100,
        "--preset", preset, **options,
    )
    return model
