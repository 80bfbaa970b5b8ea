"""The servers that bench/report.py compares: how each is started, and how one is asked.

PEERS holds the command of each, with the settings that its documentation advises where speed counts. JSON is read and
written by orjson everywhere but in the runtime. The functions they serve are in bench/peers/apps.py.
"""
import contextlib
import importlib.metadata
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import run

PEERS_FOLDER = pathlib.Path(__file__).resolve().parent / "peers"

# name -> (package, words of its command). SOCKET and PORT stand for where it listens, BIN for the folder of its programs,
# WORKERS and THREADS for how many
PEERS = {
    "uvicorn": ("uvicorn", "BIN/uvicorn apps:asgi --uds SOCKET --loop uvloop --http httptools --no-access-log "
                           "--log-level warning --workers WORKERS"),
    "FastAPI": ("fastapi", "BIN/uvicorn apps:fastapi --uds SOCKET --loop uvloop --http httptools --no-access-log "
                           "--log-level warning --workers WORKERS"),
    "granian WSGI": ("granian", "BIN/granian --interface wsgi --uds SOCKET --workers WORKERS --blocking-threads THREADS "
                                "--respawn-failed-workers --respawn-interval 0.1 --no-ws --log-level warning apps:wsgi"),
    "granian ASGI": ("granian", "BIN/granian --interface asgi --uds SOCKET --workers WORKERS --loop uvloop "
                                "--respawn-failed-workers --respawn-interval 0.1 --no-ws --log-level warning apps:asgi"),
    "gunicorn": ("gunicorn", "BIN/gunicorn --bind unix:SOCKET --workers WORKERS --worker-class gthread --threads 8 "
                             "--log-level warning apps:wsgi"),
    "uWSGI": ("uWSGI", "BIN/uwsgi --http11-socket SOCKET --module apps:wsgi --processes WORKERS --master "
                       "--disable-logging --need-app --die-on-term --buffer-size 65536"),
    "mosec": ("mosec", "BIN/python PEERS/mosec_server.py --address 127.0.0.1 --port PORT --log-level warning "
                       "--max-request-size 67108864 --timeout 60000"),
    "LitServe": ("litserve", "BIN/python PEERS/litserve_server.py PORT"),
}
OURS = ("runtime", "floor")  # the others are those that people could take instead


class Peer(run.Server):
    """A server of HTTP on a Unix socket, or on a port of 127.0.0.1."""

    def __init__(self, name, command, folder, environment, cores, path=None, port=None):
        label = name.replace(" ", "-").replace(",", "")
        own = os.path.join(folder, f"{label}-http.sock")  # as run.Server names it
        command = [str(part).replace("SOCKET", own) for part in command]
        self.started = time.perf_counter()
        super().__init__(label, ["http", "http-kept"], command, folder, environment, cores)
        self.name = name
        self.port = port
        self.path = str(path or self.path)

    def stop(self):
        """Also what outlives its first process: LitServe's others do."""
        super().stop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def connect(self, seconds):
        family = socket.AF_INET if self.port else socket.AF_UNIX
        connection = socket.socket(family)
        connection.settimeout(seconds)
        try:
            connection.connect(("127.0.0.1", self.port) if self.port else self.path)
        except OSError:
            connection.close()
            raise
        return connection

    def send(self, body, seconds=60):
        """A connection on which the request has been sent; the caller closes it."""
        connection = self.connect(seconds)
        try:
            connection.sendall(b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                               b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, body, seconds=60):
        """(the reply's first line, its content) of one request on a connection of its own, which uWSGI does not close."""
        with self.send(body, seconds) as connection, connection.makefile("rb") as stream:
            status, length = stream.readline(), -1
            while (line := stream.readline().lower()) not in (b"\r\n", b""):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            return status, stream.read(length)

    def log_end(self):
        return self.log.read_text(errors="replace")[-500:]

    def wait_until_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), self.connect(1):
                return
            time.sleep(0.02)
        raise run.Skip("did not start:\n" + self.log_end())

    def wait_until_good(self, body, pause, seconds=60):
        """The content of the first good reply: a server that listens may need a moment more, or be without a worker."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                status, content = self.ask(body, 1)
                if b" 200" in status:
                    return content
            time.sleep(pause)
        raise run.Skip("no good reply:\n" + self.log_end())

    def learn(self, mode, name, body):
        """Check one whole reply and remember how it begins."""
        if mode == "raw":
            run.Server.learn(self, mode, name, body)
            return
        content = self.wait_until_good(body, 0.1) if name == "93 B" else self.ask(body)[1]
        value = None
        with contextlib.suppress(ValueError):
            value = json.loads(content)
        if value is None or not (value == json.loads(body) or run.is_good(value, "http", json.loads(body))):
            raise run.Skip(f"its reply to {name} is not the payload: {content[:200]!r}")
        self.expect[mode, name] = content[:14].decode()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def payload_of(content):
    """What the function returned: the runtime's replies carry it in a frame."""
    value = json.loads(content)
    return value["frames"][0]["payload"] if "frames" in value else value


def body_of(payload):
    """A request over HTTP, with the envelope of the runtime's protocol for everybody."""
    return run.make_body("http", "", payload)


def fill(words, programs, port=None, workers=1, threads=1):
    """The command with everything filled in but SOCKET."""
    for name, value in (("BIN/", f"{programs}/"), ("PEERS/", f"{PEERS_FOLDER}/"), ("PORT", port), ("WORKERS", workers),
                        ("THREADS", threads)):
        words = words.replace(name, str(value))
    return words.split()


class Fleet:
    """Servers that are measured in turn, and the folder where they live. Stops them all at its end."""

    def __init__(self, arguments, cores, function="echo", workers=1):
        self.arguments, self.cores, self.workers = arguments, cores, workers
        self.cleanup = contextlib.ExitStack()
        self.folder = self.cleanup.enter_context(tempfile.TemporaryDirectory(prefix="asya-report-"))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        self.environment.update(
            PYTHONPATH=str(PEERS_FOLDER), PYTHONDONTWRITEBYTECODE="1", HOME=self.folder, BENCH_FUNCTION=function,
            BENCH_WORKERS=str(workers), PATH=f"{arguments.programs}:{os.environ['PATH']}")
        self.ours = {"ASYA_PROCESS_MODULE": "apps:process", "ASYA_MAX_MESSAGE_SIZE": str(64 << 20),
                     "ASYA_WORKERS": str(workers)}
        self.servers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run.progress("")
        self.cleanup.close()

    def makers(self):
        """name -> a function that starts that server, of all that can take part."""
        arguments = self.arguments
        python = arguments.programs / "python"
        makers = {"runtime": self.make_runtime}
        if arguments.echo is not None and self.workers == 1:
            makers["floor"] = lambda: self.make("floor", [arguments.echo, "SOCKET"])
        if arguments.upstream:
            place = pathlib.Path(self.folder, "upstream")
            place.mkdir(exist_ok=True)
            theirs = {"ASYA_HANDLER": "apps.process", "ASYA_SOCKET_DIR": str(place)}
            makers["upstream"] = lambda: self.make("upstream", [python, arguments.upstream], theirs,
                                                   place / "asya-runtime.sock")
        for name, (package, words) in PEERS.items():
            if is_installed(package) and (not arguments.peers or name in arguments.peers):
                makers[name] = lambda name=name, words=words: self.make_peer(name, words)
        return makers

    def make_runtime(self, name="runtime", **settings):
        command = [self.arguments.programs / "python", self.arguments.runtime]
        return self.make(name, command, {**self.ours, **settings})

    def make(self, name, command, environment=(), path=None, port=None):
        return Peer(name, command, self.folder, {**self.environment, **dict(environment)}, self.cores, path, port)

    def make_peer(self, name, words, threads=1):
        port = free_port() if "PORT" in words else None
        return self.make(name, fill(words, self.arguments.programs, port, self.workers, threads), port=port)

    def start(self, makers):
        """Starts them, and leaves out what does not start."""
        for name, make in makers.items():
            run.progress(f"starting {name}")
            server = make()
            self.cleanup.callback(server.stop)
            try:
                server.wait_until_ready()
                self.servers.append(server)
            except run.Skip as reason:
                print(f"{name}: left out: {reason}", file=sys.stderr)
        return self.servers

    def write_body(self, name, body):
        """The file from which the load client reads the request."""
        path = pathlib.Path(self.folder, name.replace(" ", "-") + ".json")
        path.write_bytes(body)
        return path


def is_installed(package):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(package))
    return False


def load_command(arguments, server, mode, body_path, expect, clients, seconds, *more):
    """asya-load on that server, as words."""
    where = ["--port", server.port] if server.port else ["--socket", server.path]
    words = [arguments.load, *where, "--mode", mode, "--clients", clients, "--seconds", seconds, "--warm-up",
             min(0.1, seconds / 4), "--body", body_path, "--expect", expect, "--no-half-close", *more]
    return [str(word) for word in words]


def load(arguments, server, cores, *what):
    """One run of the load client (as of load_command): its line; None if not all replies were right."""
    done = subprocess.run(load_command(arguments, server, *what), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, check=False, preexec_fn=lambda: run.pin(cores))
    if not done.stdout:
        print(f"{server.name}: the load client failed with status {done.returncode}", file=sys.stderr)
        return None
    line = json.loads(done.stdout)
    if line["errors"] or not line["requests"]:
        print(f"{server.name}: wrong replies: {line['outcomes']}", file=sys.stderr)
        return None
    return line
