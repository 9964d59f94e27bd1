"""How cost grows: over features, rows a request, connections and models. Lists of points, and the
charts of them."""
import os
import statistics
import time

import performance_servers as servers
from performance_cases import score
from performance_svg import Panel, chart

PRESETS = ("fast", "best")
SPEED_ONLY = ("--epochs", "2")  # weights do not change what a row costs
WIDE_ROWS = 2000


def median(rounds, key):
    return statistics.median(told[key] for told in rounds)


def least(rounds, key):
    """Of memory: what an earlier round has left with the allocator is not this point's."""
    return min(told[key] for told in rounds)


def cost(daemon, path, file, options, **more):
    """CPU time a request of 16 connections, µs."""
    return median([daemon.load(path, file, 16, options.curve_seconds, **more)
                   for _ in range(options.curve_rounds)], "cpu_us")


def features(inputs, options):
    """One row of so many features."""
    points = []
    for preset in PRESETS:
        for d in options.curve_features[preset]:
            more = SPEED_ONLY if d > 200 else ()
            model = inputs.model(preset, d, WIDE_ROWS, more)
            with servers.daemon(inputs.folder, {"m": [f"file = {model}"]},
                                f"features-{preset}{d}") as daemon:
                points.append({"preset": preset, "features": d,
                               "cpu_us": cost(daemon, score("m"), inputs.single(d), options),
                               "pss_mib": servers.pss_kib(daemon.pids[0]) / 1024})
            for leftover in (inputs.single(d), inputs.folder / f"train{d}.npy"):
                if d > 1000:
                    leftover.unlink(missing_ok=True)
    return points


def batch(inputs, options):
    """So many rows of 38 features in one request, and the most memory that took."""
    models = {preset: [f"file = {inputs.model(preset, 38)}"] for preset in PRESETS}
    told = {(preset, n): [] for n in options.curve_batches for preset in PRESETS}
    with servers.daemon(inputs.folder, models, "batch") as daemon:
        for _ in range(options.curve_rounds):
            for preset, n in told:
                servers.forget_peak(daemon.pids[0])
                one = daemon.load(score(preset), inputs.batch(38, n), 4 if n < 10000 else 1,
                                  options.curve_seconds)
                told[preset, n].append(dict(one, peak_kib=servers.peak_kib(daemon.pids[0])))
    return [{"preset": preset, "rows": n, "cpu_us_per_row": median(rounds, "cpu_us") / n,
             "peak_mib": least(rounds, "peak_kib") / 1024,
             "body_mib": inputs.batch(38, n).stat().st_size / max(1, 2000 // n) / 2**20,
             "reply_mib": rounds[0]["received"] / rounds[0]["requests"] / 2**20}
            for (preset, n), rounds in told.items()]


def connections(inputs, options):
    """So many open connections, all of which have a request under way."""
    models = {"m": [f"file = {inputs.model('fast', 38)}"]}
    told = {n: [] for n in options.curve_connections}
    with servers.daemon(inputs.folder, models, "connections") as daemon:
        for _ in range(options.curve_rounds):
            for n in told:
                process = daemon.start_load(score("m"), inputs.single(38), n,
                                            options.curve_seconds)
                time.sleep(options.curve_seconds / 2)
                kib = servers.pss_kib(daemon.pids[0])
                one = servers.finish_load(process)
                told[n].append(dict(one, pss_kib=kib, rate=one["requests"] / one["seconds"]))
    return [{"connections": n, "cpu_us": median(rounds, "cpu_us"),
             "requests_per_second": median(rounds, "rate"),
             "pss_mib": least(rounds, "pss_kib") / 1024} for n, rounds in told.items()]


def cpu_ms(daemon):
    return 1e3 * sum(daemon.ticks()) / os.sysconf("SC_CLK_TCK")


def timed_ms(act):
    """How long it takes, and what it returns."""
    begin = time.monotonic()
    value = act()
    return 1e3 * (time.monotonic() - begin), value


def start_models(inputs, options, sections, directory, name):
    """(the daemon when it is ready, figures of its start)"""
    took, daemon = timed_ms(lambda: servers.daemon(inputs.folder, sections, directory,
                                                   options.curve_models_seconds))
    return daemon, {f"{name}_ms": took, f"{name}_cpu_ms": cpu_ms(daemon)}


def reload_one(inputs, daemon, sections, directory):
    """One of the models has another rate."""
    changed = {**sections, "m0": [*sections["m0"], "false_alarm_rate = 0.02"]}
    servers.daemon_config(inputs.folder, daemon.port, changed, directory)
    before = cpu_ms(daemon)
    took, _ = timed_ms(daemon.reload)
    return {"reload_ms": took, "reload_cpu_ms": cpu_ms(daemon) - before}


def models_at(inputs, options, n):
    """n models that learn: their first start, the second one, a reload; all of them asked in turns
    after one again and again; and the start of as many without a store."""
    sections = {f"m{i}": [f"file = {inputs.model('fast', 38)}"] for i in range(n)}
    directory, rows = f"models-{n}", inputs.single(38)
    daemon, point = start_models(inputs, options, sections, directory, "first_start")
    with daemon:
        point["ready_mib"] = servers.pss_kib(daemon.pids[0]) / 1024
        point["cpu_us_hot"] = cost(daemon, score("m0"), rows, options)
        daemon.load(score("m#"), rows, 16, paths=n, requests=2 * n)
        point["cpu_us_all"] = cost(daemon, score("m#"), rows, options, paths=n)
        point["pss_mib"] = servers.pss_kib(daemon.pids[0]) / 1024
        point["metrics_ms"], page = timed_ms(lambda: daemon.ask("/metrics"))
        point["metrics_mib"] = len(page) / 2**20
        point["list_ms"], _ = timed_ms(lambda: daemon.ask("/v1/models"))
    daemon, told = start_models(inputs, options, sections, directory, "second_start")
    with daemon:
        point |= told | reload_one(inputs, daemon, sections, directory)
    daemon, told = start_models(inputs, options, sections, None, "start_without_store")
    with daemon:
        kib = servers.pss_kib(daemon.pids[0])
    return {"models": n, **point, **told, "ready_without_store_mib": kib / 1024}


def models(inputs, options):
    """So many models of preset fast."""
    points = []
    for n in options.curve_models:
        try:
            points.append(models_at(inputs, options, n))
        except servers.NotThere as reason:
            points.append({"models": n,
                           "not_there": f"{reason} after {options.curve_models_seconds} s"})
    return points


PARTS = {"features": features, "batch": batch, "connections": connections, "models": models}


def line(points, x, y, **where):
    """[(x, y), …] of the points that have both and are as `where` says."""
    return [(point[x], point[y]) for point in points if y in point
            and all(point[key] == value for key, value in where.items())]


def by_preset(points, x, y):
    return {preset: line(points, x, y, preset=preset) for preset in PRESETS}


def charts(curves):
    """{file name: SVG} of the curves that there are."""
    out = {}
    if "features" in curves:
        points = curves["features"]
        out["features.svg"] = chart(
            "One row by its number of features", "CPU time a request and memory over features.",
            [Panel("features", "CPU time a request, µs", by_preset(points, "features", "cpu_us"),
                   log_y=True),
             Panel("features", "memory with one model, MiB",
                   by_preset(points, "features", "pss_mib"), log_y=True)])
    if "batch" in curves:
        points = curves["batch"]
        out["batch.svg"] = chart(
            "Rows of 38 features in one request", "CPU time a row and most memory over rows.",
            [Panel("rows a request", "CPU time a row, µs",
                   by_preset(points, "rows", "cpu_us_per_row"), log_y=True),
             Panel("rows a request", "most memory meanwhile, MiB",
                   dict(by_preset(points, "rows", "peak_mib"),
                        **{name: [point for point in line(points, "rows", f"{name}_mib",
                                                          preset="fast") if point[1] > 0.1]
                           for name in ("body", "reply")}),
                   log_y=True)])
    if "connections" in curves:
        points = curves["connections"]
        out["connections.svg"] = chart(
            "Open connections, each with one request at a time",
            "CPU time a request and memory over connections.",
            [Panel("connections", "CPU time a request, µs",
                   {"fast": line(points, "connections", "cpu_us")}),
             Panel("connections", "memory, MiB", {"fast": line(points, "connections", "pss_mib")})])
    if "models" in curves:
        points = curves["models"]
        out["models.svg"] = chart(
            "Models of 38 features, preset fast", "CPU time a request and memory over models.",
            [Panel("models", "CPU time a request, µs",
                   {"one model": line(points, "models", "cpu_us_hot"),
                    "all in turns": line(points, "models", "cpu_us_all")},
                   log_y=True),
             Panel("models", "memory, MiB",
                   {"when ready": line(points, "models", "ready_mib"),
                    "when all were asked": line(points, "models", "pss_mib")}, log_y=True)])
    return out
