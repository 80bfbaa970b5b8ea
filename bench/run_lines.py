#!/usr/bin/env python3
"""`run` against the loop that everybody writes: lines a second, the ratio for each worker, and completeness after kills.

    bench/run_lines.py [--lines 1000000] [--workers 1] [--rounds 3] [--kills 0] [--runtime dist/asya_runtime.py]

The loop is `for line in file: json.dumps(process(json.loads(line)))` with a function that does next to nothing. Besides
the time on the clock it prints the processor time of the loop, of the driver and of the runtime with its workers: where
other work shares the machine, only these say anything. With --kills the run is killed so often at random moments and
begun again, and then each line must be there once.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HANDLER = """
def process(payload):
    payload["size"] = len(payload["text"])
    return payload
"""
LOOP = """
import json
from mine import process
with open("in.jsonl") as lines, open("plain.jsonl", "w") as out:
    for line in lines:
        out.write(json.dumps(process(json.loads(line))) + "\\n")
"""
DRIVE = """
import resource, sys, time
sys.path.insert(0, sys.argv.pop(1))
import asya_runtime
code = asya_runtime.main(["run"] + sys.argv[1:])
print(time.process_time(), sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]))
sys.exit(code)
"""


def write_input(folder, count):
    (folder / "mine.py").write_text(HANDLER)
    with open(folder / "in.jsonl", "w") as file:
        for number in range(count):
            file.write('{"id":%d,"text":"a line of ordinary length","tags":["a","b"],"score":0.5,"lang":"en"}\n' % number)


def time_loop(folder):
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-c", LOOP], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def arguments(options):
    return ["run", "mine", "in.jsonl", "-o", "out.jsonl", "--workers", str(options.workers)]


def time_run(folder, options):
    """(seconds, processor time of the driver, of the runtime)."""
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", DRIVE, str(options.runtime.parent), *arguments(options), "--restart"], cwd=folder,
                           check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return (time.monotonic() - began, *map(float, ended.stdout.split()))


def run_killed(folder, options):
    """Kills the driver, the supervisor or a worker, and then the driver."""
    for number in range(options.kills):
        process = subprocess.Popen([sys.executable, str(options.runtime), *arguments(options)], cwd=folder, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.7, 2))
        with open("/proc/%d/task/%d/children" % (process.pid, process.pid)) as file:
            supervisor = int(file.read().split()[0])
        with open("/proc/%d/task/%d/children" % (supervisor, supervisor)) as file:
            workers = list(map(int, file.read().split()))
        victim = random.choice([process.pid, supervisor, *workers])
        os.kill(victim, signal.SIGKILL)
        time.sleep(0.2)
        process.kill()
        process.wait()
        print("kill %d: pid %d, %d bytes written" % (number + 1, victim, (folder / "out.jsonl").stat().st_size), flush=True)
    subprocess.run([sys.executable, str(options.runtime), *arguments(options)], cwd=folder, check=True)
    with open(folder / "out.jsonl") as file:
        numbers = [json.loads(line)["id"] for line in file]
    assert numbers == list(range(options.lines)), "lines are missing, twice or out of order"
    print("after %d kills: %d lines, each once and in order" % (options.kills, len(numbers)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--runtime", type=lambda path: pathlib.Path(path).resolve(), default=ROOT / "dist" / "asya_runtime.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asya-") as name:
        folder = pathlib.Path(name)
        write_input(folder, options.lines)
        for _ in range(options.rounds):
            loop, loop_cpu = time_loop(folder)
            run, driver, runtime = time_run(folder, options)
            micro = 1e6 / options.lines
            print("loop %d/s (cpu %.2f us a line)   run %d/s (cpu: driver %.2f, runtime %.2f us)   ratio a worker %.2f, by cpu %.2f"
                  % (options.lines / loop, loop_cpu * micro, options.lines / run, driver * micro, runtime * micro,
                     loop / run / options.workers, loop_cpu / max(driver, runtime / options.workers) / options.workers), flush=True)
        if options.kills:
            (folder / "out.jsonl").unlink(missing_ok=True)
            (folder / "out.journal").unlink(missing_ok=True)
            run_killed(folder, options)


if __name__ == "__main__":
    main()
