"""Start, reload and stop: SIGHUP, SIGTERM, listeners."""

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

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
    before = daemon.score(ODD, "?explain=none").body
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(model_file.read_bytes()[:-1])
    daemon.write_config({"web": {"file": broken}, "more": {"file": model_file}})
    assert "broken.safetensors" in daemon.reload("broken.safetensors")
    assert daemon.score(ODD, "?explain=none").body == before
    assert len(daemon.request("GET", "/v1/models").json()["models"]) == 1


def test_reload_of_a_broken_configuration_keeps_the_old_state(start_daemon, model_file):
    daemon = start_daemon()
    before = daemon.score(ODD, "?explain=none").body
    daemon.write_config({"web": {"file": model_file}}, extra="flie = x\n", max_body="lots")
    log = daemon.reload("flie")
    assert "anomalyd.conf:" in log and "file" in log and "max_body" in log
    assert daemon.score(ODD, "?explain=none").body == before
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
        begin = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert silent.is_closed() and idle.is_closed()
        assert 4 < time.monotonic() - begin < 8
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
    begin = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0
    assert time.monotonic() - begin < 2


def test_stop_does_not_wait_for_a_worker_that_computes_on(start_daemon):
    daemon = start_daemon(threads=1, max_request_memory="none")
    rows = ",".join(["[1,2,3,4,5,6]"] * 600000)
    request = post(('{"instances":[' + rows + '],"explain":"all","top":6}').encode())
    clients = [daemon.connect() for _ in range(8)]
    for client in clients:
        client.send(request[:200])

    def send_rest(client):
        with contextlib.suppress(OSError):  # it is cut
            client.send(request[200:])

    threads = [threading.Thread(target=send_rest, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(DEADLINE_S) == 0
    assert 8 < time.monotonic() - begin < 11 and "they are cut" in daemon.log()
    for thread, client in zip(threads, clients):
        thread.join(DEADLINE_S)
        client.socket.close()


def test_a_second_sigterm_ends_it_at_once(start_daemon):
    daemon = start_daemon(request_timeout="10m")
    with daemon.connect() as client:
        client.send(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[")
        daemon.score(ODD)
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: refuses_connections(daemon), "the listener to close")
        assert daemon.process.poll() is None
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(DEADLINE_S) == 0


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


def test_everybody_may_connect_to_a_unix_socket(start_daemon, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "http.sock"
    start_daemon(also=[f"unix:{path}"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def check_cannot_start(folder, listen):
    """A second daemon that listens there does not start; what it says."""
    config = folder / "anomalyd.conf"
    config.write_text(f"[server]\nlisten = {listen}\n")
    run = subprocess.run([ANOMALYD, "--config", str(config)], capture_output=True, text=True,
                         timeout=DEADLINE_S)
    assert run.returncode != 0
    return run.stderr


def test_a_unix_socket_that_is_no_stream_is_not_replaced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    path = folder / "dgram.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        assert "in use" in check_cannot_start(folder, f"unix:{path}")
        assert path.exists()


def test_a_unix_socket_with_a_full_queue_is_not_replaced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    path = folder / "full.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as first:
        other.bind(str(path))
        other.listen(0)
        first.connect(str(path))
        assert "in use" in check_cannot_start(folder, f"unix:{path}")
        assert path.exists()


def test_a_stale_unix_socket_is_replaced_but_not_one_in_use(start_daemon, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "http.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    start_daemon(also=[f"unix:{path}"])
    second = check_cannot_start(tmp_path_factory.mktemp("second"), f"unix:{path}")
    assert f"unix:{path}" in second and "in use" in second
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
        said = check_cannot_start(tmp_path, f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in said and "in use" in said


def test_16_addresses_are_taken_and_17_are_an_error(tmp_path, model_file):
    config = tmp_path / "anomalyd.conf"
    for n in (16, 17):
        listen = ", ".join(f"127.0.0.1:{10000 + i}" for i in range(n))
        config.write_text(f"[server]\nlisten = {listen}\n[model web]\nfile = {model_file}\n")
        check = subprocess.run([ANOMALYD, "--config", str(config), "--check-config"], text=True,
                               capture_output=True, timeout=DEADLINE_S)
        assert check.returncode == (0 if n == 16 else 78)
    assert "16" in check.stderr and "listen" in check.stderr


# Gives the socket with the number argv[1] to the program argv[2:], as systemd does.
ACTIVATE = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])"""


def activate(listener, folder, model_file):
    """A daemon on that socket; its `listen` is a port it must not take."""
    config, log_path = folder / "anomalyd.conf", folder / "log"
    config.write_text(f"[server]\nlisten = 127.0.0.1:1\nthreads = 2\n[model web]\n"
                      f"file = {model_file}\n")
    with open(log_path, "ab") as log:
        return subprocess.Popen([sys.executable, "-c", ACTIVATE, str(listener.fileno()), ANOMALYD,
                                 "--config", str(config)], pass_fds=[listener.fileno()], stderr=log)


def test_a_restart_under_socket_activation_loses_no_request(tmp_path, model_file):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        for _ in range(3):
            process = activate(listener, tmp_path, model_file)
            with RawClient(listener.getsockname()) as client:
                client.send(post(json.dumps(ODD).encode()))
                assert client.read().json()["anomaly"] is True
            process.send_signal(signal.SIGTERM)
            with RawClient(listener.getsockname()) as waiting:  # for whoever comes next
                waiting.send(GET)
                assert process.wait(DEADLINE_S) == 0
                process = activate(listener, tmp_path, model_file)
                assert waiting.read().status == 200
            with RawClient(listener.getsockname()) as client:
                client.send(GET)
                assert client.read().status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        port = listener.getsockname()[1]
    log = (tmp_path / "log").read_text()
    assert f"listens on 127.0.0.1:{port}: " in log and "127.0.0.1:1:" not in log


def test_a_unix_socket_of_systemd_stays(tmp_path_factory, model_file):
    folder = tmp_path_factory.mktemp("s")
    path = folder / "http.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        process = activate(listener, folder, model_file)
        with RawClient(str(path), socket.AF_UNIX) as client:
            client.send(GET)
            assert client.read().status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    assert path.exists() and f"listens on unix:{path}: " in (folder / "log").read_text()


def test_the_log_names_what_is_listened_on(start_daemon, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "http.sock"
    daemon = start_daemon(also=[f"unix:{path}"])
    assert f"listens on 127.0.0.1:{daemon.port}, unix:{path}: " in daemon.log()


def test_without_descriptors_it_says_so_once_and_recovers(start_daemon):
    daemon = start_daemon()
    with daemon.connect() as first:
        first.send(GET)
        assert first.read().status == 200
        used = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (used + 2, limits[1]))
        clients = [daemon.connect() for _ in range(10)]
        wait_for(lambda: "cannot accept connections" in daemon.log(), "the warning")
        end = time.monotonic() + 0.5  # some more attempts
        while time.monotonic() < end:
            first.send(GET)
            assert first.read().status == 200
        assert daemon.log().count("cannot accept connections") == 1
        for client in clients:
            client.socket.close()
        assert daemon.score(ODD).status == 200
    wait_for(lambda: "accepts connections again" in daemon.log(), "the end of it")
    assert daemon.log().count("accepts connections again") == 1


def test_it_starts_again_on_the_same_port_at_once(start_daemon, tmp_path):
    daemon = start_daemon()
    with daemon.connect() as client:
        client.send(GET)
        assert client.read().status == 200
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
    assert daemon._start()
    assert daemon.score(ODD).status == 200
