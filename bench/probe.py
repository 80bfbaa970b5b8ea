#!/usr/bin/env python3
"""What a probe costs: `asya_runtime.py probe` beside `python3 -c pass`, in turn, against a runtime that serves.

Prints the medians of wall time and of processor time. Wall time wants a machine with nothing else to do.
"""
import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

RUNTIME = pathlib.Path(__file__).resolve().parent.parent / "dist" / "asya_runtime.py"
CASES = [("-c pass", ["-c", "pass"]), ("probe", [str(RUNTIME), "probe"]), ("-S -E -c pass", ["-S", "-E", "-c", "pass"]),
         ("-S -E probe", ["-S", "-E", str(RUNTIME), "probe"])]


def spend(command, environment):
    """(wall, processor) seconds of one process that must succeed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asya-") as folder:
        environment = {"PATH": os.environ["PATH"], "ASYA_SOCKET_PATH": os.path.join(folder, "s")}
        runtime = subprocess.Popen([options.python, str(RUNTIME)], env=environment, stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(environment["ASYA_SOCKET_PATH"]):
                if runtime.poll() is not None:
                    sys.exit("the runtime did not start")
                time.sleep(0.01)
            spent = {name: [] for name, _ in CASES}
            for _ in range(options.runs):
                for name, arguments in CASES:
                    spent[name].append(spend([options.python, *arguments], environment))
        finally:
            runtime.terminate()
            runtime.wait()
    for name, times in spent.items():
        wall, processor = ([1000 * value for value in column] for column in zip(*times))
        print("%-14s wall %5.1f ms (fastest %.1f), processor %5.1f ms" % (
            name, statistics.median(wall), min(wall), statistics.median(processor)))


if __name__ == "__main__":
    main()
