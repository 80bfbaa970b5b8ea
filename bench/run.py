#!/usr/bin/env python3
"""Compare the runtime with a Python server and with the floor of the socket path, side by side in one run.

Servers, all on this machine and all started before the first measurement:

  runtime   python3 dist/asya_runtime.py with an echo function
  floor     asya-echo: the runtime's own server layer in C, without JSON and without Python
  baseline  bench/baseline.py with the same echo function, in the protocol that is measured: one accept loop and the
            standard library's json; for HTTP the standard library's http.server
  threaded  the same with a thread per connection (only with --servers)
  stored    the floor with fdstore entries, scoreboard and fdholder, as a worker has them (only with --servers)
  unstored  the runtime built without slots and scoreboard, in build/bare (only with --servers)

Modes: raw (bare JSON), framed (length prefix), http (POST /invoke, a connection each), http-kept (the connection is kept).

Every figure is a median over rounds in which modes and servers take turns (A B C A B C), so that what disturbs the
machine disturbs all. Every reply is checked by the load client (asya-load). Requests have a connection each but in
http-kept. The columns server and client say what share of the time each was working: near 100 % it is the bottleneck.
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

MODES = ["raw", "framed", "http", "http-kept"]

# (mode, body, clients, compared with: a server, or a mode of the runtime; smallest ratio of requests per second)
TARGETS = [
    ("raw", "93 B", 8, "baseline", 2.0),
    ("raw", "93 B", 8, "floor", 0.5),
    ("raw", "9 KB", 8, "baseline", 4.0),
    ("raw", "1 MB", 1, "baseline", 10.0),
    ("framed", "93 B", 8, "baseline", 2.0),
    ("http", "93 B", 8, "baseline", 5.0),
    ("http-kept", "93 B", 8, "http", 1.5),
]


def pin(cores):
    """Keep this process, and what it starts, on these processors."""
    if cores:
        os.sched_setaffinity(0, cores)


class Skip(Exception):
    """A server cannot take part; the text says why."""


def make_payloads():
    """The payloads, the same in every run: name -> value."""
    chance = random.Random(20240229)
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
    return {"93 B": {"text": "a cat."}, "9 KB": {"records": records}, "1 MB": {"vectors": vectors}}


def encode(value):
    """As compact as the smallest messages are."""
    return json.dumps(value, separators=(",", ":")).encode()


def pad(message, size):
    """The message with its id made so long that it has `size` bytes."""
    message["id"] = "5f3c9a1e-7b42-4d0e-9a57-3b1f00c0ffee-0"[: size - len(encode(message | {"id": ""}))]
    assert len(encode(message)) == size
    return encode(message)


def make_body(mode, name, payload):
    """What is sent in this mode: bare JSON is the payload itself, the others carry it with a route."""
    if mode == "framed":
        message = {"id": "", "route": {"actors": ["embed"], "current": 0}, "payload": payload}
    elif mode == "raw" and name != "93 B":
        return json.dumps(payload).encode()
    else:
        message = {"id": "", "route": {"prev": [], "curr": "embed", "next": []}, "payload": payload}
    return pad(message, 93) if name == "93 B" else json.dumps(message).encode()


class Socket:
    """One checked exchange, to learn how a good reply looks."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def exchange(self, mode, body):
        """The JSON of the reply."""
        heads = {
            "raw": b"",
            "framed": len(body).to_bytes(4, "big"),
            "http": b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body),
        }
        self.socket.sendall(heads[mode] + body)
        if mode == "raw":
            self.socket.shutdown(socket.SHUT_WR)
        with self.socket.makefile("rb") as stream:
            reply = stream.read()
        return {"raw": reply, "framed": reply[4:], "http": reply.partition(b"\r\n\r\n")[2]}[mode]


def is_good(reply, mode, sent):
    """The reply holds what was sent, in the form of the mode or in the floor's."""
    if reply in ({"status": "ok", "result": sent}, sent):
        return True
    if mode == "framed":
        return isinstance(reply, list) and [item.get("payload") for item in reply] == [sent["payload"]]
    return mode == "http" and [item.get("payload") for item in reply.get("frames", [])] == [sent["payload"]]


class Server:
    """A server process under test, with its own socket and log."""

    def __init__(self, name, modes, command, folder, environment, cores):
        self.name, self.modes = name, modes
        self.path = os.path.join(folder, f"{name}-{modes[0]}.sock")
        self.log = pathlib.Path(folder, f"{name}-{modes[0]}.log")
        self.expect = {}
        command = [self.path if part == "SOCKET" else str(part) for part in command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "ASYA_SOCKET_PATH": self.path},
                stdout=log,
                stderr=log,
                preexec_fn=lambda: pin(cores),
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

    def learn(self, mode, name, body):
        """Check one whole reply to this body and remember how it begins."""
        form = "http" if mode == "http-kept" else mode
        with Socket(self.path) as connection:
            reply = connection.exchange(form, body)
        try:
            value = json.loads(reply)
        except ValueError:
            raise Skip(f"its reply to {mode}, {name} is not JSON: {reply[:80]!r}") from None
        if not is_good(value, form, json.loads(body)):
            raise Skip(f"its reply to {mode}, {name} is not the payload: {reply[:80]!r}")
        self.expect[mode, name] = reply[:14].decode()

    def processor_seconds(self):
        """User and system time of the server's processes so far."""
        ticks = 0
        for pid in [self.process.pid, *children_of(self.process.pid)]:
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

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


def children_of(pid):
    """Processes below this one, the nearest alone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]
    return []


def find_program(name, build):
    """A program that Meson built, or None."""
    program = build / "bench" / name
    return program if program.exists() else None


def server_command(name, mode, arguments):
    """How a server is started; raise Skip if it has not been built."""
    if name == "runtime":
        if not arguments.runtime.exists():
            raise Skip(f"{arguments.runtime} does not exist: build it with `make`")
        return [arguments.python, arguments.runtime.resolve()]
    if name == "bare":
        program = ROOT / "build" / "bare" / "asya_runtime.py"
        if not program.exists():
            raise Skip("not built: tools/build.sh build/bare -Dfdstore=false")
        return [arguments.python, program]
    if name in ("floor", "stored"):
        echo = find_program("asya-echo", arguments.build)
        if echo is None:
            raise Skip(f"asya-echo is not in {arguments.build / 'bench'}")
        return [echo, "SOCKET"] if name == "floor" else [echo, "--fdstore", "SOCKET"]
    command = [arguments.python, ROOT / "bench" / "baseline.py", "--protocol", mode]
    return command + ["--threads"] if name == "threaded" else command


def server_modes(name, modes):
    """Which modes one process of this server takes, as lists: a Python server speaks one protocol."""
    if name in ("runtime", "bare", "floor", "stored"):
        return [modes]
    return [[mode] for mode in modes if mode != "http-kept"]  # http.server answers HTTP/1.0


def start_servers(arguments, folder, rows, cleanup):
    """Start all that can take part; each is stopped by `cleanup`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    environment.update(ASYA_PROCESS_MODULE="echo:process", PYTHONDONTWRITEBYTECODE="1")
    environment.update(setting.split("=", 1) for setting in arguments.set)
    servers = []
    for name in arguments.servers:
        for modes in server_modes(name, arguments.modes):
            try:
                server = Server(name, modes, server_command(name, modes[0], arguments), folder, environment, arguments.pin[:1])
                cleanup.callback(server.stop)
                server.wait_until_ready()
                for mode, body_name, _, body in rows:
                    if mode in modes:
                        server.learn(mode, body_name, body)
                servers.append(server)
            except Skip as reason:
                print(f"{name}: left out: {reason}", file=sys.stderr)
    return servers


def make_rows(arguments):
    """What is measured: (mode, name of the body, clients, body). Protocols are compared on the small message."""
    payloads = make_payloads()
    rows = []
    for name in arguments.bodies:
        for clients in arguments.clients:
            for mode in arguments.modes:
                if mode == "raw" or (name == "93 B" and clients == max(arguments.clients)):
                    rows.append((mode, name, clients, make_body(mode, name, payloads[name])))
    return rows


def measure(arguments, server, row, body_path):
    """One run of the load client: its JSON line as a dict."""
    mode, body_name, clients, _ = row
    command = [arguments.load, "--socket", server.path, "--mode", mode, "--clients", clients]
    command += ["--seconds", arguments.seconds, "--warm-up", min(0.2, arguments.seconds / 4), "--no-half-close"]
    command += ["--body", body_path, "--expect", server.expect[mode, body_name]]
    before, started = server.processor_seconds(), time.monotonic()
    command = [str(part) for part in command]
    cores = arguments.pin[1:]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, preexec_fn=lambda: pin(cores))
    worked, wall = server.processor_seconds() - before, time.monotonic() - started
    if not done.stdout:
        raise SystemExit(f"{server.name}: the load client failed with status {done.returncode}")
    return {**json.loads(done.stdout), "server_busy": worked / wall}


def measure_all(arguments, servers, rows, folder):
    """All cells of the table: a list of dicts, one for each row and server that takes it."""
    runs = {}
    for body_name, clients in dict.fromkeys((name, clients) for _, name, clients, _ in rows):
        together = [row for row in rows if row[1:3] == (body_name, clients)]  # modes take turns, too
        for number in range(arguments.rounds):
            for row in together:
                body_path = os.path.join(folder, "body.json")
                pathlib.Path(body_path).write_bytes(row[3])
                for server in servers:
                    if row[0] in server.modes:
                        progress(f"{row[0]}, {body_name}, {clients} clients, round {number + 1}: {server.name}")
                        line = measure(arguments, server, row, body_path)
                        runs.setdefault((row, server.name), []).append(line)
    progress("")
    return [summarise(row, name, lines) for (row, name), lines in runs.items()]


def progress(text):
    """A line that the next one overwrites, for somebody who waits at a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def summarise(row, server, lines):
    """The medians over the rounds."""
    mode, body_name, clients, body = row
    cell = {"mode": mode, "body": body_name, "bytes": len(body), "clients": clients, "server": server}
    for key in ("requests_per_second", "p50_us", "p99_us", "p999_us", "client_busy", "server_busy"):
        cell[key] = statistics.median(line[key] for line in lines)
    cell["max_us"] = max(line["max_us"] for line in lines)
    cell["requests"] = sum(line["requests"] for line in lines)
    cell["errors"] = sum(line["errors"] for line in lines)
    rates = [line["requests_per_second"] for line in lines]
    cell["spread"] = (max(rates) - min(rates)) / cell["requests_per_second"] if cell["requests_per_second"] else 0.0
    return cell


def ratio(cells, cell, other):
    """Requests per second against another server in the same place of the table, or against another mode of the same
    server; None where that was not measured."""
    place = {"mode": cell["mode"], "body": cell["body"], "clients": cell["clients"], "server": cell["server"]}
    place["mode" if other in MODES else "server"] = other
    for candidate in cells:
        if all(candidate[key] == value for key, value in place.items()):
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
        "pinned": bool(arguments.pin),
        "settings": arguments.set,
    }


def print_facts(facts):
    """The head of the report."""
    print(f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['python']}, {facts['date']}")
    settings = "; ".join(["", *["servers and load client on a processor each"] * facts["pinned"], *facts["settings"]])
    print(f"median of {facts['rounds']} rounds of {facts['seconds_per_round']:g} s each{settings}")
    busy = facts["load_average_before"] > 0.5
    print(f"load average before: {facts['load_average_before']}{' (not a quiet machine)' if busy else ''}\n")


def print_table(cells):
    """One line a server, ratios by requests per second."""
    head = f"{'mode':<10}{'body':<6}{'clients':>8}  {'server':<10}{'req/s':>10}{'p50 us':>10}{'p99 us':>10}{'errors':>8}"
    print(f"{head}{'spread':>8}{'server':>8}{'client':>8}{'x baseline':>12}{'x floor':>9}")
    place = None
    for cell in cells:
        if place not in (None, (cell["body"], cell["clients"])):
            print()
        place = (cell["body"], cell["clients"])
        ratios = [ratio(cells, cell, other) for other in ("baseline", "floor")]
        against = [f"{value:.2f}" if value is not None else "-" for value in ratios]
        print(
            f"{cell['mode']:<10}{cell['body']:<6}{cell['clients']:>8}  {cell['server']:<10}"
            f"{cell['requests_per_second']:>10,.0f}{cell['p50_us']:>10,.0f}{cell['p99_us']:>10,.0f}{cell['errors']:>8}"
            f"{cell['spread']:>8.0%}{cell['server_busy']:>8.0%}{cell['client_busy']:>8.0%}"
            f"{against[0]:>12}{against[1]:>9}"
        )


def judge_targets(cells):
    """The project's own targets against what was measured: a list of dicts."""
    verdicts = []
    for mode, body, clients, other, least in TARGETS:
        for cell in cells:
            if (cell["mode"], cell["body"], cell["clients"], cell["server"]) == (mode, body, clients, "runtime"):
                value = ratio(cells, cell, other)
                if value is not None:
                    verdict = {"mode": mode, "body": body, "clients": clients, "against": other}
                    verdicts.append({**verdict, "least": least, "ratio": value})
    return verdicts


def print_targets(verdicts):
    """One line a target."""
    for verdict in verdicts:
        met = "met" if verdict["ratio"] >= verdict["least"] else "MISSED"
        where = f"{verdict['mode']}, {verdict['body']}, {verdict['clients']} clients"
        print(f"target {where}, at least {verdict['least']:g}x {verdict['against']}: {verdict['ratio']:.2f}x, {met}")


def parse_arguments():
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", type=pathlib.Path, default=ROOT / "dist" / "asya_runtime.py", help="the one file")
    parser.add_argument("--build", type=pathlib.Path, help="Meson's folder (default: build/release or build/bench)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of runtime and baseline")
    parser.add_argument(
        "--servers", type=lambda text: text.split(","), default=SERVERS, help="runtime,floor,baseline,threaded,stored"
    )
    parser.add_argument(
        "--modes", type=lambda text: text.split(","), default=MODES, help="raw,framed,http,http-kept; default all"
    )
    parser.add_argument(
        "--bodies", type=lambda text: text.split(","), default=list(make_payloads()), help="93 B,9 KB,1 MB; default all"
    )
    parser.add_argument(
        "--clients", type=lambda text: [int(part) for part in text.split(",")], default=[1, 8], help="default 1,8"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default 1)")
    parser.add_argument("--pin", action="store_true", help="servers on one processor, the load client on the others")
    parser.add_argument("--quick", action="store_true", help="one round of 0.3 s: does it work at all")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="environment of the servers")
    parser.add_argument("--json", metavar="FILE", help="write facts, table and targets there as JSON (- for stdout)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 0.3
    if unknown := set(arguments.servers) - {*SERVERS, "threaded", "stored", "bare"}:
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    arguments.pin = sorted(os.sched_getaffinity(0)) if arguments.pin else []
    if len(arguments.pin) == 1:
        parser.error("--pin needs two processors")
    if unknown := set(arguments.modes) - set(MODES):
        parser.error(f"no such mode: {', '.join(sorted(unknown))}")
    if unknown := set(arguments.bodies) - make_payloads().keys():
        parser.error(f"no such body: {', '.join(sorted(unknown))}")
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
    rows = make_rows(arguments)
    facts = machine_facts(arguments)
    if arguments.json != "-":
        print_facts(facts)
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="asya-bench-"))
        pathlib.Path(folder, "echo.py").write_text(ECHO)
        servers = start_servers(arguments, folder, rows, cleanup)
        if not servers:
            return 1
        cells = measure_all(arguments, servers, rows, folder)
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


def exit_with(main):
    """Call main and exit with its status. SIGTERM and Ctrl-C unwind, so that the servers are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    exit_with(main)
