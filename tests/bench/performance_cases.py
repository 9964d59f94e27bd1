"""What `make bench` measures request by request: servers, bodies, rounds in which all take
turns."""
import dataclasses
import json
import pathlib
import statistics
import subprocess
import urllib.error

import numpy

import performance_servers as servers
from performance_model import Network, make_rows

PRESETS = ("fast", "balanced", "best")
BATCH_ROWS = 1000
N_RESTARTS = 3  # of the do-nothing handler a round: its pool deals connections anew each time
TOLERANCE = 1e-4  # of a peer's reconstruction error


class Inputs:
    """Models and bodies in a folder, made when they are first asked for."""

    def __init__(self, folder, n_rows=10000):
        self.folder, self.n_rows = pathlib.Path(folder), n_rows
        self.scored = {}

    def rows(self, n_features):
        """Two thousand that no model has seen, of wide ones fewer."""
        if n_features not in self.scored:
            self.scored[n_features] = make_rows(2000 if n_features <= 256 else 200, n_features, 2)
        return self.scored[n_features]

    def model(self, preset, n_features, n_rows=None, options=()):
        path = self.folder / f"{preset}{n_features}.safetensors"
        if not path.exists():
            data = self.folder / f"train{n_features}.npy"
            if not data.exists():
                numpy.save(data, make_rows(n_rows or self.n_rows, n_features, 1)
                           .astype(numpy.float32))
            subprocess.run([servers.BUILD / "anomalyctl", "train", "--preset", preset, "--data",
                            data, "--output", path, *options], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return path

    def write(self, name, bodies):
        """A file with a line for each body."""
        path = self.folder / name
        if not path.exists():
            path.write_text("".join(json.dumps(body) + "\n" for body in bodies()))
        return path

    def single(self, d):
        return self.write(f"rows{d}.json", lambda: self.rows(d).tolist())

    def named(self, d):
        return self.write(f"named{d}.json", lambda: [
            {"features": {f"f{j}": value for j, value in enumerate(row)}}
            for row in self.rows(d).tolist()])

    def batch(self, d, n_rows=BATCH_ROWS):
        def bodies():
            rows = self.rows(d).tolist()
            n = max(1, len(rows) // n_rows)
            rows *= -(-n_rows * n // len(rows))
            return ({"instances": rows[i * n_rows:(i + 1) * n_rows]} for i in range(n))

        return self.write(f"batch{d}x{n_rows}.json", bodies)

    def npy(self, d):
        path = self.folder / f"batch{d}.npy"
        numpy.save(path, self.rows(d)[:BATCH_ROWS].astype(numpy.float32))
        return path

    def ndjson(self, d):
        return self.write(f"batch{d}.ndjson", lambda: self.rows(d)[:BATCH_ROWS].tolist())


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    server: str
    path: str
    file: pathlib.Path
    rows: int = 1
    clients: int = 16
    options: tuple = ()  # pairs, for http_load

    def load(self, server, seconds):
        return server.load(self.path, self.file, self.clients, seconds, **dict(self.options))

    def check(self, server):
        """NotThere if it answers that it cannot do this, an error if it does not answer 200."""
        options = dict(self.options)
        body = self.file.read_bytes()
        if not options.get("whole"):
            body = body.split(b"\n")[0]
        try:
            return server.ask(self.path, None if options.get("get") else body,
                              options.get("type", "application/json"), options.get("accept"))
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (406, 415):
                    raise servers.NotThere(f"the daemon answers {error.code}") from error
                raise RuntimeError(f"{self.name}: {error.read().decode()}") from error


def score(model):
    return f"/v1/models/{model}/score"


def single_cases(inputs, widths=(38, 128)):
    cases = []
    for d in widths:
        cases.append(Case(f"nothing {d}", "nothing", "/x", inputs.single(d)))
        cases.append(Case(f"nginx {d}", "nginx", "/x", inputs.single(d), options=(("get", True),)))
        for preset in PRESETS:
            cases.append(Case(f"{preset} {d}", "anomalyd", score(f"{preset}{d}"), inputs.single(d)))
        for preset in ("fast", "best"):
            cases.append(Case(f"{preset} {d} named", "anomalyd", score(f"{preset}{d}"),
                              inputs.named(d)))
        for peer in servers.PEERS:
            cases.append(Case(f"{peer} {d}", f"{peer} {d}", "/score", inputs.single(d)))
    cases.append(Case("fast 38 all", "anomalyd", score("all38"), inputs.single(38)))
    return cases


def batch_cases(inputs, widths=(38, 128)):
    def case(name, server, path, file, *options):
        return Case(name, server, path, file, BATCH_ROWS, 4, options)

    cases = []
    for d in widths:
        for preset in PRESETS:
            cases.append(case(f"{preset} {d} batch", "anomalyd", score(f"{preset}{d}"),
                              inputs.batch(d)))
    npy = "application/x-npy"
    cases += [case("fast 38 npy", "anomalyd", score("fast38"), inputs.npy(38), ("type", npy),
                   ("accept", npy), ("whole", True)),
              case("fast 38 ndjson", "anomalyd", score("fast38"), inputs.ndjson(38),
                   ("type", "application/x-ndjson"), ("whole", True))]
    cases += [case(f"{peer} 38 batch", f"{peer} 38", "/score", inputs.batch(38))
              for peer in servers.PEERS]
    return cases


def start(name, inputs, models, modules):
    """The server of that name."""
    if name == "nothing":
        return servers.nothing(inputs.folder)
    if name == "nginx":
        return servers.nginx(inputs.folder)
    if name == "anomalyd":
        return servers.daemon(inputs.folder, models)
    peer, d = name.rsplit(" ", 1)
    return servers.PEERS[peer](inputs.folder, inputs.model("fast", int(d)), modules)


def check_peer(case, server, inputs):
    """A peer does the same work: its reconstruction error is that of the file's network, as the
    daemon's is."""
    told = json.loads(case.check(server))
    told = told.get("results", [told])[0]["reconstruction_error"]
    width = int(case.server.rsplit(" ", 1)[1]) if " " in case.server else 38
    expected = Network(inputs.model("fast", width)).errors(inputs.rows(width)[:1])[0]
    if abs(told - expected) > TOLERANCE * abs(expected):
        raise RuntimeError(f"{case.name} says {told}, expected is {expected}")


def summary(case, rounds):
    """Medians of the rounds, and the quartiles of the CPU time a request."""
    def median(key):
        return statistics.median(key(told) for told in rounds)

    costs = [told["cpu_us"] for told in rounds]
    ticks = [sum(told[key] for told in rounds) for key in ("user_ticks", "kernel_ticks")]
    quartiles = costs * 3
    if len(costs) > 1:
        quartiles = statistics.quantiles(costs, n=4, method="inclusive")
    return {"rows": case.rows, "clients": case.clients, "cpu_us": statistics.median(costs),
            "quartiles": [quartiles[0], quartiles[2]],
            "kernel_share": ticks[1] / sum(ticks) if sum(ticks) else None,
            "requests_per_second": median(lambda told: told["requests"] / told["seconds"]),
            "p50_us": median(lambda told: told["p50_us"]),
            "p99_us": median(lambda told: told["p99_us"]), "rounds": rounds}


def start_all(stack, cases, inputs, models, modules):
    """(the servers by name, cases that are not there with the reason)"""
    running, missing = {}, {}
    for case in cases:
        if case.server not in running:
            try:
                running[case.server] = stack.enter_context(
                    start(case.server, inputs, models, modules))
            except servers.NotThere as reason:
                running[case.server] = reason
        server = running[case.server]
        try:
            if isinstance(server, servers.NotThere):
                raise server
            if case.path == "/score" or case.name == "fast 38":
                check_peer(case, server, inputs)
            else:
                case.check(server)
        except servers.NotThere as reason:
            missing[case.name] = str(reason)
    return running, missing


def measure_nothing(case, inputs, seconds):
    told = []
    for _ in range(N_RESTARTS):
        with servers.nothing(inputs.folder) as server:
            told.append(case.load(server, seconds / N_RESTARTS))
    return told


def measure(stack, cases, inputs, modules, rounds, seconds, progress):
    """{case: summary}, or the reason why it is not there."""
    wanted = {case.path.split("/")[3] for case in cases if case.server == "anomalyd"}
    models = {}
    for name in sorted(wanted - {"all38"}):
        preset = name.rstrip("0123456789")
        models[name] = [f"file = {inputs.model(preset, int(name[len(preset):]))}"]
    if "all38" in wanted:
        models["all38"] = [f"file = {inputs.model('fast', 38)}", "sample_rate = all",
                           "retrain_rows = never"]
    running, missing = start_all(stack, cases, inputs, models, modules)
    cases = [case for case in cases if case.name not in missing]
    results = {case.name: [] for case in cases}
    for case in cases:  # caches, and compilers that work while the program runs
        case.load(running[case.server], seconds * (2 if case.path == "/score" else 0.5))
    for i in range(rounds):
        progress(f"round {i + 1} of {rounds}")
        for case in cases:
            if case.server == "nothing":
                results[case.name] += measure_nothing(case, inputs, seconds)
            else:
                results[case.name].append(case.load(running[case.server], seconds))
    out = {case.name: summary(case, results[case.name]) for case in cases}
    out.update({name: {"not_there": reason} for name, reason in missing.items()})
    return out
