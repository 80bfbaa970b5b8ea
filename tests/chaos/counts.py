#!/usr/bin/env python3
"""Whether GET /metrics counts what its clients have seen, over many requests and deaths: the long form of
tests/admin/test_metrics.py. Runtimes of one and two workers, plain, in threads and as tasks, share the requests and the kills.
Prints a line for each and the sums; exit status 1 if a count differs or a request got no reply."""
import argparse
import pathlib
import random
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from harness import control, counting, processes  # noqa: E402
from harness import runtime as harness  # noqa: E402

LEGS = [("plain", "counted", 1, 1), ("plain", "counted", 2, 1), ("threads", "counted", 1, 4), ("tasks", "counted:task", 2, 4)]


def run_leg(handler, workers, concurrency, count, kills, interval, seed):
    """(requests, deaths by the killer, deaths in all, problems)"""
    server = harness.Runtime(handler, env={
        "ASYA_WORKERS": str(workers), "ASYA_CONCURRENCY": str(concurrency), "ASYA_HANDLER_TIMEOUT": "0.2",
        "ASYA_MAX_MESSAGE_SIZE": str(counting.MAX_MESSAGE), "ASYA_LOG_LEVEL": "ERROR"})
    server.launch().wait_ready()

    def families():
        return counting.read_families(control.ask(server.control_path, "/metrics").text)

    killer = counting.Killer(server.worker_pids, kills, interval, seed)
    killer.start()
    try:
        clients = counting.run_clients(server.path, count, 4, seed, counting.DEEDS)
        killer.stop()
        seen = counting.seen_by(clients)
        processes.eventually(lambda: not counting.compare(counting.requests_of(families()), seen))
        found = families()
        problems = counting.compare(counting.requests_of(found), seen)
        deaths = sum(int(sample.value) for sample in found["asya_runtime_worker_exits"].samples)
        return sum(seen.values()), killer.killed, deaths, problems
    finally:
        killer.stop()
        server.stop()
        server.discard()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between two kills, on average")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(20))
    options = parser.parse_args()
    print("seed", options.seed, flush=True)
    sums, failed, begun = [0, 0, 0], False, time.monotonic()
    for number, (shape, handler, workers, concurrency) in enumerate(LEGS):
        outcome = run_leg(handler, workers, concurrency, options.requests // len(LEGS), options.kills // len(LEGS), options.interval,
                          options.seed + 1000 * number)
        print("%s, %d workers: %d requests, %d kills, %d deaths, %d counts differ" % (shape, workers, *outcome[:3], len(outcome[3])),
              flush=True)
        for problem in outcome[3]:
            print("  " + problem)
        sums = [a + b for a, b in zip(sums, outcome)]
        failed = failed or bool(outcome[3])
    print("in all: %d requests, %d kills, %d deaths, %.0f s" % (*sums, time.monotonic() - begun))
    sys.exit(failed)


if __name__ == "__main__":
    main()
