#!/usr/bin/env python3
"""Compare the runtime with the servers that people would take instead, side by side in one run.

All of them serve an echo of JSON by POST /invoke, with one worker process, over a Unix socket where they can listen on
one and over TCP on 127.0.0.1 where they cannot (mosec, LitServe). They run on one processor and the load client on the
others. Servers and rows take turns in each round; a figure is the median over the rounds, with the spread beside it.
Every reply is checked.

  runtime     this project; its messages carry the envelope of the protocol, some 90 bytes more than the others get back
  floor       asya-echo, the runtime's server layer without JSON and without Python
  upstream    Asya's own runtime in Python, with --upstream PATH
  others      see PEERS: the command of each is printed, and its version

`make report` writes the table and a plot into docs/performance.md and docs/images/servers.svg.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import run

PEERS_FOLDER = pathlib.Path(__file__).resolve().parent / "peers"
PORTS = iter(range(18430, 18500))

# name -> (package, words of its command; SOCKET and PORT stand for where it listens, BIN for the folder of its programs)
PEERS = {
    "uvicorn": ("uvicorn", "BIN/uvicorn apps:asgi --uds SOCKET --loop uvloop --http httptools --no-access-log "
                           "--log-level warning --workers 1"),
    "FastAPI": ("fastapi", "BIN/uvicorn apps:fastapi --uds SOCKET --loop uvloop --http httptools --no-access-log "
                           "--log-level warning --workers 1"),
    "granian WSGI": ("granian", "BIN/granian --interface wsgi --uds SOCKET --workers 1 --blocking-threads 1 --no-ws "
                                "--log-level warning apps:wsgi"),
    "granian ASGI": ("granian", "BIN/granian --interface asgi --uds SOCKET --workers 1 --loop uvloop --no-ws "
                                "--log-level warning apps:asgi"),
    "gunicorn": ("gunicorn", "BIN/gunicorn --bind unix:SOCKET --workers 1 --worker-class gthread --threads 8 "
                             "--log-level warning apps:wsgi"),
    "uWSGI": ("uWSGI", "BIN/uwsgi --http11-socket SOCKET --module apps:wsgi --processes 1 --master "
                       "--disable-logging --need-app --die-on-term --buffer-size 65536"),
    "mosec": ("mosec", "BIN/python PEERS/mosec_server.py --address 127.0.0.1 --port PORT --log-level warning "
                       "--timeout 60000"),
    "LitServe": ("litserve", "BIN/python PEERS/litserve_server.py PORT"),
}

# (name of the body, clients)
ROWS = [("93 B", 8), ("9 KB", 8), ("1 MB of doubles", 1), ("10 MB string", 1), ("10 MB of records", 1)]
MODES = {"93 B": ["http", "http-kept"], "9 KB": ["http", "http-kept"]}  # the others: kept


def make_payloads():
    """name -> value, the same in every run."""
    small = run.make_payloads()
    chance = random.Random(20261130)
    letters = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz ,.", k=1 << 20))
    return {"93 B": small["93 B"], "9 KB": small["9 KB"], "1 MB of doubles": small["1 MB"],
            "10 MB string": {"text": letters * 10}, "10 MB of records": {"records": small["9 KB"]["records"] * 1100}}


class Peer(run.Server):
    """A server of HTTP on a Unix socket, or on a port of 127.0.0.1."""

    def __init__(self, name, command, folder, environment, cores, path=None, port=None):
        own = os.path.join(folder, f"{name}-http.sock")  # as run.Server names it
        command = [str(part).replace("SOCKET", own) for part in command]
        super().__init__(name, ["http", "http-kept"], command, folder, environment, cores)
        self.port = port
        self.path = str(path or self.path)

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

    def wait_until_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), self.connect(1):
                return
            time.sleep(0.05)
        raise run.Skip("did not start:\n" + self.log.read_text(errors="replace")[-2000:])

    def learn(self, mode, name, body):
        """Check one whole reply and remember how it begins. A server that has just begun to listen may need a moment."""
        head = b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(20):
            with self.connect(60) as connection:
                connection.sendall(head + body)
                with connection.makefile("rb") as stream:
                    reply = stream.read()
            first, _, content = reply.partition(b"\r\n\r\n")
            if b" 200 " in first[:20]:
                break
            time.sleep(0.5)
        value = None
        with contextlib.suppress(ValueError):
            value = json.loads(content)
        if value is None or not (value == json.loads(body) or run.is_good(value, "http", json.loads(body))):
            raise run.Skip(f"its reply to {name} is not the payload: {reply[:200]!r}")
        self.expect[mode, name] = content[:14].decode()


def peer_command(words, folder_of_programs, port):
    """The command with everything filled in but SOCKET."""
    filled = []
    for word in words.split():
        filled.append(word.replace("BIN/", f"{folder_of_programs}/").replace("PEERS/", f"{PEERS_FOLDER}/")
                      .replace("PORT", str(port)))
    return filled


def start(arguments, folder, cleanup, cores):
    """Starts all that can take part: the list of servers, and name -> version."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    plain.update(PYTHONPATH=str(PEERS_FOLDER), PYTHONDONTWRITEBYTECODE="1", HOME=folder,
                 PATH=f"{arguments.programs}:{plain['PATH']}")
    servers, versions = [], {}

    def add(name, version, make):
        try:
            server = make()
            cleanup.callback(server.stop)
            server.wait_until_ready()
            servers.append(server)
            versions[name] = version
        except run.Skip as reason:
            print(f"{name}: left out: {reason}", file=sys.stderr)

    ours = {**plain, "ASYA_PROCESS_MODULE": "apps:process", "ASYA_MAX_MESSAGE_SIZE": str(64 << 20)}
    add("runtime", "", lambda: Peer("runtime", [arguments.programs / "python", arguments.runtime], folder, ours, cores))
    if arguments.echo is not None:
        add("floor", "", lambda: Peer("floor", [arguments.echo, "SOCKET"], folder, plain, cores))
    if arguments.upstream:
        place = pathlib.Path(folder, "upstream")
        place.mkdir()
        theirs = {**plain, "ASYA_HANDLER": "apps.process", "ASYA_SOCKET_DIR": str(place)}
        add("upstream", "", lambda: Peer("upstream", [arguments.programs / "python", arguments.upstream], folder, theirs,
                                         cores, path=place / "asya-runtime.sock"))
    for name, (package, words) in PEERS.items():
        if arguments.peers and name not in arguments.peers:
            continue
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: left out: {package} is not installed", file=sys.stderr)
            continue
        port = next(PORTS) if "PORT" in words else None
        command = peer_command(words, arguments.programs, port)
        add(name, version, lambda: Peer(name.replace(" ", "-"), command, folder, plain, cores, port=port))
        if versions.get(name):
            servers[-1].name = name
    return servers, versions


def measure(arguments, server, mode, body_name, clients, body_path, cores):
    """One run of the load client: requests a second; None if not all replies were right."""
    where = ["--port", server.port] if server.port else ["--socket", server.path]
    command = [arguments.load, *where, "--mode", mode, "--clients", clients, "--seconds", arguments.seconds,
               "--warm-up", min(0.2, arguments.seconds / 4), "--body", body_path, "--timeout", 60,
               "--expect", server.expect[mode, body_name]]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False,
                          preexec_fn=lambda: run.pin(cores))
    if not done.stdout:
        raise SystemExit(f"{server.name}: the load client failed with status {done.returncode}")
    line = json.loads(done.stdout)
    return line["requests_per_second"] if line["errors"] == 0 and line["requests"] > 0 else None


def measure_all(arguments, servers, folder, cores):
    """(mode, body, clients) -> {server: [requests a second in each round]}."""
    payloads = make_payloads()
    figures = {}
    for body_name, clients in ROWS:
        if arguments.bodies and body_name not in arguments.bodies:
            continue
        body = run.make_body("http", body_name if body_name == "93 B" else "", payloads[body_name])
        path = pathlib.Path(folder, "body.json")
        path.write_bytes(body)
        modes = MODES.get(body_name, ["http-kept"])
        taking_part = {}
        for mode in modes:
            for server in servers:
                try:
                    server.learn(mode, body_name, body)
                    taking_part.setdefault(mode, []).append(server)
                except (run.Skip, OSError) as reason:
                    print(f"{server.name}: left out of {body_name}: {reason}", file=sys.stderr)
        for number in range(arguments.rounds):
            for mode in modes:
                for server in taking_part.get(mode, []):
                    run.progress(f"{mode}, {body_name}, round {number + 1}: {server.name}")
                    rate = measure(arguments, server, mode, body_name, clients, path, cores)
                    if rate is None:
                        print(f"{server.name}: wrong replies to {mode}, {body_name}: left out", file=sys.stderr)
                        taking_part[mode].remove(server)
                        figures.get((mode, body_name, clients), {}).pop(server.name, None)
                    else:
                        figures.setdefault((mode, body_name, clients), {}).setdefault(server.name, []).append(rate)
    run.progress("")
    return figures


def cell(rates):
    """The median, and how far apart the rounds were."""
    middle = statistics.median(rates)
    return f"{middle:,.0f} (±{(max(rates) - min(rates)) / middle / 2:.0%})"


def table(figures, names):
    """Markdown: a row for each server, a column for each kind of request, and ratios to the fastest peer."""
    kinds = list(figures)
    titles = [f"{body}, {'kept' if mode == 'http-kept' else 'new'}, {clients}" for mode, body, clients in kinds]
    lines = ["| server | " + " | ".join(titles) + " |", "| --- |" + " --- |" * len(kinds)]
    for name in names:
        row = [cell(figures[kind][name]) if name in figures[kind] else "" for kind in kinds]
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    for title, others in (("runtime / fastest peer", [name for name in names if name not in ("runtime", "floor")]),
                          ("runtime / floor", ["floor"])):
        row = []
        for kind in kinds:
            rates = [statistics.median(figures[kind][name]) for name in others if name in figures[kind]]
            known = rates and "runtime" in figures[kind]
            row.append(f"**{statistics.median(figures[kind]['runtime']) / max(rates):.2f}**" if known else "")
        lines.append(f"| {title} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def plot(figures, names, path):
    """One small diagram of bars for each kind of request, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "asya"
    from matplotlib import pyplot

    figure, places = pyplot.subplots(1, len(figures), figsize=(3 * len(figures), 0.35 * len(names) + 1.2), sharey=True)
    for place, (kind, by_name) in zip(places if len(figures) > 1 else [places], figures.items()):
        shown = [statistics.median(by_name[name]) if name in by_name else 0 for name in reversed(names)]
        place.barh(list(reversed(names)), shown,
                   color=["#c0392b" if name == "runtime" else "#8aa" for name in reversed(names)])
        place.set_title(f"{kind[1]}, {'kept' if kind[0] == 'http-kept' else 'new'}", fontsize=9)
        place.set_xlabel("requests a second", fontsize=8)
        place.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


BEGIN, END = "<!-- bench/report.py writes from here -->\n", "<!-- to here -->\n"


def write_page(page, text):
    """Puts the text between the marks of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no marks for the report")
    page.write_text(before + BEGIN + text + END + after)


def parse_arguments():
    root = run.ROOT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", type=pathlib.Path, default=root / "dist" / "asya_runtime.py", help="the one file")
    parser.add_argument("--upstream", type=pathlib.Path, help="asya_runtime.py of Asya itself, which is no package")
    parser.add_argument("--peers", type=lambda text: text.split(","), help="only these; default all that are installed")
    parser.add_argument("--bodies", type=lambda text: text.split(","), help="only these; default all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--build", type=pathlib.Path, default=root / "build" / "release", help="where asya-load is")
    parser.add_argument("--page", type=pathlib.Path, help="write the table between the marks of this page")
    parser.add_argument("--picture", type=pathlib.Path, help="write the plot there")
    arguments = parser.parse_args()
    arguments.load = run.find_program("asya-load", arguments.build)
    arguments.echo = run.find_program("asya-echo", arguments.build)
    if arguments.load is None or not arguments.runtime.exists():
        parser.error("build first: make")
    arguments.runtime = arguments.runtime.resolve()
    arguments.upstream = arguments.upstream.resolve() if arguments.upstream else None
    arguments.programs = pathlib.Path(sys.executable).parent
    arguments.python = sys.executable
    arguments.set, arguments.pin = [], True
    return arguments


def main():
    arguments = parse_arguments()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("needs two processors: one for the servers, the others for the load client")
    facts = run.machine_facts(arguments)
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="asya-report-"))
        servers, versions = start(arguments, folder, cleanup, cores[:1])
        figures = measure_all(arguments, servers, folder, cores[1:])
    names = [server.name for server in servers]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    text = (f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['python']}, {facts['date']}; load "
            f"average before: {facts['load_average_before']}. Requests a second, medians of {facts['rounds']} rounds of "
            f"{facts['seconds_per_round']:g} s (± half the distance of the slowest and the fastest round); one core for "
            f"the servers. {listed}, orjson {importlib.metadata.version('orjson')}.\n\n" + table(figures, names))
    print(text)
    if arguments.page:
        write_page(arguments.page, text)
    if arguments.picture:
        plot(figures, names, arguments.picture)
    return 0


if __name__ == "__main__":
    run.exit_with(main)
