#!/usr/bin/python3
"""make bench-learning: the learning loop as a whole, on streams made from labelled data.

usage: learning.py [--data DIR] [--only STREAM,…] [--sets NAME,…] [--seeds 1,2,3] [--preset P]
                   [--backend service|daemon|never|all|unflagged] [--jobs N] [--results FILE]
                   [--table FILE,…]

--data: folders with train.csv.gz, test.csv.gz and labels.txt.gz; servers have incidents.csv.gz too.
Results are lines of JSON, appended to FILE as they come; --table only prints them, with what is
demanded. Exit status 1 if a demand is not met.
"""
import argparse
import concurrent.futures
import json
import pathlib
import shutil
import sys
import tempfile
import time
import zlib

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import learning_streams as streams
from learning_backends import Daemon, Naive, Service

TOP = pathlib.Path(__file__).resolve().parents[2]
SETS = ["32_shuttle", "23_mammography", "smd_1-2"]
LARGE = ["32_shuttle", "smd_1-2"] # of the others 0.1 % are eleven rows
SERVERS = ["smd_1-2", "smd_2-3", "smd_3-4"]
SHORT_SERVERS = ["asd_1", "asd_5", "asd_9"] # three days: 2,000 rows without an answer are half of it
BASELINES = ("never", "all", "unflagged")


class Stream:
    """One line of the table: how it is run, what must hold of the mean over sets and seeds
    (mean of a figure unless `each` is said), and whether the naive ways are worth a look."""

    def __init__(self, title, demand, run, holds, on=SETS, baselines=(), **config):
        self.title, self.demand, self.run, self.holds = title, demand, run, holds
        self.on, self.baselines, self.config = on, baselines, config


def every(results, key, test):
    return all(test(result[key]) for result in results)


def mean(results, key):
    return float(numpy.mean([result[key] for result in results]))


def stuck(pool):
    """A third of the features, those that move, at the largest value they ever had."""
    moving = numpy.argsort(-pool.sd / (numpy.abs(pool.normal).max(axis=0) + 1e-9))
    columns = moving[:max(pool.n_features // 3, 2)]

    def change(rows):
        rows = rows.copy()
        rows[:, columns] = pool.normal.max(axis=0)[columns]
        return rows + 0.02 * pool.sd * numpy.random.default_rng(1).standard_normal(rows.shape)
    return change


def shift(pool, sd):
    return lambda rows: rows + sd * pool.sd


STREAMS = {
    "stationary-1": Stream(
        "stationary, 50 retrains, α = 1 %",
        "each in 0.5–2 α, mean 0.85–1.15 α, AUC −0.01 at most",
        lambda b, p, r: streams.stationary(b, p, r, 0.01, 50),
        lambda got: every(got, "within", lambda x: x == 1) and 0.85 <= mean(got, "mean") <= 1.15
        and every(got, "auc_change", lambda x: x >= -0.01),
        baselines=("all", "unflagged")),
    "stationary-0.1": Stream(
        "stationary, 50 retrains, α = 0.1 %, M = 20/α",
        "mean 0.7–1.4 α, 90 % within 0.5–2 α",
        lambda b, p, r: streams.stationary(b, p, r, 0.001, 50, 80000, 50000),
        lambda got: 0.7 <= mean(got, "mean") <= 1.4 and mean(got, "within") >= 0.9, on=LARGE,
        buffer_rows=80000, false_alarm_rate=0.001),
    "slow-0.1": Stream(
        "slow shift 0 → 3 sd, 0.1 sd per 5,000 rows", "≤ 3 α on the way, ≤ 1.5 α at the end",
        lambda b, p, r: streams.slow_shift(b, p, r, 0.01, 0.1),
        lambda got: mean(got, "most") <= 3 and mean(got, "end") <= 1.5,
        baselines=("never",)),
    "slow-0.2": Stream(
        "slow shift 0 → 3 sd, 0.2 sd per 5,000 rows", "≤ 3 α on the way, ≤ 1.5 α at the end",
        lambda b, p, r: streams.slow_shift(b, p, r, 0.01, 0.2),
        lambda got: mean(got, "most") <= 3 and mean(got, "end") <= 1.5,
        baselines=("never", "unflagged")),
    "fast-0.5": Stream(
        "shift of 0.5 sd per 5,000 rows", "follows, or regime_change within 500 rows",
        lambda b, p, r: streams.fast_shift(b, p, r, 0.01, 0.5),
        lambda got: every(got, "rows_to_ask", lambda x: x <= 500)),
    "fast-2": Stream(
        "shift of 2 sd per 5,000 rows", "follows, or regime_change within 500 rows",
        lambda b, p, r: streams.fast_shift(b, p, r, 0.01, 2.0),
        lambda got: every(got, "rows_to_ask", lambda x: x <= 500)),
    "step-3": Stream(
        "step of 3 sd, then “normal”", "≤ 2 α within 2,000 rows and 4 retrains; old ≤ 3 α",
        lambda b, p, r: streams.step_normal(b, p, r, 0.01, 3),
        lambda got: every(got, "rows", lambda x: x <= 2000) and
        every(got, "retrains", lambda x: x <= 4) and mean(got, "old") <= 3,
        baselines=("never", "unflagged")),
    "step-6": Stream(
        "step of 6 sd, then “normal”", "≤ 2 α within 2,000 rows and 4 retrains; old ≤ 3 α",
        lambda b, p, r: streams.step_normal(b, p, r, 0.01, 6),
        lambda got: every(got, "rows", lambda x: x <= 2000) and
        every(got, "retrains", lambda x: x <= 4) and mean(got, "old") <= 3,
        baselines=("unflagged",)),
    "step-unanswered": Stream(
        "step of 6 sd without an answer", "no row of it stored, incident open to the end",
        lambda b, p, r: streams.unanswered(b, p, r, shift(p, 6)),
        lambda got: every(got, "stored", lambda x: x == 0) and every(got, "open", bool)),
    "stuck": Stream(
        "features stuck at their maximum, no answer",
        "no row of it stored, incident open to the end",
        lambda b, p, r: streams.unanswered(b, p, r, stuck(p)),
        lambda got: every(got, "stored", lambda x: x == 0) and every(got, "open", bool)),
    "frozen": Stream(
        "frozen collector", "at most 16 rows stored, event",
        lambda b, p, r: streams.frozen(b, p, r),
        lambda got: every(got, "stored", lambda x: x <= 16) and
        every(got, "told", lambda x: x >= 1)),
    "bursts": Stream(
        "5 % anomalies in bursts of 200, ten retrains",
        "AUC −0.02 at most, detectable admitted ≤ 1 %, normal rows quarantined ≤ 5 %",
        lambda b, p, r: streams.bursts(b, p, r, 0.01),
        lambda got: every(got, "auc_change", lambda x: x >= -0.02) and
        mean(got, "admitted") <= 0.01 and mean(got, "quarantined") <= 0.05),
    "candidates": Stream(
        "bad candidates",
        "all of noise, frozen, narrow, too few rows refused; good ones pass ≥ 98 %",
        lambda b, p, r: streams.candidates(b, p, r, 0.01),
        lambda got: every(got, "bad_through", lambda x: x == 0) and mean(got, "good") >= 0.98,
        retrain_rows="never"),
    "drift-alarms": Stream(
        "drift meter, exchangeable rows", "≤ 2 % false alarms per 20,000 rows",
        lambda b, p, r: streams.drift_alarms(b, p, r),
        lambda got: mean(got, "alarms") <= 0.02, buffer_rows=30000, retrain_rows=100000000),
    "real-order": Stream(
        "real order, servers, follow_after = 2000", "incidents hit ≥ 90 %, false alarms ≤ 6 %",
        lambda b, p, r: streams.real_order(b, p, 0.01),
        lambda got: mean(got, "hit") >= 0.9 and mean(got, "false_alarms") <= 0.06,
        on=SERVERS, baselines=BASELINES, follow_after=2000, min_rows=3000),
    "real-order-short": Stream(
        "real order, servers of three days, follow_after = 500", "none",
        lambda b, p, r: streams.real_order(b, p, 0.01), lambda got: True,
        on=SHORT_SERVERS, baselines=BASELINES, follow_after=500, min_rows=3000),
}
for _sd, _most in ((0.25, 400), (0.5, 150), (1, 50)):
    STREAMS[f"drift-{_sd}"] = Stream(
        f"drift meter, shift of {_sd} sd of the score", f"≤ {_most} rows",
        lambda b, p, r, sd=_sd: streams.drift_delay(b, p, r, sd),
        lambda got, most=_most: mean(got, "delay") <= most,
        buffer_rows=30000, retrain_rows=100000000)
for _share in (1, 2):
    STREAMS[f"poison-{_share}"] = Stream(
        f"slow poisoning, β = {_share} %, 40 retrains", "never passes",
        lambda b, p, r, share=_share: streams.poisoning(b, p, r, share / 100),
        lambda got: every(got, "passed", lambda x: x == 0), baselines=("all", "unflagged"))
for _share in (5, 15):
    STREAMS[f"poison-{_share}"] = Stream(
        f"slow poisoning, β = {_share} %", "`excess` in the first batch, survives ≥ 8 retrains",
        lambda b, p, r, share=_share: streams.poisoning(b, p, r, share / 100, retrains=16),
        lambda got: every(got, "excess_at", lambda x: x == 1) and
        every(got, "passed", lambda x: x == 0 or x > 8), baselines=("unflagged",))
    STREAMS[f"poison-{_share}-strict"] = Stream(
        f"slow poisoning, β = {_share} %, strict, 40 retrains", "never passes",
        lambda b, p, r, share=_share: streams.poisoning(b, p, r, share / 100),
        lambda got: every(got, "passed", lambda x: x == 0), strict="yes")


def make_backend(kind, folder, stream, n_features, preset):
    driver = TOP / "tests/bench/learning_driver"
    if kind in BASELINES:
        return Naive(folder, driver, TOP / "anomalyctl", n_features, kind,
                     rate=stream.config.get("false_alarm_rate", 0.01), preset=preset)
    keys = dict(stream.config, preset=preset)
    if kind == "daemon":
        return Daemon(folder, TOP / "anomalyd", n_features, **keys)
    return Service(folder, driver, n_features, **keys)


def run(task):
    name, place, seed, kind, preset, data, scratch = task
    stream, begin = STREAMS[name], time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}.", dir=scratch))
    random = numpy.random.default_rng(1000 * seed + zlib.crc32(f"{name} {place}".encode()) % 1000)
    result = {"stream": name, "set": place, "seed": seed, "backend": kind, "preset": preset}
    try:
        if stream.on in (SERVERS, SHORT_SERVERS):
            pool = streams.read_server(data / place)
            n_features = pool[0].shape[1]
        else:
            pool = streams.read_pool(data / place)
            n_features = pool.n_features
        backend = make_backend(kind, folder, stream, n_features, preset)
        try:
            result.update(stream.run(backend, pool, random))
        finally:
            backend.close()
        shutil.rmtree(folder)
    except (RuntimeError, OSError, ValueError, KeyError, IndexError) as problem:
        result["problem"] = f"{type(problem).__name__}: {problem} ({folder})"
    result["seconds"] = round(time.monotonic() - begin, 1)
    return result


def show(value):
    return f"{value:.4g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


COMMON = ("stream", "set", "seed", "backend", "preset", "seconds", "problem")


def print_table(results):
    """Means over sets and seeds, the range where there is one. True: all that is demanded holds."""
    is_good = True
    print("| stream | demand | backend | runs | measured | holds |\n|---|---|---|---|---|---|")
    for name, stream in STREAMS.items():
        for kind in ("service", "daemon") + BASELINES:
            got = [r for r in results if r["stream"] == name and r["backend"] == kind]
            if not got:
                continue
            broken = [r for r in got if "problem" in r]
            got = [r for r in got if "problem" not in r]
            figures = []
            for key in [key for key in (got[0] if got else {}) if key not in COMMON]:
                values = [float(r[key]) for r in got]
                figures.append(f"{key} {show(mean(got, key))}" + (
                    f" ({show(min(values))}–{show(max(values))})" if min(values) < max(values) else ""))
            holds = not broken and stream.holds(got)
            if kind in ("service", "daemon"):
                is_good = is_good and holds
            print(f"| {stream.title} | {stream.demand} | {kind} | {len(got)}"
                  f"{f' + {len(broken)} failed' if broken else ''} | {', '.join(figures)} | "
                  f"{'yes' if holds else 'no'} |")
    return is_good


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=TOP.parent / "shared/quality/data")
    parser.add_argument("--only", default="")
    parser.add_argument("--sets", default="")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--preset")
    parser.add_argument("--backend", default="service")
    parser.add_argument("--baselines", action="store_true", help="the naive ways too, where they tell something")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--table", default="")
    options = parser.parse_args()
    for name in options.only.split(",") if options.only else []:
        if name not in STREAMS:
            parser.error(f"--only {name}: there is no such stream; there are {', '.join(STREAMS)}")
    return options


def tasks_of(options, scratch):
    for name in options.only.split(",") if options.only else STREAMS:
        stream = STREAMS[name]
        kinds = [options.backend] + (list(stream.baselines) if options.baselines else [])
        for place in options.sets.split(",") if options.sets else stream.on:
            for seed in [int(seed) for seed in options.seeds.split(",")]:
                for kind in kinds:
                    yield name, place, seed, kind, options.preset, options.data, scratch


def main():
    options = parse()
    results = []
    if options.table:
        for path in options.table.split(","):
            results += [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
        return 0 if print_table(results) else 1
    if not options.data.is_dir():
        print(f"learning.py: {options.data}: no data here; name its folder with --data", file=sys.stderr)
        return 2
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="learning."))  # what failed stays in it
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed(
                [pool.submit(run, task) for task in tasks_of(options, scratch)]):
            results.append(done.result())
            line = streams.dumps(results[-1])
            print(line, file=sys.stderr, flush=True)
            if options.results:
                with open(options.results, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
    if not any(scratch.iterdir()):
        scratch.rmdir()
    return 0 if print_table(results) else 1


if __name__ == "__main__":
    sys.exit(main())
