"""The servers that `make bench` measures, and what they cost: CPU time, memory, answers."""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from performance_model import Network, onnx_bytes

BENCH = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("ANOMALYD", "anomalyd")).resolve().parent
DEADLINE_S = 60


class NotThere(Exception):
    """What would be measured is not installed, or not built into the daemon; says which."""


def free_port():
    """One below those that the system gives to clients, of whom there are many: it stays free."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("found no free port")


def proc_kib(pid, file, name):
    for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise RuntimeError(f"no {name} of process {pid}")


def pss_kib(pid):
    """Memory of a process, what it shares with others divided among them."""
    return proc_kib(pid, "smaps_rollup", "Pss")


def rss_kib(pid):
    """Resident memory, which does not hang on who else has the same libraries in use."""
    return proc_kib(pid, "status", "VmRSS")


def peak_kib(pid):
    """The most memory that was resident since forget_peak()."""
    return proc_kib(pid, "status", "VmHWM")


def forget_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


class Server:
    """A process that answers on self.port; a context, which ends it."""

    def __init__(self, command, port, log=None, env=None, ready="/", seconds=DEADLINE_S):
        self.port, self.log = port, log
        with open(log or os.devnull, "ab") as errors:
            self.process = subprocess.Popen([str(word) for word in command], env=env,
                                            stdin=subprocess.PIPE, stdout=errors, stderr=errors)
        self.pids = [self.process.pid]
        try:
            self.wait(ready, seconds)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait(self, path, seconds):
        """Until it answers, and not with a 503."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.ask(path)
                return
            except urllib.error.HTTPError as error:
                error.close()
                if error.code != 503:
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise NotThere(f"{self.process.args[0]} does not answer; {self.last_words()}")

    def last_words(self):
        words = pathlib.Path(self.log).read_text(errors="replace") if self.log else ""
        return (words.strip().splitlines() or ["it says nothing"])[-1]

    def ask(self, path, body=None, content_type="application/json", accept=None):
        """The body of the answer; urllib.error.HTTPError unless that is a 2xx."""
        head = {"Content-Type": content_type} if body is not None else {}
        if accept:
            head["Accept"] = accept
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, head)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.read()

    def load(self, path, file, clients=16, seconds=1.0, **options):
        """What http_load tells of its clients. Options as its own: requests=1000, get=True."""
        before = self.ticks()
        told = finish_load(self.start_load(path, file, clients, seconds, **options))
        told["user_ticks"], told["kernel_ticks"] = (
            after - earlier for after, earlier in zip(self.ticks(), before))
        return told

    def ticks(self):
        """CPU time (user, kernel) in coarse units, which is for their ratio."""
        fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                  for pid in self.pids]
        return sum(int(one[11]) for one in fields), sum(int(one[12]) for one in fields)

    def reload(self):
        """SIGHUP, until the log says what came of it."""
        log = pathlib.Path(self.log)
        before = log.stat().st_size
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            told = log.read_bytes()[before:]
            if b"reloaded" in told:
                return
            time.sleep(0.01)
        raise RuntimeError(f"it was not reloaded; {self.last_words()}")

    def start_load(self, path, file, clients=16, seconds=1.0, **options):
        command = [BUILD / "tests/bench/http_load", "--clients", clients, "--seconds", seconds]
        for pid in self.pids:
            command += ["--pid", pid]
        for name, value in options.items():
            if value is not None and value is not False:
                command += [f"--{name}"] + ([] if value is True else [value])
        command += [f"127.0.0.1:{self.port}", path, file]
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)


def finish_load(process):
    out, errors = process.communicate()
    if not out:
        raise RuntimeError(f"{' '.join(process.args)}: {errors.strip()}")
    told = json.loads(out)
    if told["errors"]:
        raise RuntimeError(f"{' '.join(process.args)}: {told['errors']} of {told['requests']} "
                           "requests were not answered with 200")
    return told


def nothing(folder):
    """libmicrohttpd that reads a request and answers 200 bytes; chooses its own port."""
    process = subprocess.Popen([BUILD / "tests/bench/http_nothing"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    server = Server.__new__(Server)
    server.process, server.pids, server.log = process, [process.pid], None
    server.port = int(process.stdout.readline())
    process.stdout.close()
    return server


def which(name):
    for folder in os.environ["PATH"].split(":") + ["/usr/sbin", "/usr/local/sbin"]:
        if (pathlib.Path(folder) / name).exists():
            return pathlib.Path(folder) / name
    raise NotThere(f"{name} is not installed")


NGINX = """daemon off;
master_process on;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/json;
    sendfile on;
    open_file_cache max=10;
    server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


def nginx(folder):
    """Two workers that serve a file of 200 bytes; the body of the request is read and dropped."""
    port, program = free_port(), which("nginx")
    folder = pathlib.Path(folder) / "nginx"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    folder.parent.chmod(0o755)  # its workers are of another user if we are root
    (folder / "x").write_bytes(b"x" * 200)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    server = Server([program, "-p", folder, "-c", folder / "nginx.conf"], port, folder / "log",
                    ready="/x")
    children = pathlib.Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    server.pids = [int(pid) for pid in children.read_text().split()]
    return server


def daemon_config(folder, port, models, directory="state"):
    """models: {name: lines of its section}"""
    text = f"[server]\nlisten = 127.0.0.1:{port}\nthreads = 2\nmax_body = 1G\n"
    text += "max_connections = 4096\n[models]\nmax_models = 100000\n"
    if directory:
        (folder / directory).mkdir(exist_ok=True)
        text += f"[storage]\ndirectory = {folder / directory}\nmin_free = none\n"
    for name, lines in models.items():
        text += f"[model {name}]\n" + "".join(f"{line}\n" for line in lines)
    path = folder / f"{directory or 'none'}.conf"
    path.write_text(text)
    return path


def daemon(folder, models, directory="state", seconds=DEADLINE_S):
    """anomalyd with all its features on: metrics, limits, learn = auto."""
    folder, port = pathlib.Path(folder), free_port()
    config = daemon_config(folder, port, models, directory)
    return Server([BUILD / "anomalyd", "--config", config], port, folder / "anomalyd.log",
                  ready="/readyz", seconds=seconds)


def start_ms(folder, models, directory):
    """From the call that starts it until it tells the service manager that it is ready."""
    folder, port = pathlib.Path(folder), free_port()
    config = daemon_config(folder, port, models, directory)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(folder / "notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        manager.bind(path)
        manager.settimeout(DEADLINE_S)
        program = str(BUILD / "anomalyd")
        with open(folder / "anomalyd.log", "ab") as log:
            actions = [(os.POSIX_SPAWN_DUP2, log.fileno(), 2)]
            begin = time.monotonic()
            pid = os.posix_spawn(program, [program, "--config", str(config)],
                                 dict(os.environ, NOTIFY_SOCKET=path), file_actions=actions)
            try:
                while b"READY=1" not in manager.recv(4096):
                    pass
                return 1e3 * (time.monotonic() - begin)
            finally:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)


def fastapi_torch(folder, model, modules):
    return python_peer(folder, model, "fastapi_torch.py", ("fastapi", "uvicorn", "torch"))


def flask_sklearn(folder, model, modules):
    return python_peer(folder, model, "flask_sklearn.py", ("flask", "sklearn"))


def python_peer(folder, model, script, needs):
    missing = subprocess.run([sys.executable, "-c", f"import {', '.join(needs)}"],
                             stderr=subprocess.PIPE, text=True, check=False)
    if missing.returncode:
        raise NotThere(missing.stderr.strip().splitlines()[-1])
    port = free_port()
    return Server([sys.executable, BENCH / "peers" / script, port, model], port,
                  pathlib.Path(folder) / f"{script}.log")


def fastify_onnx(folder, model, modules):
    """modules: the folder that install_peers.sh has filled."""
    node, port = which("node"), free_port()
    for name in ("fastify", "onnxruntime-node"):
        if not (modules / "node_modules" / name).exists():
            raise NotThere(f"{name} is not installed in {modules}; run install_peers.sh")
    network = Network(model)
    path = pathlib.Path(folder) / f"{pathlib.Path(model).stem}.onnx"
    path.write_bytes(onnx_bytes(network))
    env = dict(os.environ, NODE_MODULES_BESIDE=str(modules.resolve() / "server.js"),
               NODE_ENV="production")
    return Server([node, BENCH / "peers/fastify/server.js", port, path, network.threshold], port,
                  pathlib.Path(folder) / "fastify.log", env)


PEERS = {"FastAPI + torch": fastapi_torch, "Flask + scikit-learn": flask_sklearn,
         "fastify + onnxruntime-node": fastify_onnx}


class Sockets:
    """How many connections each worker of a daemon has: sockets in its epolls, over those that were
    there without a client."""

    def __init__(self, pid):
        self.pid, self.before = pid, self.count(pid)
        while (again := self.count(pid)) != self.before:  # a client is just going
            self.before = again

    @staticmethod
    def count(pid):
        counts = {}
        for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
            try:
                lines = info.read_text().splitlines()
            except FileNotFoundError:  # closed since
                continue
            counts[info.name] = 0
            for line in lines:
                if line.startswith("tfd:"):
                    with contextlib.suppress(FileNotFoundError):
                        target = os.readlink(f"/proc/{pid}/fd/{line.split()[1]}")
                        counts[info.name] += target.startswith("socket:")
        return counts

    def shares(self):
        """Of the connections that are open now, largest first."""
        now = self.count(self.pid)
        added = sorted((n - self.before.get(fd, 0) for fd, n in now.items()
                        if n > self.before.get(fd, 0)), reverse=True)
        return [n / sum(added) for n in added]
