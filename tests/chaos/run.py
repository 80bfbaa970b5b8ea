#!/usr/bin/env python3
"""The chaos run: numbered requests while workers are killed, stopped and exhausted; every request gets its one reply.

The clients are asya-chaos (client.c); the deeds they ask for are in handler.py; the killer is here and strikes from
outside at random moments. Prints what happened and the seed of all choices. Exit status 1 if any reply was duplicated, mispaired, of a wrong category or late, or if the supervisor has not come back to what it was before.
"""
import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from harness import processes  # noqa: E402
from harness import runtime as harness  # noqa: E402

DEATH = re.compile(r"ERROR worker \d+, pid \d+, (.*?)(?: \d+)?(?:, core dumped)? after \d+ requests")
SETTINGS = {"ASYA_HANDLER_TIMEOUT": "0.2", "ASYA_MEMORY_LIMIT": str(120 << 20), "PYTHONPATH": str(TESTS / "chaos")}


class Killer(threading.Thread):
    """Strikes a random worker every few milliseconds; one in twenty is stopped for a while instead.

    One that is very young is mostly spared: a runtime whose workers cannot even start gives up, as it should."""

    def __init__(self, server, pause, chance):
        super().__init__(daemon=True)
        self.server, self.pause, self.chance = server, pause, chance
        self.over = threading.Event()
        self.strikes = 0
        self.seen = {}

    def strike(self, pid, number):
        try:
            os.kill(pid, number)
            self.strikes += 1
        except ProcessLookupError:
            pass

    def run(self):
        while not self.over.wait(self.chance.uniform(0.2, 1.8) * self.pause):
            if self.chance.random() < 0.02:  # long enough for a hang to be ended by its time limit
                self.over.wait(self.chance.uniform(0.5, 2.5))
            workers = self.server.worker_pids()
            now = time.monotonic()
            self.seen = {pid: self.seen.get(pid, now) for pid in workers}
            old = [pid for pid in workers if now - self.seen[pid] > 0.06 or self.chance.random() < 0.1]
            if not old:
                continue
            victim = self.chance.choice(old)
            if self.chance.random() < 0.05:
                self.strike(victim, signal.SIGSTOP)
                self.over.wait(self.chance.uniform(0.01, 0.2))
                self.strike(victim, signal.SIGCONT)
            else:
                self.strike(victim, self.chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]))


def memory(pid):
    """Resident bytes of a process."""
    with open("/proc/%d/statm" % pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def state(server):
    return {"memory": memory(server.pid), "descriptors": len(processes.descriptors(server.pid)),
            "children": len(processes.all_children(server.pid))}


def settled(server, before):
    """The supervisor's state once it is as before, or what it stays at."""
    def is_as_before():
        now = state(server)
        return now["descriptors"] <= before["descriptors"] and now["children"] == before["children"]

    processes.eventually(is_as_before, 10)  # the last one killed may have to wait for its successor
    return state(server)


def deaths(server):
    """cause -> how often, by the supervisor's log."""
    found = {}
    for match in DEATH.finditer(server.log_text()):
        found[match.group(1)] = found.get(match.group(1), 0) + 1
    return found


def run(arguments):
    chance = random.Random(arguments.seed)
    server = harness.Runtime("handler", env={**SETTINGS, "ASYA_WORKERS": str(arguments.workers)})
    try:
        server.launch().wait_ready()
        server.wait_complete()
        for _ in range(50):
            server.result({"number": 1, "do": "echo"})
        before = state(server)
        killer = Killer(server, arguments.pause / 1000, chance)
        killer.start()
        client = subprocess.run(
            [str(arguments.client), server.path, str(arguments.requests), str(arguments.clients), str(arguments.seed),
             str(arguments.lethal)], stdout=subprocess.PIPE, text=True)
        killer.over.set()
        killer.join()
        figures = json.loads(client.stdout or "{}")
        alive = server.running and server.result({"number": 7, "do": "echo"}) == {"number": 7}
        after = settled(server, before)
        causes = deaths(server)
        text = server.log_text()
        figures.update(seed=arguments.seed, deaths=sum(causes.values()), strikes=killer.strikes, causes=causes,
                       time_limits=len(re.findall("ERROR .*did not finish within", text)),
                       out_of_memory=len(re.findall("ERROR .*out_of_memory", text)), before=before, after=after)
        ended = server.stop()
        verdict = client.returncode == 0 and alive and ended == 0 and after["descriptors"] <= before["descriptors"] \
            and after["children"] == before["children"] and after["memory"] <= before["memory"] + (256 << 10)
        return figures, verdict
    finally:
        if arguments.log:
            pathlib.Path(arguments.log).write_text(server.log_text())
        server.discard()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", type=pathlib.Path, default=TESTS.parent / "build/release/tests/chaos/asya-chaos")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pause", type=float, default=50, help="milliseconds between strikes from outside, on average")
    parser.add_argument("--lethal", type=int, default=100, help="one request in so many asks for a lethal deed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--log", help="where to keep the runtime's log")
    arguments = parser.parse_args()
    print("seed %d" % arguments.seed, flush=True)
    figures, verdict = run(arguments)
    print(json.dumps(figures, indent=1))
    print("passed" if verdict else "FAILED")
    return 0 if verdict else 1


if __name__ == "__main__":
    sys.exit(main())
