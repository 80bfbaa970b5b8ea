#!/usr/bin/env python3
"""How long after kill -9 the client has its reply, and the next request its own.

Each round: a request runs, its worker is killed from outside, the reply is timed from the kill; a request sent right
after it is timed from the kill too, so that the start of the next worker and the import of the function are in it.
The function says by a FIFO which process runs it: only that one is killed, and only once the request runs.
A reply that is lost or another than WorkerCrashed, or a supervisor with more descriptors or children than before, is exit status 1."""
import argparse
import json
import os
import pathlib
import signal
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from harness import runtime as harness  # noqa: E402


RUN_UNTIL_KILLED = """import os, time
with open(%r, "w") as told: told.write(str(os.getpid()))
time.sleep(60)"""


def round_of(server, fifo):
    """(seconds to the reply, seconds to the next reply)"""
    assert server.result("return 0") == 0
    with server.connect() as connection:
        connection.send(json.dumps(RUN_UNTIL_KILLED % fifo).encode())
        with open(fifo) as told:  # opens when the function opens it
            worker = int(told.read())
        killed = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        reply = connection.reply()
        answered = time.monotonic()
    assert reply["type"] == "WorkerCrashed", reply
    assert server.result("return 0") == 0
    return answered - killed, time.monotonic() - killed


def quantiles(values):
    values = sorted(values)
    return {"p50_ms": round(values[len(values) // 2] * 1e3, 2), "p99_ms": round(values[len(values) * 99 // 100] * 1e3, 2),
            "max_ms": round(values[-1] * 1e3, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    with harness.serve("snippets:run", allow_log=["ERROR worker 0, pid .* signal 9"]) as server:
        fifo = str(server.folder.parent / "running")
        os.mkfifo(fifo)
        rounds = [round_of(server, fifo) for _ in range(arguments.rounds)]
        print(json.dumps({"rounds": len(rounds), "reply": quantiles([first for first, _ in rounds]),
                          "next_reply": quantiles([second for _, second in rounds])}, indent=1))


if __name__ == "__main__":
    main()
