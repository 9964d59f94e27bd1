"""Start, reload and stop: SIGHUP, SIGTERM, listeners."""

import json
import signal
import socket
import subprocess
import threading

import pytest

from conftest import ANOMALYD, DEADLINE_S, NORMAL, ODD, RawClient, check_problem, wait_for

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body):
    head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def sha256(daemon, name="web"):
    return daemon.request("GET", f"/v1/models/{name}").json()["sha256"]


# ---- SIGHUP ----


def test_reload_under_load_loses_no_request(start_daemon, model_file, other_model_file):
    daemon = start_daemon()
    stop, done, failures = threading.Event(), [0] * 4, []

    def client(number):
        try:
            with daemon.connect() as raw:
                while not stop.is_set():
                    raw.send(post(json.dumps(ODD).encode()))
                    verdict = raw.read().json()
                    assert verdict["anomaly"] is True
                    done[number] += 1
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for n in range(10):
        file = (other_model_file, model_file)[n % 2]
        daemon.write_config({"web": {"file": file}})
        before = sum(done)
        version = daemon.request("GET", "/v1/models/web").json()["version"]
        daemon.signal(signal.SIGHUP)
        wait_for(lambda: daemon.request("GET", "/v1/models/web").json()["version"] == version + 1,
                 "the new version")
        wait_for(lambda: failures or sum(done) > before + 20, "requests after the reload")
    stop.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not failures and min(done) > 0


def test_reload_puts_models_and_limits_in_force(start_daemon, model_file, other_model_file):
    daemon = start_daemon()
    before = sha256(daemon)
    daemon.write_config({"web": {"file": other_model_file}, "more": {"file": model_file}},
                        max_body="1K")
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: len(daemon.request("GET", "/v1/models").json()["models"]) == 2, "two models")
    assert sha256(daemon) != before == sha256(daemon, "more")
    check_problem(daemon.score(b" " * 2000), 413)


def test_reload_of_the_same_files_keeps_the_version(start_daemon, model_file):
    daemon = start_daemon()
    daemon.write_config({"web": {"file": model_file}, "more": {"file": model_file}})
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: len(daemon.request("GET", "/v1/models").json()["models"]) == 2, "two models")
    assert daemon.request("GET", "/v1/models/web").json()["version"] == 1


def test_reload_of_a_broken_model_keeps_the_old_state(start_daemon, model_file, tmp_path):
    daemon = start_daemon()
    before = daemon.score(ODD).body
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(model_file.read_bytes()[:-1])
    daemon.write_config({"web": {"file": broken}, "more": {"file": model_file}})
    assert "broken.safetensors" in daemon.reload("broken.safetensors")
    assert daemon.score(ODD).body == before
    assert len(daemon.request("GET", "/v1/models").json()["models"]) == 1


def test_reload_of_a_broken_configuration_keeps_the_old_state(start_daemon, model_file):
    daemon = start_daemon()
    before = daemon.score(ODD).body
    daemon.write_config({"web": {"file": model_file}}, extra="flie = x\n", max_body="lots")
    log = daemon.reload("flie")
    assert "anomalyd.conf:" in log and "file" in log and "max_body" in log
    assert daemon.score(ODD).body == before
    assert daemon.request("GET", "/readyz").status == 200


# ---- SIGTERM ----


def test_stop_completes_requests_that_are_arriving(start_daemon):
    daemon = start_daemon()
    body = json.dumps(ODD).encode()
    clients = [daemon.connect() for _ in range(6)]
    for number, client in enumerate(clients):
        client.send(post(body)[: len(post(body)) - 5 - number])
    daemon.score(ODD)
    daemon.signal(signal.SIGTERM)
    wait_for(lambda: refuses_connections(daemon), "the listener to close")
    for number, client in enumerate(clients):
        client.send(post(body)[len(post(body)) - 5 - number :])
    for client in clients:
        reply = client.read()
        assert reply.json()["anomaly"] is True
        assert reply.headers["connection"] == "close" and client.is_closed()
        client.socket.close()
    assert daemon.wait_for_exit() == 0


def refuses_connections(daemon):
    try:
        with daemon.connect():
            return False
    except ConnectionError:  # refused, or reset: accepted just before the end
        return True


def test_stop_answers_the_next_request_of_an_open_connection_with_close(start_daemon):
    daemon = start_daemon()
    with daemon.connect() as client:
        client.send(GET)
        assert "close" not in client.read().headers.get("connection", "").lower()
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: refuses_connections(daemon), "the listener to close")
        client.send(GET)
        reply = client.read()
        assert reply.status == 200 and reply.headers["connection"] == "close"
        assert client.is_closed()
    assert daemon.wait_for_exit() == 0


def test_stop_closes_idle_connections_after_some_seconds(start_daemon):
    daemon = start_daemon()
    with daemon.connect() as idle, daemon.connect() as silent:
        idle.send(GET)
        assert idle.read().status == 200
        daemon.signal(signal.SIGTERM)
        assert silent.is_closed() and idle.is_closed()
        assert daemon.wait_for_exit() == 0


def test_stop_completes_a_large_batch_at_work(start_daemon):
    daemon = start_daemon()
    body = json.dumps({"instances": [NORMAL] * 30000, "explain": "none"}).encode()
    with daemon.connect() as client:
        client.send(post(body))
        daemon.signal(signal.SIGTERM)
        assert len(client.read().json()["results"]) == 30000
    assert daemon.wait_for_exit() == 0


def test_stop_without_connections_is_quick(start_daemon):
    daemon = start_daemon()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0


def test_a_second_sigterm_ends_it_at_once(start_daemon):
    daemon = start_daemon(request_timeout="10m")
    with daemon.connect() as client:
        client.send(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[")
        daemon.score(ODD)
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: refuses_connections(daemon), "the listener to close")
        assert daemon.process.poll() is None
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(3) == 0


def test_readyz_says_no_while_stopping(start_daemon):
    daemon = start_daemon()
    with daemon.connect() as client:
        client.send(GET)
        assert client.read().status == 200
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: refuses_connections(daemon), "the listener to close")
        client.send(GET.replace(b"healthz", b"readyz"))
        assert check_problem(client.read(), 503)["reasons"]


# ---- listeners ----


def test_a_unix_socket_is_served_and_removed(start_daemon, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "http.sock"
    daemon = start_daemon(also=[f"unix:{path}"])
    with RawClient(str(path), socket.AF_UNIX) as client:
        body = json.dumps(ODD).encode()
        for _ in range(3):
            for byte in post(body):
                client.send(bytes([byte]))
            assert client.read().json()["anomaly"] is True
    daemon.stop()
    assert not path.exists()


def test_an_early_error_arrives_over_a_unix_socket(start_daemon, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "http.sock"
    start_daemon(also=[f"unix:{path}"])
    with RawClient(str(path), socket.AF_UNIX) as client:
        client.send(b"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        client.send(b" " * 9000000)
        check_problem(client.read(), 404)


def test_a_stale_unix_socket_is_replaced_but_not_one_in_use(start_daemon, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "http.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    daemon = start_daemon(also=[f"unix:{path}"])
    second = subprocess.run([ANOMALYD, "--config", str(daemon.config)], capture_output=True,
                            timeout=DEADLINE_S)
    assert second.returncode != 0
    with RawClient(str(path), socket.AF_UNIX) as client:
        client.send(GET)
        assert client.read().status == 200


def test_ipv6_is_served(start_daemon):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6")
    start_daemon(also=[f"[::1]:{port}"])
    with RawClient(("::1", port), socket.AF_INET6) as client:
        client.send(GET)
        assert client.read().status == 200


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        config = tmp_path / "anomalyd.conf"
        config.write_text(f"[server]\nlisten = 127.0.0.1:{port}\n")
        run = subprocess.run([ANOMALYD, "--config", str(config)], capture_output=True, text=True,
                             timeout=DEADLINE_S)
    assert run.returncode != 0
    assert f"127.0.0.1:{port}" in run.stderr and "in use" in run.stderr


def test_it_starts_again_on_the_same_port_at_once(start_daemon, tmp_path):
    daemon = start_daemon()
    with daemon.connect() as client:
        client.send(GET)
        assert client.read().status == 200
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
    assert daemon._start()
    assert daemon.score(ODD).status == 200
