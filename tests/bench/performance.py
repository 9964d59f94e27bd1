#!/usr/bin/python3
"""What anomalyd costs beside a handler that does nothing, nginx and services that run the same
network, and whether the goals are met: `make bench`, which builds what this needs.

usage: performance.py [--quick | --smoke] [--only PART,…] [--rounds N] [--soak N] [--loaded]
                      [--json FILE] [--from FILE] [--docs FOLDER] [--peers FOLDER]

Parts: single, batch (requests, all servers in turns), training, stalls, tail, retraining, memory,
start, soak, features, batches, connections, models (curves), detector, profile. Headline is the CPU
time that a request costs its server over all threads, in medians of rounds. Peers that are not
installed are left out; install_peers.sh FOLDER installs them. --loaded: beside a process that keeps
one core busy. --docs writes tables and pictures into performance.md in FOLDER; --from takes the
figures of an earlier run, and with --only measures those parts anew."""
import argparse
import contextlib
import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import performance_cases as cases
import performance_curves as curves
import performance_limits as limits
import performance_profile as profiles
import performance_report as report
import performance_servers as servers
from performance_model import read_safetensors

CURVES = {"features": "features", "batches": "batch", "connections": "connections",
          "models": "models"}
PARTS = ("single", "batch", "training", *limits.PARTS, *CURVES, "detector", "profile")
SMOKE_PARTS = ("single", "batch", "stalls", "memory", "start", "connections")


@dataclasses.dataclass
class Options:
    """How much of everything; the others are shorter."""
    rounds: int = 7
    seconds: float = 0.5
    rows: int = 10000
    widths: tuple = (38, 128)
    training: tuple = ("38,128", 2)
    tail_rows: int = 20000
    retraining: tuple = (50000, 3)
    soak: int = 1000000
    most_connections: int = 1000
    curve_rounds: int = 3
    curve_seconds: float = 0.3
    curve_features: dict = dataclasses.field(default_factory=lambda: {
        preset: [2 ** i for i in range(13)] for preset in curves.PRESETS})
    curve_batches: tuple = (1, 10, 100, 1000, 10000, 100000)
    curve_connections: tuple = (1, 2, 4, 8, 16, 32, 64, 127, 128, 255, 256, 512, 1000)
    curve_models: tuple = (1, 10, 100, 1000, 10000)
    curve_models_seconds: float = 240


def quick():
    return Options(rounds=3, seconds=0.2, training=("38", 1), retraining=(10000, 2), soak=200000,
                   curve_rounds=1, curve_features={"fast": [1, 16, 128, 1024, 4096],
                                                   "best": [1, 16, 128, 1024]},
                   curve_batches=(1, 10, 100, 1000, 10000),
                   curve_connections=(1, 16, 64, 127, 128, 256, 1000),
                   curve_models=(1, 10, 100, 1000), curve_models_seconds=20)


def smoke():
    return Options(rounds=1, seconds=0.05, rows=1500, widths=(38,), soak=2000,
                   most_connections=50, curve_rounds=1, curve_seconds=0.05,
                   curve_connections=(1, 16))


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--soak", type=int)
    parser.add_argument("--loaded", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--from", dest="earlier", type=pathlib.Path)
    parser.add_argument("--docs", type=pathlib.Path)
    parser.add_argument("--peers", type=pathlib.Path, default=servers.BUILD / "build-peers")
    told = parser.parse_args(arguments)
    told.only = told.only or list(SMOKE_PARTS if told.smoke else () if told.earlier else PARTS)
    unknown = set(told.only) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; parts: {', '.join(PARTS)}")
    return told


def progress(words):
    print(f"# {time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def busy_core(is_wanted):
    """Another process that would like a core for itself."""
    if not is_wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run_requests(told, options, inputs):
    wanted = []
    if "single" in told.only:
        wanted += cases.single_cases(inputs, options.widths)
    if "batch" in told.only:
        wanted += cases.batch_cases(inputs, options.widths)
    if told.smoke:
        wanted = [case for case in wanted if case.server in ("nothing", "anomalyd")
                  and "balanced" not in case.name]
    with contextlib.ExitStack() as stack:
        return cases.measure(stack, wanted, inputs, told.peers, options.rounds, options.seconds,
                             progress)


def run_training(options):
    """{features: {who: median run}} by train_peers.py; nothing where the programs are not built."""
    program = servers.BUILD / "tests/bench/bench_training"
    script = servers.BENCH / "peers/train_peers.py"
    if not program.exists() or not script.exists():
        return {}
    features, rounds = options.training
    done = subprocess.run([sys.executable, script, "--features", features, "--rounds", str(rounds),
                           program], stdout=subprocess.PIPE, text=True, check=True)
    runs = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            run = json.loads(line)
            runs.setdefault(str(run["features"]), {}).setdefault(run["who"], []).append(run)
    return {width: {who: dict(sorted(several, key=lambda run: run["seconds"])[len(several) // 2],
                              rounds=several) for who, several in of_width.items()}
            for width, of_width in runs.items()}


def run_detector():
    """What the programs say that measure the detector, and the words of a request, without HTTP."""
    return "\n".join(subprocess.run([servers.BUILD / "tests/bench" / name], check=True,
                                    stdout=subprocess.PIPE, text=True).stdout
                     for name in ("bench_detector", "bench_words"))


def run(told, options):
    results = {"machine": report.machine(told.peers, told.loaded), "options": vars(options)}
    with tempfile.TemporaryDirectory(prefix="performance.") as folder, busy_core(told.loaded):
        inputs = cases.Inputs(folder, options.rows)
        if {"single", "batch"} & set(told.only):
            progress("requests")
            results["cases"] = run_requests(told, options, inputs)
        for name, part in limits.PARTS.items():
            if name in told.only:
                progress(name)
                results[name] = part(inputs, options)
        for name, curve in CURVES.items():
            if name in told.only:
                progress(f"curve over {name}")
                results.setdefault("curves", {})[curve] = curves.PARTS[curve](inputs, options)
        if "training" in told.only:
            progress("training")
            results["training"] = run_training(options)
        if "detector" in told.only:
            progress("detector")
            results["detector"] = run_detector()
        if "profile" in told.only:
            progress("profile")
            results["profile"] = profiles.profile(inputs, options)
        _, metadata = read_safetensors(inputs.model("fast", 38))
        results["machine"]["kernels"] = json.loads(metadata["detector"])["kernel"]
    return results


def merge(earlier, anew):
    """The figures of an earlier run, but those that were measured anew."""
    merged = dict(earlier, **anew)
    for name in ("cases", "curves"):
        if name in earlier or name in anew:
            merged[name] = dict(earlier.get(name, {}), **anew.get(name, {}))
    return merged


def flat(part):
    """The figures of a part on one line."""
    return ", ".join(f"{name.replace('_', ' ')} {report.short(value)}"
                     for name, value in part.items() if isinstance(value, (int, float)))


def sections(results):
    """{name: Markdown} of what was measured; the names are those of the marks in performance.md."""
    out = {"machine": "\n".join(f"- {line}" for line in report.machine_lines(results["machine"]))}
    if "cases" in results:
        out["requests"] = report.case_table(results["cases"])
    if results.get("training"):
        out["training"] = report.training_table(results["training"])
    parts = [f"- {name}: {flat(results[name])}" for name in limits.PARTS if name in results]
    if parts:
        out["limits"] = "\n".join(parts)
    out["goals"] = report.goal_table(results["goals"])
    if "profile" in results:
        out["profile"] = profiles.lines(results["profile"])
    if "detector" in results:
        out["detector"] = f"```\n{results['detector'].rstrip()}\n```"
    return out


def put_between_marks(text, name, body):
    """text with body between <!-- name --> and <!-- /name -->."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, mark, rest = text.partition(begin)
    if not mark or end not in "\n" + rest:
        raise ValueError(f"no marks of {name}")
    return before + begin + body + end + ("\n" + rest).partition(end)[2]


def write_docs(folder, results):
    path = folder / "performance.md"
    text = path.read_text()
    for name, body in sections(results).items():
        text = put_between_marks(text, name, body)
    path.write_text(text)
    pictures = folder / "performance"
    pictures.mkdir(exist_ok=True)
    for name, picture in curves.charts(results.get("curves", {})).items():
        (pictures / name).write_text(picture)


def main():
    told = parse()
    results = json.loads(told.earlier.read_text()) if told.earlier else {}
    if told.only:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 65536 else max(soft, 65536),
                                                    hard))
        options = smoke() if told.smoke else quick() if told.quick else Options()
        options.rounds, options.soak = told.rounds or options.rounds, told.soak or options.soak
        results = merge(results, run(told, options))
    results["goals"] = report.evaluate(results)
    print("\n\n".join(sections(results).values()))
    for name, points in results.get("curves", {}).items():
        print(f"\ncurve over {name}")
        for point in points:
            print("  " + ", ".join(f"{key} {value:.4g}" if isinstance(value, float)
                                   else f"{key} {value}" for key, value in point.items()))
    if told.json:
        told.json.write_text(json.dumps(results, indent=1) + "\n")
    if told.docs:
        write_docs(told.docs, results)


if __name__ == "__main__":
    main()
