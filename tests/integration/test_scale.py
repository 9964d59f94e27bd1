"""Sizes: many connections, wide rows, long bodies, many requests."""

import json
import os
import random
import re
import sqlite3
import subprocess

from conftest import ANOMALYCTL, DEADLINE_S, IS_SANITIZED, NORMAL

LONG = bool(os.environ.get("ANOMALYD_LONG"))
HTTP_LOAD = os.path.join(os.path.dirname(ANOMALYCTL), "tests/bench/http_load")
SCORE = "/v1/models/web/score"


def memory(daemon):
    """What it has allocated and is resident, in bytes."""
    rollup = open(f"/proc/{daemon.process.pid}/smaps_rollup").read()
    return 1024 * int(re.search(r"\nPss_Anon:\s+(\d+)", rollup)[1])


def load(daemon, folder, bodies, *options):
    """Requests of the load generator of the benchmarks; what it says of them."""
    path = folder / "bodies"
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    done = subprocess.run([HTTP_LOAD, *map(str, options), f"127.0.0.1:{daemon.port}", SCORE, path],
                          capture_output=True, text=True, timeout=60 * DEADLINE_S)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["errors"] == 0
    return result


def stored(tmp_path, start_daemon, model_file, **keys):
    daemon = start_daemon()
    daemon.stop()
    daemon.write_config({"web": {"file": model_file, **keys}},
                        f"[storage]\ndirectory = {tmp_path / 'state'}\n")
    daemon._start()
    return daemon


def make_rows(n):
    chance = random.Random(5)
    return [[round(value + chance.gauss(0, 0.01), 6) for value in NORMAL] for _ in range(n)]


def test_a_thousand_connections_take_20_kib_each(start_daemon):
    daemon = start_daemon()
    request = (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
               % (SCORE.encode(), len(json.dumps(NORMAL))) + json.dumps(NORMAL).encode())
    daemon.score(NORMAL)
    before = memory(daemon)
    clients = [daemon.connect() for _ in range(1000)]
    for _ in range(2):
        for client in clients:
            client.send(request)
        assert {client.read().status for client in clients} == {200}
    assert IS_SANITIZED or (memory(daemon) - before) / 1000 <= 20 * 1024
    for client in clients:
        client.socket.close()


def test_4096_features_are_trained_served_and_explained(tmp_path, start_daemon):
    chance = random.Random(1)
    rows = []
    for _ in range(60):
        causes = [chance.gauss(0, 1) for _ in range(3)]
        rows.append([causes[i % 3] + 0.1 * chance.gauss(0, 1) for i in range(4096)])
    data, model = tmp_path / "wide.csv", tmp_path / "wide.safetensors"
    data.write_text("".join(",".join(f"{value:.4g}" for value in row) + "\n" for row in rows))
    subprocess.run([ANOMALYCTL, "train", "--data", data, "--output", model, "--preset", "fast",
                    "--epochs", "2"], check=True, capture_output=True, timeout=2 * DEADLINE_S)
    daemon = start_daemon({"web": {"file": model}})
    assert daemon.score([value + 50 for value in rows[0]]).json()["anomaly"]
    odd = [*rows[0][:7], 1e6, *rows[0][8:]]
    verdict = daemon.score({"features": odd, "series": None, "explain": "all"}).json()
    assert verdict["contributions"][0]["feature"] == "f7"
    body = json.dumps({"series": None, "explain": "none", "instances": rows * 3})
    assert len(body) > 4 << 20
    results = daemon.request("POST", SCORE, body, {"Content-Type": "application/json"}).json()
    alone = daemon.score({"series": None, "explain": "none", "features": rows[59]}).json()
    assert results["results"][179]["score"] == alone["score"]


def test_a_million_rows_come_in_one_request(start_daemon, model_file):
    daemon = start_daemon({"web": {"file": model_file, "learn": "off"}}, max_body="1G")
    rows = [json.dumps(row) for row in make_rows(1000)]

    def body():
        yield b'{"explain":"none","instances":['
        for i in range(1000):
            yield ((",[" if i else "[")[:-1] + ",".join(rows)).encode()
        yield b"]}"

    daemon.score(NORMAL)
    before = daemon.peak_memory()
    reply = daemon.request("POST", SCORE, body(), {"Content-Type": "application/json"})
    assert reply.status == 200 and reply.body.count(b'"p_value"') == 1_000_000
    assert IS_SANITIZED or daemon.peak_memory() - before < 2 * len(reply.body) + 10e6


def test_memory_does_not_grow_with_requests(tmp_path, start_daemon, model_file):
    """Ten million, which is an hour's worth, with ANOMALYD_LONG=1."""
    daemon = stored(tmp_path, start_daemon, model_file)
    rows = make_rows(1000)
    load(daemon, tmp_path, rows, "--requests", 100_000)
    before = memory(daemon)
    n = 10_000_000 if LONG else 100_000
    assert load(daemon, tmp_path, rows, "--requests", n)["requests"] == n
    # Bursts of rows that wait for the disk come and go. A leak of 24 bytes a request is more.
    assert IS_SANITIZED or memory(daemon) - before < 5 << 19


def test_a_full_queue_drops_rows_and_counts_them(tmp_path, start_daemon, model_file):
    """sample_rate = all, and somebody else writes to the store: scoring goes on."""
    daemon = stored(tmp_path, start_daemon, model_file, sample_rate="all")
    batches = [{"instances": make_rows(2000)}]
    other = sqlite3.connect(tmp_path / "state/state.db")
    other.execute("BEGIN IMMEDIATE")
    result = load(daemon, tmp_path, batches, "--requests", 100, "--clients", 4)
    other.rollback()
    other.close()
    metrics = daemon.metrics()
    assert metrics['anomalyd_rows_scored_total{model="web"}'] == 2000 * result["requests"]
    # 64 MiB hold 125,000 of them
    assert metrics['anomalyd_rows_dropped_total{model="web",reason="queue"}'] > 10_000
