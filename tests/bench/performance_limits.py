"""What `make bench` asks of the daemon beyond the cost of a request: no stalls, no waiting behind
others, little memory, a quick start, nothing that grows."""
import socket
import statistics
import time

import latency
import performance_servers as servers
from performance_cases import score

CONNECTIONS = (127, 128, 255, 256)  # libmicrohttpd's own epoll stalls at k * 128 ready sockets
N_SHARED = 64
N_LOOKS = 6  # at memory, after the first 100,000 requests of a soak


def one_model(inputs, directory, preset="fast"):
    return servers.daemon(inputs.folder, {"m": [f"file = {inputs.model(preset, 38)}"]}, directory)


def ten_models(inputs, preset):
    return {f"m{i}": [f"file = {inputs.model(preset, 38)}"] for i in range(10)}


def connect_and_score(port, body, n):
    """Open connections that have had an answer each."""
    clients = []
    for _ in range(n):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"POST /v1/models/m/score HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n"
                       % len(body) + body)
        if not client.recv(65536).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError("no answer on a new connection")
        clients.append(client)
    return clients


def stalls(inputs, options):
    """Requests a second at numbers of connections around those that stall, and the least share of
    open connections that a worker has."""
    rates = {n: [] for n in CONNECTIONS}
    with one_model(inputs, "stalls") as daemon:
        sockets = servers.Sockets(daemon.pids[0])
        body = inputs.single(38).read_bytes().split(b"\n")[0]
        clients = connect_and_score(daemon.port, body, N_SHARED)
        shares = sockets.shares()
        for client in clients:
            client.close()
        for _ in range(options.rounds):
            for n in CONNECTIONS:
                told = daemon.load(score("m"), inputs.single(38), n, options.seconds)
                rates[n].append(told["requests"] / told["seconds"])
    out = {f"requests_per_second_{n}": statistics.median(rates[n]) for n in CONNECTIONS}
    return dict(out, least_share_of_connections=min(shares) if len(shares) > 1 else 0.0,
                rounds=rates)


def tail(inputs, options):
    """p99 of clients that send single rows, some on each worker, with and without one that sends
    large batches."""
    n_rows = options.tail_rows
    batch = inputs.batch(38, n_rows)
    alone, beside, ratios, nothing_beside = [], [], [], []
    with one_model(inputs, "tail") as daemon, servers.nothing(inputs.folder) as nothing:
        def singles(server=daemon, path=score("m")):
            return server.load(path, inputs.single(38), 4, 2 * options.seconds,
                               pause=0.001)["p99_us"]

        daemon.load(score("m"), batch, 1, 0.1)
        for _ in range(options.rounds):
            alone.append(singles())
            stream = daemon.start_load(score("m"), batch, 1, 60)
            time.sleep(0.2)  # until the first batch is under way
            beside.append(singles())
            nothing_beside.append(singles(nothing, "/"))  # which no batch holds up
            if stream.poll() is not None:
                servers.finish_load(stream)
            stream.terminate()
            stream.communicate()
            ratios.append(beside[-1] / alone[-1])
    return {"batch_rows": n_rows, "p99_us_alone": statistics.median(alone),
            "p99_us_beside_batches": statistics.median(beside),
            "p99_us_of_nothing_beside_batches": statistics.median(nothing_beside),
            "ratio": statistics.median(ratios), "rounds": [alone, beside]}


def retraining(inputs, options):
    """The same while the model is trained; see latency.py."""
    n_rows, rounds = options.retraining
    training, idle, ratios = latency.measure(n_rows, 38, 2000, rounds)
    return {"rows": n_rows, "p99_us_alone": 1e6 * latency.percentile(idle, 0.99),
            "p99_us_while_training": 1e6 * latency.percentile(training, 0.99),
            "ratio": statistics.median(ratios), "rounds": ratios}


def watch_memory(process, pid, kib=servers.pss_kib):
    """As long as a load lasts, KiB; the last look before it ends counts."""
    last = kib(pid)
    while process.poll() is None:
        last = kib(pid)
        time.sleep(0.05)
    servers.finish_load(process)
    return last


def kib_a_connection(inputs, n):
    """Of open connections that have had an answer each, but for the first 16."""
    body = inputs.single(38).read_bytes().split(b"\n")[0]
    with one_model(inputs, "memory-connections") as daemon:
        clients = connect_and_score(daemon.port, body, 16)
        before = servers.pss_kib(daemon.pids[0])
        clients += connect_and_score(daemon.port, body, n - 16)
        after = servers.pss_kib(daemon.pids[0])
        for client in clients:
            client.close()
    return (after - before) / (n - 16)


def memory(inputs, options):
    """MiB with ten models and 16 connections at the end of a load on all of them; and what a
    connection takes."""
    out = {"kib_a_connection": kib_a_connection(inputs, options.most_connections)}
    for preset in ("fast", "best"):
        with servers.daemon(inputs.folder, ten_models(inputs, preset),
                            f"memory-{preset}") as daemon:
            out[f"{preset}_idle_mib"] = servers.pss_kib(daemon.pids[0]) / 1024
            process = daemon.start_load(score("m#"), inputs.single(38), 16, 4 * options.seconds,
                                        paths=10)
            out[f"{preset}_mib"] = watch_memory(process, daemon.pids[0]) / 1024
    return out


def start(inputs, options):
    """Milliseconds to ready with ten models; not the first start, which takes their files in."""
    out = {}
    for preset in ("fast", "best"):
        models = ten_models(inputs, preset)
        times = [servers.start_ms(inputs.folder, models, f"start-{preset}")
                 for _ in range(1 + 2 * options.rounds)]
        out[f"{preset}_first_ms"], out[f"{preset}_ms"] = times[0], statistics.median(times[1:])
        out[f"{preset}_rounds"] = times[1:]
    return out


def soak(inputs, options):
    """Resident memory after many requests over that after the first 100,000."""
    n_first, begin = min(100000, options.soak // 2), time.monotonic()
    steps = [n_first] + [(options.soak - n_first) // N_LOOKS] * N_LOOKS
    with one_model(inputs, "soak") as daemon:
        kib = [watch_memory(daemon.start_load(score("m"), inputs.single(38), requests=n),
                            daemon.pids[0], servers.rss_kib) for n in steps]
    return {"first_requests": n_first, "requests": sum(steps), "first_kib": kib[0],
            "last_kib": kib[-1], "growth": kib[-1] / kib[0] - 1,
            "growth_of_last_look": kib[-1] / kib[-2] - 1, "seconds": time.monotonic() - begin,
            "kib": kib}


PARTS = {"stalls": stalls, "tail": tail, "retraining": retraining, "memory": memory,
         "start": start, "soak": soak}
