#!/usr/bin/env python3
"""Measures what the runtime adds to a bare interpreter: time until the first reply, and memory while idle.

Time: from the start of `python3 asya_runtime.py` with a small function until its first reply has been read, against
`python3 -c pass` from its start to its end; they take turns; medians, ranges and the medians' difference are printed.
Memory: the proportional set size (PSS, /proc/PID/smaps_rollup) of supervisor, worker and fdholder together, idle after one
reply, against two bare interpreters that sleep; and, without a target, against one that was forked from the other before it
slept, the least that two processes can have. Other interpreters that run share pages with these and lower both figures.
`make bench-startup` runs it.
"""
import argparse
import contextlib
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUNCTION = "def process(payload):\n    return payload\n"
SLEEP = "import os, time\ntime.sleep(60)\n"
FORK = "import os, time\nos.fork()\ntime.sleep(60)\n"
MOST_MS, MOST_KB = 10, 1024  # what the project has set itself
PATIENCE = 20.0


class Runtime:
    """A runtime of its own in a folder; the time from its start is told by first_reply."""

    def __init__(self, python, program, folder):
        self.path = os.path.join(folder, "s")
        env = {"PATH": os.environ["PATH"], "ASYA_SOCKET_PATH": self.path, "ASYA_PROCESS_MODULE": "function", "PYTHONPATH": folder,
               "PYTHONDONTWRITEBYTECODE": "1", "HOME": folder}
        self.started = time.perf_counter()
        self.process = subprocess.Popen([python, program], env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def first_reply(self):
        """Seconds from the start until a reply was read; knocks every 0.2 ms."""
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(self.path)
                except OSError:
                    if time.perf_counter() - self.started > PATIENCE or self.process.poll() is not None:
                        sys.exit("startup: the runtime does not serve")
                    time.sleep(0.0002)
                    continue
                client.sendall(b'{"a":1}')
                reply = client.makefile("rb").read()
            assert reply == b'{"status":"ok","result":{"a":1}}', reply
            return time.perf_counter() - self.started

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def folder_with_function():
    with tempfile.TemporaryDirectory(prefix="asya-", dir="/tmp") as folder:
        pathlib.Path(folder, "function.py").write_text(FUNCTION)
        yield folder


def bare_seconds(python):
    started = time.perf_counter()
    subprocess.run([python, "-c", "pass"], stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def runtime_seconds(python, program):
    with folder_with_function() as folder:
        runtime = Runtime(python, program, folder)
        try:
            return runtime.first_reply()
        finally:
            runtime.stop()


def pss(pid):
    """kB of a process and its children."""
    with open("/proc/%d/smaps_rollup" % pid) as file:
        total = int(re.search(r"^Pss: +(\d+) kB", file.read(), re.MULTILINE).group(1))
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return total + sum(map(pss, map(int, file.read().split())))


def bare_memory(python, programs):
    """kB of sleeping interpreters, one a program, with their children."""
    processes = [subprocess.Popen([python, "-c", program], stdin=subprocess.DEVNULL, start_new_session=True) for program in programs]
    try:
        time.sleep(1)
        return sum(pss(process.pid) for process in processes)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def runtime_memory(python, program):
    with folder_with_function() as folder:
        runtime = Runtime(python, program, folder)
        try:
            runtime.first_reply()
            time.sleep(0.5)
            return pss(runtime.process.pid)
        finally:
            runtime.stop()


def compare(what, unit, ours, bare, rounds, most=None):
    """One line; returns whether ours is at most `most` above bare."""
    series = list(zip(*((ours(), bare()) for _ in range(rounds))))
    mine, theirs = map(statistics.median, series)
    shown = ["%.1f %s (%.1f to %.1f)" % (statistics.median(values), unit, min(values), max(values)) for values in series]
    met = most is None or mine - theirs <= most
    verdict = "" if most is None else " (at most %g: %s)" % (most, "met" if met else "MISSED")
    print("%s: %s, bare %s, %.1f %s more%s" % (what, *shown, mine - theirs, unit, verdict), flush=True)
    return met


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--runtime", default=str(ROOT / "dist" / "asya_runtime.py"))
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--memory-rounds", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    version = subprocess.run([options.python, "-VV"], stdout=subprocess.PIPE, text=True, check=True).stdout.split(" (")[0]
    print("%s, %s" % (version.strip(), options.python))
    met = compare("start to first reply", "ms", lambda: 1e3 * runtime_seconds(options.python, options.runtime),
                  lambda: 1e3 * bare_seconds(options.python), options.rounds, MOST_MS)
    met &= compare("idle PSS, against two interpreters", "kB", lambda: runtime_memory(options.python, options.runtime),
                   lambda: bare_memory(options.python, [SLEEP, SLEEP]), options.memory_rounds, MOST_KB)
    compare("idle PSS, against a forked pair", "kB", lambda: runtime_memory(options.python, options.runtime),
            lambda: bare_memory(options.python, [FORK]), options.memory_rounds)
    sys.exit(options.check and not met)


if __name__ == "__main__":
    main()
