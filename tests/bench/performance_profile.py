"""Where the CPU time of a request goes: by `perf`, if there is one that may look."""
import re
import subprocess

import performance_servers as servers
from performance_cases import Inputs, score

N_SYMBOLS = 10
HERTZ = 2999
LINE = re.compile(r"^\s*([0-9.]+)%\s*\|(\S+)\s*\|\[.\] (.*?)\s*$")


def parse(text):
    """(share by program or library, what is dearest outside the kernel as [share, where, name])"""
    objects, symbols = {}, []
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        share, where = float(match.group(1)) / 100, re.sub(r"\.so.*", "", match.group(2))
        where = "kernel" if where.startswith("[kernel") else where
        objects[where] = objects.get(where, 0.0) + share
        if where != "kernel":
            name = re.sub(r"(\.(isra|part|arch|constprop)|@).*", "", match.group(3))
            symbols.append([share, where, name])
    return dict(sorted(objects.items(), key=lambda item: -item[1])), symbols[:N_SYMBOLS]


def record(server, path, file, clients, seconds, data):
    program = servers.which("perf")
    load = server.start_load(path, file, clients, seconds + 0.5)
    try:
        done = subprocess.run(
            [program, "record", "-q", "-F", str(HERTZ), "-p", str(server.pids[0]), "-o", data,
             "--", "sleep", str(seconds)], capture_output=True, text=True, check=False)
    finally:
        told = servers.finish_load(load)
    if done.returncode:
        raise servers.NotThere(f"perf may not look: {done.stderr.strip()}")
    report = subprocess.run(
        [program, "report", "-i", data, "--no-children", "--stdio", "-F", "overhead,dso,symbol",
         "-t", "|"], capture_output=True, text=True, check=True)
    objects, symbols = parse(report.stdout)
    return {"cpu_us": told["cpu_us"], "objects": objects, "symbols": symbols}


def profile(inputs: Inputs, options):
    """{case: …}, or why not."""
    models = {preset: [f"file = {inputs.model(preset, 38)}"] for preset in ("fast", "best")}
    rows, data, seconds = inputs.single(38), inputs.folder / "perf.data", 6 * options.seconds
    try:
        with servers.nothing(inputs.folder) as server:
            out = {"nothing 38": record(server, "/x", rows, 16, seconds, data)}
        with servers.daemon(inputs.folder, models, "profile") as daemon:
            for preset in models:
                out[f"{preset} 38"] = record(daemon, score(preset), rows, 16, seconds, data)
            out["fast 38 batch"] = record(daemon, score("fast"), inputs.batch(38), 4, seconds, data)
        return out
    except servers.NotThere as reason:
        return {"not_there": str(reason)}


def lines(told):
    """Markdown of it."""
    if "not_there" in told:
        return f"No profile: {told['not_there']}."
    out = []
    for name, one in told.items():
        objects = ", ".join(f"{where} {share:.0%}" for where, share in one["objects"].items()
                            if share >= 0.01)
        symbols = ", ".join(f"`{symbol}` {share:.1%}" for share, _, symbol in one["symbols"])
        out.append(f"- **{name}**, {one['cpu_us']:,.0f} µs: {objects}. Dearest outside the kernel: "
                   f"{symbols}")
    return "\n".join(out)
