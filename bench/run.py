#!/usr/bin/env python3
"""Compare the runtime with a Python server and with the floor of the socket path, side by side in one run.

Servers, all on this machine and all started before the first measurement:

  runtime   python3 dist/asya_runtime.py with an echo function
  floor     asya-echo: the runtime's own server layer in C, without JSON and without Python
  baseline  bench/baseline.py with the same echo function: one accept loop, the standard library's json
  threaded  the same with a thread per connection (only with --servers)
  parked    the floor with parking slots, status page and keeper, as a worker has them (only with --servers)

Every figure is a median over rounds in which the servers take turns (A B C A B C), so that what disturbs the machine
disturbs all. Every request has its own connection and every reply is checked by the load client (asya-load).
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVERS = ["runtime", "floor", "baseline"]
ECHO = "def process(payload):\n    return payload\n"

# (body, clients, server compared with, smallest ratio of requests per second): what the project has set itself
TARGETS = [
    ("93 B", 8, "baseline", 2.0),
    ("93 B", 8, "floor", 0.5),
    ("9 KB", 8, "baseline", 4.0),
    ("1 MB", 1, "baseline", 10.0),
]


class Skip(Exception):
    """A server cannot take part; the text says why."""


def make_bodies():
    """The requests, the same in every run: name -> bytes."""
    chance = random.Random(20240229)
    envelope = {
        "id": "5f3c9a1e-7b42",
        "route": {"prev": ["ingest"], "curr": "embed"},
        "payload": {"text": "a cat."},
    }
    records = [
        {
            "id": number,
            "name": f"item-{chance.randrange(10**6):06d}",
            "score": round(chance.random(), 4),
            "tags": chance.sample(["red", "new", "hot", "big", "raw"], 2),
            "ok": chance.random() < 0.5,
        }
        for number in range(100)
    ]
    vectors = [[chance.uniform(-1, 1) for _ in range(768)] for _ in range(64)]
    return {
        "93 B": json.dumps(envelope, separators=(",", ":")).encode(),
        "9 KB": json.dumps({"records": records}).encode(),
        "1 MB": json.dumps({"vectors": vectors}).encode(),
    }


class Server:
    """A server process under test, with its own socket and log."""

    def __init__(self, name, command, folder, environment):
        self.name = name
        self.path = os.path.join(folder, f"{name}.sock")
        self.log = pathlib.Path(folder, f"{name}.log")
        self.expect = {}
        command = [self.path if part == "SOCKET" else str(part) for part in command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "ASYA_SOCKET_PATH": self.path},
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the measurement; the servers are stopped in order after it
            )

    def wait_until_ready(self, seconds=15):
        """Return when the socket accepts; raise Skip with the log if it never does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(self.path)
                return
            time.sleep(0.01)
        raise Skip("did not start:\n" + self.log.read_text(errors="replace")[-2000:])

    def learn(self, name, body):
        """Check one whole reply to this body and remember how it begins."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(self.path)
            client.sendall(body)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as stream:
                reply = stream.read()
        try:
            value, sent = json.loads(reply), json.loads(body)
        except ValueError:
            raise Skip(f"its reply to {name} is not JSON: {reply[:80]!r}") from None
        if value not in ({"status": "ok", "result": sent}, sent):
            raise Skip(f"its reply to {name} is not the payload: {reply[:80]!r}")
        self.expect[name] = reply[:14].decode()

    def stop(self):
        """SIGTERM, and SIGKILL for what does not end within ten seconds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            print(f"{self.name}: did not stop within 10 s and was killed", file=sys.stderr)


def find_program(name, build):
    """A program that Meson built, or None."""
    program = build / "bench" / name
    return program if program.exists() else None


def server_command(name, arguments):
    """How a server is started; raise Skip if it has not been built."""
    if name == "runtime":
        if not arguments.runtime.exists():
            raise Skip(f"{arguments.runtime} does not exist: build it with `make`")
        return [arguments.python, arguments.runtime.resolve()]
    if name in ("floor", "parked"):
        echo = find_program("asya-echo", arguments.build)
        if echo is None:
            raise Skip(f"asya-echo is not in {arguments.build / 'bench'}")
        return [echo, "SOCKET"] if name == "floor" else [echo, "--park", "SOCKET"]
    command = [arguments.python, ROOT / "bench" / "baseline.py"]
    return command + ["--threads"] if name == "threaded" else command


def start_servers(arguments, folder, bodies, cleanup):
    """Start all that can take part; each is stopped by `cleanup`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    environment.update(ASYA_PROCESS_MODULE="echo:process", PYTHONDONTWRITEBYTECODE="1")
    environment.update(setting.split("=", 1) for setting in arguments.set)
    servers = []
    for name in arguments.servers:
        try:
            server = Server(name, server_command(name, arguments), folder, environment)
            cleanup.callback(server.stop)
            server.wait_until_ready()
            for body_name, body in bodies.items():
                server.learn(body_name, body)
            servers.append(server)
        except Skip as reason:
            print(f"{name}: left out: {reason}", file=sys.stderr)
    return servers


def measure(arguments, server, body_name, body_path, clients):
    """One run of the load client: its JSON line as a dict."""
    command = [arguments.load, "--socket", server.path, "--clients", clients, "--seconds", arguments.seconds]
    command += ["--warm-up", min(0.2, arguments.seconds / 4), "--body", body_path, "--expect", server.expect[body_name]]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"{server.name}: the load client failed with status {done.returncode}")
    return json.loads(done.stdout)


def measure_all(arguments, servers, bodies, folder):
    """All cells of the table: a list of dicts, one for each body, number of clients and server."""
    cells = []
    for body_name, body in bodies.items():
        body_path = os.path.join(folder, "body.json")
        pathlib.Path(body_path).write_bytes(body)
        for clients in arguments.clients:
            runs = {server.name: [] for server in servers}
            for number in range(arguments.rounds):
                for server in servers:
                    progress(f"{body_name}, {clients} clients, round {number + 1}: {server.name}")
                    runs[server.name].append(measure(arguments, server, body_name, body_path, clients))
            cells += [summarise(body_name, len(body), clients, name, lines) for name, lines in runs.items()]
    progress("")
    return cells


def progress(text):
    """A line that the next one overwrites, for somebody who waits at a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def summarise(body_name, size, clients, server, lines):
    """The medians over the rounds."""
    cell = {"body": body_name, "bytes": size, "clients": clients, "server": server}
    for key in ("requests_per_second", "p50_us", "p99_us", "p999_us", "client_busy"):
        cell[key] = statistics.median(line[key] for line in lines)
    cell["max_us"] = max(line["max_us"] for line in lines)
    cell["requests"] = sum(line["requests"] for line in lines)
    cell["errors"] = sum(line["errors"] for line in lines)
    rates = [line["requests_per_second"] for line in lines]
    cell["spread"] = (max(rates) - min(rates)) / cell["requests_per_second"] if cell["requests_per_second"] else 0.0
    return cell


def ratio(cells, cell, other):
    """Requests per second against another server in the same place of the table, or None."""
    for candidate in cells:
        if (candidate["body"], candidate["clients"], candidate["server"]) == (cell["body"], cell["clients"], other):
            rate = candidate["requests_per_second"]
            return cell["requests_per_second"] / rate if rate else None
    return None


def machine_facts(arguments):
    """What one needs to know to compare with figures from elsewhere."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    version = [arguments.python, "-c", "import platform as p; print(p.python_implementation(), p.python_version())"]
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": subprocess.run(version, stdout=subprocess.PIPE, text=True, check=True).stdout.strip(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": arguments.rounds,
        "seconds_per_round": arguments.seconds,
        "settings": arguments.set,
    }


def print_facts(facts):
    """The head of the report."""
    print(f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['python']}, {facts['date']}")
    settings = "; ".join(["", *facts["settings"]])
    print(f"median of {facts['rounds']} rounds of {facts['seconds_per_round']:g} s each{settings}")
    busy = facts["load_average_before"] > 0.5
    print(f"load average before: {facts['load_average_before']}{' (not a quiet machine)' if busy else ''}\n")


def print_table(cells):
    """One row a server, ratios by requests per second; client: how busy the load client was (100 %: the bottleneck)."""
    head = f"{'body':<6}{'clients':>8}  {'server':<10}{'req/s':>10}{'p50 us':>10}{'p99 us':>10}"
    print(f"{head}{'errors':>8}{'spread':>8}{'client':>8}{'x baseline':>12}{'x floor':>9}")
    place = None
    for cell in cells:
        if place not in (None, (cell["body"], cell["clients"])):
            print()
        place = (cell["body"], cell["clients"])
        ratios = [ratio(cells, cell, other) for other in ("baseline", "floor")]
        against = [f"{value:.2f}" if value is not None else "-" for value in ratios]
        print(
            f"{cell['body']:<6}{cell['clients']:>8}  {cell['server']:<10}{cell['requests_per_second']:>10,.0f}"
            f"{cell['p50_us']:>10,.0f}{cell['p99_us']:>10,.0f}{cell['errors']:>8}{cell['spread']:>8.0%}"
            f"{cell['client_busy']:>8.0%}{against[0]:>12}{against[1]:>9}"
        )


def judge_targets(cells):
    """The project's own targets against what was measured: a list of dicts."""
    verdicts = []
    for body, clients, other, least in TARGETS:
        for cell in cells:
            if (cell["body"], cell["clients"], cell["server"]) == (body, clients, "runtime"):
                value = ratio(cells, cell, other)
                if value is not None:
                    verdicts.append(
                        {"body": body, "clients": clients, "against": other, "least": least, "ratio": value}
                    )
    return verdicts


def print_targets(verdicts):
    """One line a target."""
    for verdict in verdicts:
        met = "met" if verdict["ratio"] >= verdict["least"] else "MISSED"
        where = f"{verdict['body']}, {verdict['clients']} clients, at least {verdict['least']:g}x {verdict['against']}"
        print(f"target {where}: {verdict['ratio']:.2f}x, {met}")


def parse_arguments():
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", type=pathlib.Path, default=ROOT / "dist" / "asya_runtime.py", help="the one file")
    parser.add_argument("--build", type=pathlib.Path, help="Meson's folder (default: build/release or build/bench)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of runtime and baseline")
    parser.add_argument(
        "--servers", type=lambda text: text.split(","), default=SERVERS, help="runtime,floor,baseline,threaded"
    )
    parser.add_argument("--bodies", type=lambda text: text.split(","), help="of '93 B,9 KB,1 MB'; default all")
    parser.add_argument(
        "--clients", type=lambda text: [int(part) for part in text.split(",")], default=[1, 8], help="default 1,8"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default 1)")
    parser.add_argument("--quick", action="store_true", help="one round of 0.3 s: does it work at all")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="environment of the servers")
    parser.add_argument("--json", metavar="FILE", help="write facts, table and targets there as JSON (- for stdout)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 0.3
    if unknown := set(arguments.servers) - {*SERVERS, "threaded"}:
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    if any("=" not in setting for setting in arguments.set):
        parser.error("--set takes NAME=VALUE")
    if arguments.rounds < 1 or arguments.seconds <= 0 or min(arguments.clients) < 1:
        parser.error("rounds, seconds and clients must be positive")
    builds = [arguments.build] if arguments.build else [ROOT / "build" / "release", ROOT / "build" / "bench"]
    arguments.build = next((build for build in builds if find_program("asya-load", build)), None)
    if arguments.build is None:
        parser.error(f"asya-load is not in {' or '.join(str(build / 'bench') for build in builds)}: build it first")
    arguments.build = arguments.build.resolve()
    arguments.load = find_program("asya-load", arguments.build)
    return arguments


def main():
    """Measure, print, and leave nothing behind. Returns the exit status."""
    arguments = parse_arguments()
    bodies = make_bodies()
    if arguments.bodies:
        if unknown := set(arguments.bodies) - bodies.keys():
            raise SystemExit(f"no such body: {', '.join(sorted(unknown))}")
        bodies = {name: bodies[name] for name in arguments.bodies}
    facts = machine_facts(arguments)
    if arguments.json != "-":
        print_facts(facts)
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="asya-bench-"))
        pathlib.Path(folder, "echo.py").write_text(ECHO)
        servers = start_servers(arguments, folder, bodies, cleanup)
        if not servers:
            return 1
        cells = measure_all(arguments, servers, bodies, folder)
    verdicts = judge_targets(cells)
    if arguments.json:
        report = json.dumps({"machine": facts, "cells": cells, "targets": verdicts}, indent=2) + "\n"
        if arguments.json == "-":
            sys.stdout.write(report)
        else:
            pathlib.Path(arguments.json).write_text(report)
    if arguments.json != "-":
        print_table(cells)
        print()
        print_targets(verdicts)
    if any(cell["errors"] for cell in cells):
        print("some replies were not the expected ones: see the column errors", file=sys.stderr)
        return 1
    missed = any(verdict["ratio"] < verdict["least"] for verdict in verdicts)
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
