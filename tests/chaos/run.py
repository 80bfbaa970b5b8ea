#!/usr/bin/env python3
"""The chaos run: numbered requests while workers are killed, stopped and exhausted; every request gets its one reply.

The clients are asya-chaos (client.c): bare JSON, the length prefix, HTTP on new and kept connections, pipelined, and
streams. The deeds they ask for are in handler.py; the killer is here and strikes from outside at random moments.

A leg is a runtime of its own: so many workers, one shape of the function (plain, threads, tasks), and one kind: steady,
with recycling, or delayed: with delays around system calls too (tests/shims/delays.c). A few legs are spared or
preloaded: recycling, with a spare, and with workers that a template forks. In two kinds more nobody dies, so
that no reply may be an error: calm, with recycling and delays; idle, with delays, where kept connections are used in the
moment they end for being idle. Without --workers and --shape all of them are run and share the requests. Prints a table,
what happened as JSON, and the seed of all choices. What the function itself tears from the loop's hand counts apart
(separate_torn). Exit status 1 if a reply was lost, duplicated, unsolicited, mispaired, wrong, truncated, reset or late,
if something was cut that no death explains, or if a supervisor has not come back to what it was before."""
import argparse
import bisect
import datetime
import json
import pathlib
import os
import random
import re
import signal
import subprocess
import sys
import threading

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from harness import processes  # noqa: E402
from harness import runtime as harness  # noqa: E402
from harness import shims  # noqa: E402

SHAPES = {
    "plain": ("handler", {}),
    "threads": ("handler", {"ASYA_CONCURRENCY": "4"}),
    "tasks": ("handler:task", {"ASYA_CONCURRENCY": "4"}),
}
WORKERS = [1, 2, 4]
KINDS = ["steady", "recycling", "delayed"]
CALM_KINDS = ["calm", "idle"]
CALM = [(1, "plain", "calm"), (2, "threads", "calm"), (4, "tasks", "calm"),
        (1, "tasks", "idle"), (2, "plain", "idle"), (4, "threads", "idle")]
CALM_SHARE = 40  # one leg of them has so small a part of the requests
# With a spare, and with a template that is killed, too (ASYA_PRELOAD).
AHEAD_KINDS = ["spared", "preloaded"]
AHEAD = [(1, "tasks", "spared"), (2, "plain", "spared"), (1, "plain", "preloaded"), (2, "threads", "preloaded"),
         (4, "tasks", "preloaded")]
SHORT = [(1, "plain", "recycling"), (2, "plain", "delayed"), (2, "threads", "recycling"), (4, "threads", "delayed"),
         (1, "plain", "spared"), (2, "tasks", "preloaded"), (1, "tasks", "steady"), (4, "tasks", "recycling"), (2, "threads", "calm"), (2, "tasks", "idle")]
TIME_LIMIT, CALM_TIME_LIMIT = "0.2", "20"
IDLE_MS = 1500  # of kept connections in idle legs
REQUESTS_A_LIFE = 60  # with recycling: about as long as a worker lives anyway
DELAY_ONE_IN = 20  # system calls on connections
MEMORY_MARGIN = 256 << 10

DEATH = re.compile(r"^(\S+) ERROR (?:\[[^]]*\] )?worker \d+, pid (\d+), (.*?)(?: \d+)?(?:, core dumped)? after \d+ requests", re.M)
CUT_WITHIN = 3.0  # seconds between a cut and the line about the death that explains it
TAMPERED = "gave up: the function closed or replaced descriptors of the runtime"
TORN_WITHIN = 1.0  # likewise, between a loss and such a death
# Connections for each such death, beside two. A worker accepts some 400 a second then; a delay of 2 ms on average lies
# between the acceptance and the copy in one of 20 cases (DELAY_ONE_IN, behind the one call and before the other).
TORN_AT_MOST = {"steady": 0.03, "recycling": 0.03, "spared": 0.03, "preloaded": 0.03, "delayed": 0.08}
BAD = ["lost", "duplicated", "unsolicited", "mispaired", "wrong", "truncated", "reset", "late"]
GOOD = ["ok", "errors", "cut", "disconnected"]

# How often which signal; a stop ends after a while.
STRIKES = [(signal.SIGKILL, 40), (signal.SIGSEGV, 20), (signal.SIGABRT, 15), (signal.SIGTERM, 10), (signal.SIGBUS, 10),
           (signal.SIGSTOP, 5)]


def has_begun(pid):
    """The worker has what it waits with: it has loaded the function."""
    return any("eventpoll" in name for name in processes.descriptors(pid).values())


def is_struck(pid, chance):
    """One that loads the function mostly is not; the template waits without such a set."""
    try:
        with open("/proc/%d/comm" % pid) as file:
            is_template = file.read().strip() == "asya-template"
    except OSError:
        return False
    return has_begun(pid) or chance.random() < (0.2 if is_template else 0.02)


class Killer(threading.Thread):
    """Strikes a random worker every few milliseconds.

    One that still loads the function is mostly spared, or little but loading would be done."""

    def __init__(self, server, pause, chance):
        super().__init__(daemon=True)
        self.server, self.pause, self.chance = server, pause, chance
        self.over = threading.Event()
        self.deadly = 0
        self.stops = 0

    def run(self):
        up = 1  # workers; one that is left alone does not get the strikes of those that load
        while not self.over.wait(self.chance.uniform(0.2, 1.8) * self.pause / up):
            if self.chance.random() < 0.02:  # long enough for a hang to be ended by its time limit
                self.over.wait(self.chance.uniform(0.5, 2.5))
            victims = [pid for pid in self.server.worker_pids() if is_struck(pid, self.chance)]
            up = max(len(victims), 1)
            if victims:
                self.strike(self.chance.choice(victims))

    def strike(self, victim):
        number = self.chance.choices([number for number, _ in STRIKES], [weight for _, weight in STRIKES])[0]
        try:
            os.kill(victim, number)
            if number == signal.SIGSTOP:
                self.stops += 1
                self.over.wait(self.chance.uniform(0.5, 2) if self.chance.random() < 0.1
                               else self.chance.uniform(0.01, 0.2))
                os.kill(victim, signal.SIGCONT)
            else:
                self.deadly += 1
        except ProcessLookupError:
            pass


def state(server):
    return {"memory": processes.resident(server.pid), "descriptors": len(processes.descriptors(server.pid)),
            "children": len(processes.all_children(server.pid))}


def is_as_before(now, before):
    missing = before["children"] - now["children"]  # a spare that was killed while it loaded is tried again after a minute
    return now["descriptors"] <= before["descriptors"] and 0 <= missing <= before["spares"] and \
        now["memory"] <= before["memory"] + MEMORY_MARGIN


def settled(server, before):
    """The supervisor's state once it is as before, or what it stays at. Not looked at again after that: a worker whose
    function hangs may be killed for its time limit a moment later, and then its successor is not there yet."""
    seen = []

    def has_settled():
        seen.append(state(server))
        return is_as_before(seen[-1], before)

    processes.eventually(has_settled, 10)
    return seen[-1]


def deaths_of(log):
    """(cause -> how often, pid -> when it was logged that it is dead, when some gave up), by the supervisor's log."""
    causes, when, tampered = {}, {}, []
    for stamp, pid, cause in DEATH.findall(log):
        causes[cause] = causes.get(cause, 0) + 1
        when[int(pid)] = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
        if cause == TAMPERED:
            tampered.append(when[int(pid)])
    return causes, when, tampered


def separate_torn(figures, losses, tampered):
    """A function in a thread that closes every descriptor may close one that the loop beside it has accepted this very
    moment and that nobody else holds yet: the one way in which a reply can be lost (docs/reliability.md, Limits)."""
    if figures["shape"] == "threads":
        torn = [ms for _, ms in losses if any(abs(ms / 1000 - at) <= TORN_WITHIN for at in tampered)]
        figures["torn"] = len(torn)
        figures["torn_connections"] = len(set(torn))  # requests that were sent together are lost in the same millisecond
        figures["lost"] = figures.get("lost", 0) - figures["torn"]


def count_unexplained(cuts, when):
    """How many were cut though their worker did not die then; where it is not known, though none died then."""
    times = sorted(when.values())
    unexplained = 0
    for worker, ms in cuts:
        at = ms / 1000
        if worker:
            unexplained += abs(when.get(worker, 0) - at) > CUT_WITHIN
        else:
            near = bisect.bisect_left(times, at - CUT_WITHIN)
            unexplained += near == len(times) or times[near] > at + CUT_WITHIN
    return unexplained


def run_clients(arguments, server, seed, requests, shape, kind):
    is_calm = kind in CALM_KINDS
    words = {"requests": requests, "clients": arguments.clients, "seed": seed, "shared": int(shape != "plain"),
             "lethal": 0 if is_calm else arguments.lethal, "idle": IDLE_MS if kind == "idle" else 0}
    words.update(pair.split("=") for pair in arguments.mix)
    return subprocess.run([str(arguments.client), server.path, *("%s=%s" % pair for pair in words.items())],
                          stdout=subprocess.PIPE, text=True, check=False)


def keep_log(arguments, name, text):
    if arguments.logs:
        arguments.logs.mkdir(parents=True, exist_ok=True)
        (arguments.logs / (name + ".log")).write_text(text)


def spares_of(arguments, kind):
    return max(arguments.spares, int(kind in AHEAD_KINDS))


def settings_of(arguments, workers, kind):
    settings = {"ASYA_SPARES": str(spares_of(arguments, kind)), "ASYA_PRELOAD": str(kind == "preloaded").lower(),
                "PYTHONPATH": str(TESTS / "chaos"), "ASYA_WORKERS": workers, "ASYA_MEMORY_LIMIT": str(120 << 20),
                "ASYA_HANDLER_TIMEOUT": TIME_LIMIT}
    if kind in ("recycling", "delayed", "calm", *AHEAD_KINDS):
        settings["ASYA_MAX_REQUESTS"] = REQUESTS_A_LIFE
    if kind in ("delayed", "calm", "idle"):
        settings.update(shims.preloaded("delays", SHIM_DELAYS=DELAY_ONE_IN))
    if kind in CALM_KINDS:
        settings["ASYA_HANDLER_TIMEOUT"] = CALM_TIME_LIMIT
    if kind == "idle":
        settings["ASYA_KEEPALIVE_TIMEOUT"] = str(IDLE_MS / 1000)
    return settings


def run_leg(arguments, seed, requests, workers, shape, kind):
    """The leg's figures; figures["failed"] says in words what was not right."""
    chance = random.Random(seed)
    handler, settings = SHAPES[shape]
    is_calm = kind in CALM_KINDS
    spares = spares_of(arguments, kind)
    server = harness.Runtime(handler, env={**settings_of(arguments, workers, kind), **settings})
    try:
        server.launch().wait_ready()
        server.wait_complete()
        if spares:
            server.wait_for_log("is ready.*as a spare", count=spares)
        for _ in range(50):
            server.result({"number": 1, "do": "echo", "events": 0, "fill": 0})
        before = {**state(server), "spares": spares}
        killer = Killer(server, arguments.pause / 1000, chance)
        if not is_calm:
            killer.start()
        client = run_clients(arguments, server, seed, requests, shape, kind)
        killer.over.set()
        if not is_calm:
            killer.join()
        serves = server.running and server.result({"number": 7, "do": "echo", "events": 0, "fill": 0}) == {"number": 7}
        after = settled(server, before)
        ended = server.stop()
        figures = json.loads(client.stdout or "{}")
        figures.update(seed=seed, workers=workers, shape=shape, kind=kind, before=before, after=after, ended=ended,
                       serves=serves, strikes=killer.deadly, stops=killer.stops)
        judge(figures, server.log_text())
        figures["log_end"] = server.log_text().splitlines()[-40:]
        return figures
    finally:
        keep_log(arguments, "%d-%s-%s" % (workers, shape, kind), server.log_text())
        server.discard()


def count_undue(figures):
    """Errors, cuts and deaths where nobody is killed. A request that arrives in pieces as its connection ends for being
    idle is told to be sent again."""
    due = figures["error_causes"]["server_error"] if figures["kind"] == "idle" else 0
    return figures["errors"] - due + figures["cut"] + figures["deaths"]


def judge(figures, log):
    causes, when, tampered = deaths_of(log)
    separate_torn(figures, figures.pop("lost_by", []), tampered)
    figures.update(causes=causes, deaths=sum(causes.values()),
                   time_limits=len(re.findall("ERROR .*did not finish within", log)),
                   cut_unexplained=count_unexplained(figures.pop("cut_by", []), when))
    failed = ["%d %s" % (figures.get(name, -1), name) for name in BAD + ["cut_unexplained"] if figures.get(name, -1)]
    if figures.get("torn_connections", 0) > 2 + TORN_AT_MOST.get(figures["kind"], 0) * len(tampered):
        failed.append("%d connections torn in %d deaths after closed descriptors" % (figures["torn_connections"], len(tampered)))
    if sum(figures.get(name, 0) for name in GOOD + ["torn"] + [name for name in BAD if name != "unsolicited"]) != \
            figures.get("requests", -1):
        failed.append("not one verdict for each request")
    if figures["kind"] in CALM_KINDS and figures.get("requests") and count_undue(figures):
        failed.append("%(errors)d errors, %(cut)d cut and %(deaths)d deaths where nobody was killed" % figures)
    if not figures["serves"]:
        failed.append("does not serve any more")
    if figures["ended"] != 0:
        failed.append("exit code %s" % figures["ended"])
    if not is_as_before(figures["after"], figures["before"]):
        failed.append("supervisor: before %(before)s, after %(after)s" % figures)
    figures["failed"] = failed


COLUMNS = [("workers", 7), ("shape", 7), ("kind", 9), ("requests", 8), ("a second", 8), ("deaths", 6), ("ok", 7),
           ("errors", 6), ("cut", 4), ("hung up", 7), ("again", 6)] + [(name, len(name)) for name in BAD] + [("torn", 4)] + \
    [("slowest", 7), ("MiB", 13), ("fds", 7), ("children", 8)]


def print_row(values):
    print("  ".join(str(value).rjust(width) for value, (_, width) in zip(values, COLUMNS)), flush=True)


def row_of(figures):
    before, after = figures["before"], figures["after"]
    return [figures["workers"], figures["shape"], figures["kind"], figures.get("requests"),
            int(figures.get("requests", 0) / max(figures.get("seconds", 1), 0.1)), figures["deaths"],
            figures.get("ok"), figures.get("errors"), figures.get("cut"), figures.get("disconnected"),
            figures.get("reconnected", 0) + figures.get("resent", 0), *(figures.get(name) for name in BAD), figures.get("torn", 0),
            "%.2f s" % (figures.get("slowest_ms", 0) / 1000),
            "%.2f %.2f" % (before["memory"] / (1 << 20), after["memory"] / (1 << 20)),
            "%d %d" % (before["descriptors"], after["descriptors"]), "%d %d" % (before["children"], after["children"])]


def added(all_figures):
    """What happened in all legs together."""
    total = {"legs": len(all_figures), "failed": [text for figures in all_figures for text in figures["failed"]]}
    for name in ["requests", "deaths", "strikes", "stops", "time_limits", *GOOD, *BAD, "torn", "cut_unexplained", "reconnected",
                 "resent"]:
        total[name] = sum(figures.get(name, 0) for figures in all_figures)
    for name in ["causes", "error_causes"]:
        total[name] = {}
        for figures in all_figures:
            for cause, count in figures.get(name, {}).items():
                total[name][cause] = total[name].get(cause, 0) + count
    total["slowest_ms"] = max(figures.get("slowest_ms", 0) for figures in all_figures)
    total["seconds"] = round(sum(figures.get("seconds", 0) for figures in all_figures), 1)
    return total


def legs_of(arguments):
    """[(workers, shape, kind, requests)]"""
    if arguments.short:
        return [(*leg, arguments.requests // len(SHORT)) for leg in SHORT]
    kinds = [arguments.kind] if arguments.kind else KINDS
    legs = [(workers, shape, kind) for workers in arguments.workers or WORKERS for shape in arguments.shape or SHAPES
            for kind in kinds]
    is_all = not (arguments.workers or arguments.shape or arguments.kind)
    calm = CALM if is_all else []
    legs += AHEAD if is_all else []
    few = arguments.requests // CALM_SHARE
    rest = arguments.requests - few * len(calm)
    each = -(-rest // len(legs))
    return [(*leg, each) for leg in legs] + [(*leg, few) for leg in calm]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", type=pathlib.Path, default=TESTS.parent / "build/release/tests/chaos/asya-chaos")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of all legs together")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, action="append", help="only legs with so many")
    parser.add_argument("--spares", type=int, default=0, help="so many in each leg (ASYA_SPARES); they are killed, too")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="only legs of this shape")
    parser.add_argument("--kind", choices=[*KINDS, *AHEAD_KINDS, *CALM_KINDS], help="only legs of this kind")
    parser.add_argument("--short", action="store_true", help="few legs, in which all of it occurs")
    parser.add_argument("--mix", nargs="*", default=[], metavar="NAME=WEIGHT", help="raw, framed, new, kept, stream")
    parser.add_argument("--pause", type=float, default=100,
                        help="milliseconds between strikes from outside at one worker, on average")
    parser.add_argument("--lethal", type=int, default=90, help="one request in so many asks for a lethal deed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--logs", type=pathlib.Path, help="a folder for the logs of the runtimes")
    arguments = parser.parse_args()
    print("seed %d" % arguments.seed, flush=True)
    print_row([name for name, _ in COLUMNS])
    all_figures = []
    for index, (workers, shape, kind, requests) in enumerate(legs_of(arguments)):
        figures = run_leg(arguments, arguments.seed + index, requests, workers, shape, kind)
        all_figures.append(figures)
        print_row(row_of(figures))
        for text in figures["failed"]:
            print("    FAILED: " + text, flush=True)
        if figures["failed"]:
            print("    the log's end:\n" + "\n".join(figures["log_end"]), flush=True)
    total = added(all_figures)
    print(json.dumps({"seed": arguments.seed, **total}, indent=1))
    print("FAILED" if total["failed"] else "passed")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
