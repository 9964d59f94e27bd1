"""What `make bench` says: the machine, one table, the goals and whether they are met."""
import dataclasses
import os
import pathlib
import platform
import re
import subprocess
import typing

import performance_servers as servers


def first_line(command, pattern=r".*"):
    """What a program says of its version, or None if there is no such program."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
    except OSError:
        return None
    found = re.search(pattern, done.stdout)
    return found.group(0) if found and done.returncode == 0 else None


def cpu_model():
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def compiler():
    """The one that the build tree was configured with, and its flags."""
    text = (servers.BUILD / "Makefile").read_text() if (servers.BUILD / "Makefile").exists() else ""
    found = {name: match.group(1).strip() for name in ("CC", "CFLAGS")
             if (match := re.search(rf"^{name} = (.*)$", text, re.M))}
    version = first_line(found.get("CC", "cc").split() + ["--version"])
    return f"{version}, CFLAGS {found.get('CFLAGS', '?')}"


def module_version(name):
    from importlib import metadata
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def node_version(modules, name):
    try:
        text = (modules / "node_modules" / name / "package.json").read_text()
    except OSError:
        return None
    return re.search(r'"version":\s*"([^"]+)"', text).group(1)


def machine(modules, is_loaded):
    libraries = {name: first_line(["pkg-config", "--modversion", name])
                 for name in ("libmicrohttpd", "openblas", "jansson", "sqlite3")}
    libraries.update({name: module_version(name)
                      for name in ("torch", "fastapi", "uvicorn", "flask", "waitress",
                                   "scikit-learn", "numpy")})
    libraries.update({name: node_version(modules, name)
                      for name in ("fastify", "onnxruntime-node")})
    libraries["node"] = first_line(["node", "--version"])
    try:
        libraries["nginx"] = first_line([servers.which("nginx"), "-v"], r"(?<=nginx/).*")
    except servers.NotThere:
        pass
    return {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)),
            "kernel": f"{platform.system()} {platform.release()}", "compiler": compiler(),
            "anomalyd": first_line([servers.BUILD / "anomalyd", "--version"]),
            "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE"),
            "load_before": round(os.getloadavg()[0], 2),
            "a_core_is_busy_with_something_else": is_loaded,
            "libraries": {name: version for name, version in libraries.items() if version}}


def machine_lines(told):
    libraries = ", ".join(f"{name} {version}" for name, version in told["libraries"].items())
    lines = [f"{told['cpu']}, {told['cores']} cores, {told['kernel']}", told["compiler"],
             f"{told['anomalyd']}, kernels: {told.get('kernels', 'unknown')}", libraries,
             f"load before: {told['load_before']}"]
    if told["a_core_is_busy_with_something_else"]:
        lines.append("a second process kept one core busy all the time")
    return lines


# ---- the table ----

def base_of(name, cases):
    """The do-nothing handler that read the same body."""
    width = re.search(r"\b\d+\b", name)
    return cases.get(f"nothing {width.group(0)}") if width else None


def markdown(head, rows):
    """A table; the first column is text, the others are numbers."""
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))) + " |"
             for row in [head] + rows]
    lines.insert(1, "|" + "|".join(("-" * (width + 2) if i == 0 else "-" * (width + 1) + ":")
                                   for i, width in enumerate(widths)) + "|")
    return "\n".join(lines)


def short(value):
    """Three digits that count; whole numbers as they are."""
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def case_table(cases):
    head = ["case", "CPU µs a request", "quartiles", "in the kernel", "× nothing",
            "rows/s a core", "requests/s", "p50 µs", "p99 µs"]
    rows = []
    for name, told in cases.items():
        if "not_there" in told:
            rows.append([f"{name}: not there, {told['not_there']}"] + ["–"] * 8)
            continue
        base = base_of(name, cases)
        has_ratio = told["rows"] == 1 and base and "cpu_us" in base
        rows.append([name, short(told["cpu_us"]),
                     "–".join(short(quartile) for quartile in told["quartiles"]),
                     f"{told['kernel_share']:.0%}" if told["kernel_share"] is not None else "",
                     f"{told['cpu_us'] / base['cpu_us']:.2f}" if has_ratio else "",
                     f"{1e6 * told['rows'] / told['cpu_us']:,.0f}",
                     short(told["requests_per_second"]), short(told["p50_us"]),
                     short(told["p99_us"])])
    return markdown(head, rows)


def training_table(training):
    head = ["50,000 rows, 20 passes", "features", "CPU s", "× ours", "loss", "of the FMA peak"]
    rows = []
    for features, runs in training.items():
        ours = runs.get("anomalyd", {}).get("seconds")
        for who, run in runs.items():
            rows.append([who, features, f"{run['seconds']:.2f}",
                         f"{run['seconds'] / ours:.1f}" if ours else "", f"{run['loss']:.4f}",
                         f"{run['share_of_peak']:.0%}" if "share_of_peak" in run else ""])
    return markdown(head, rows)


# ---- the goals ----

@dataclasses.dataclass(frozen=True)
class Goal:
    text: str
    least: bool  # the limit is the least that will do, else the most
    limit: float
    figure: typing.Callable
    unit: str = "×"


def cost(results, name):
    return results["cases"][name]["cpu_us"]


def over_nothing(name, width):
    return lambda results: cost(results, name) / cost(results, f"nothing {width}")


def rows_a_second(name):
    return lambda results: 1e6 * results["cases"][name]["rows"] / cost(results, name)


def over(name, other):
    return lambda results: cost(results, other) / cost(results, name)


def trained(features, who):
    def figure(results):
        runs = results["training"][str(features)]
        return runs[who]["seconds"] / runs["anomalyd"]["seconds"]
    return figure


def worst_loss(results):
    """Our loss over the least of a peer, where that is worst."""
    return max(runs["anomalyd"]["loss"] / min(run["loss"] for who, run in runs.items()
                                              if who != "anomalyd")
               for runs in results["training"].values() if len(runs) > 1)


def of_part(part, *names):
    """The figure of a part, or the ratio of two."""
    def figure(results):
        values = [results[part][name] for name in names]
        return values[0] if len(values) == 1 else values[0] / values[1]
    return figure


def points(results, curve, x, y):
    return {point[x]: point[y] for point in results["curves"][curve] if y in point}


def hot_model(results):
    at = points(results, "models", "models", "cpu_us_hot")
    return at[10000] / at[1]


GOALS = [
    Goal("one row of 38, `fast`, CPU over the do-nothing handler", False, 1.15,
         over_nothing("fast 38", 38)),
    Goal("one row of 38, `balanced`, the same", False, 1.4, over_nothing("balanced 38", 38)),
    Goal("one row of 38, `best`, the same", False, 1.5, over_nothing("best 38", 38)),
    Goal("one row of 128, `fast`, the same", False, 1.4, over_nothing("fast 128", 128)),
    Goal("`sample_rate = all`: median latency over that at the default", False, 1.1,
         lambda results: results["cases"]["fast 38 all"]["p50_us"]
         / results["cases"]["fast 38"]["p50_us"]),
    Goal("1000 × 38 JSON, `fast`, rows a second and core", True, 1e6,
         rows_a_second("fast 38 batch"), "rows/s"),
    Goal("1000 × 38 JSON, `best`, rows a second and core", True, 180e3,
         rows_a_second("best 38 batch"), "rows/s"),
    Goal("1000 × 38 JSON, `fast`, faster than fastify + onnxruntime-node", True, 9,
         over("fast 38 batch", "fastify + onnxruntime-node 38 batch")),
    Goal("`.npy` in and out faster than JSON", True, 3, over("fast 38 npy", "fast 38 batch")),
    Goal("training, 38 features, faster than torch", True, 12, trained(38, "torch")),
    Goal("training, 38 features, faster than scikit-learn", True, 10, trained(38, "scikit-learn")),
    Goal("training, 128 features, faster than torch", True, 3.5, trained(128, "torch")),
    Goal("training, 128 features, faster than scikit-learn", True, 3.5,
         trained(128, "scikit-learn")),
    Goal("loss reached over the best peer's", False, 1.05, worst_loss),
    Goal("training, 38 features, share of the core's FMA peak", True, 0.45,
         lambda results: results["training"]["38"]["anomalyd"]["share_of_peak"], ""),
    Goal("training, 128 features, share of the core's FMA peak", True, 0.60,
         lambda results: results["training"]["128"]["anomalyd"]["share_of_peak"], ""),
    Goal("requests a second at 128 connections over those at 127", True, 0.8,
         of_part("stalls", "requests_per_second_128", "requests_per_second_127")),
    Goal("requests a second at 256 connections over those at 255", True, 0.8,
         of_part("stalls", "requests_per_second_256", "requests_per_second_255")),
    Goal("least share of the connections that a worker carries", True, 1 / 3,
         of_part("stalls", "least_share_of_connections"), ""),
    Goal("p99 of single rows beside 20,000-row batches over that without", False, 3,
         of_part("tail", "ratio")),
    Goal("p99 of single rows while a model is trained over that without", False, 1.25,
         of_part("retraining", "ratio")),
    Goal("memory after the load, ten `fast` models, 16 connections", False, 16,
         of_part("memory", "fast_mib"), "MiB"),
    Goal("memory after the load, ten `best` models, 16 connections", False, 40,
         of_part("memory", "best_mib"), "MiB"),
    Goal("start to ready, ten `fast` models", False, 30, of_part("start", "fast_ms"), "ms"),
    Goal("start to ready, ten `best` models", False, 30, of_part("start", "best_ms"), "ms"),
    Goal("growth of memory after the first 100,000 requests", False, 0.05,
         of_part("soak", "growth"), ""),
    Goal("memory a connection, of 1,000", False, 20, of_part("memory", "kib_a_connection"), "KiB"),
    Goal("a hot model among 10,000 over a single one", False, 1.1, hot_model),
]


def evaluate(results):
    """One a goal: text, goal, measured (None: it was not) and whether it is met."""
    told = []
    for goal in GOALS:
        try:
            measured = goal.figure(results)
        except (KeyError, ValueError):
            measured = None
        is_met = None
        if measured is not None:
            is_met = bool(measured >= goal.limit if goal.least else measured <= goal.limit)
        told.append({"goal": goal.text, "least": goal.least, "limit": goal.limit,
                     "unit": goal.unit, "measured": measured, "met": is_met})
    return told


def amount(value, unit):
    """A figure with its unit; a number without one that is no ratio is a share."""
    if unit == "":
        return f"{value:.1%}"
    return f"{short(value) if value >= 0 else '−' + short(-value)} {unit}"


def goal_table(goals):
    rows = [[told["goal"], ("≥ " if told["least"] else "≤ ") + amount(told["limit"], told["unit"]),
             amount(told["measured"], told["unit"]), "met" if told["met"] else "**not met**"]
            for told in goals if told["measured"] is not None]
    rest = [told["goal"] for told in goals if told["measured"] is None]
    out = markdown(["goal", "limit", "measured", ""], rows) if rows else ""
    return out + (f"\n\nNot measured: {'; '.join(rest)}." if rest else "")
