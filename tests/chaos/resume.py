#!/usr/bin/env python3
"""How long requests take that come right after a slow function has ended, which is when the fallback acceptor is open.

Each round runs a function of 150 to 300 ms; once its reply is there, three requests follow, one after the other. They
send at once ("prompt"), 0.5 ms after they have connected ("late"), or on connections that were made while the function
ran ("early"). Each is timed from its sending."""
import argparse
import json
import pathlib
import random
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from harness import runtime as harness  # noqa: E402

KINDS = ["prompt", "late", "early"]
FOLLOWERS = 3


def quantiles(values):
    values = sorted(values)
    return {"p50_ms": round(values[len(values) // 2] * 1e3, 2), "p99_ms": round(values[len(values) * 99 // 100] * 1e3, 2),
            "max_ms": round(values[-1] * 1e3, 2)}


def seconds_of(connection):
    started = time.monotonic()
    connection.send(b"0 ")
    assert connection.reply() == {"status": "ok", "result": 0}
    return time.monotonic() - started


def round_of(server, kind, seconds):
    """The seconds each follower took."""
    with server.connect() as slow:
        slow.send(json.dumps(seconds).encode() + b" ")
        time.sleep(seconds / 2)
        early = [server.connect() for _ in range(FOLLOWERS)] if kind == "early" else []
        assert slow.reply()["status"] == "ok"
    taken = []
    for number in range(FOLLOWERS):
        with early[number] if early else server.connect() as connection:
            if kind == "late":
                time.sleep(0.0005)
            taken.append(seconds_of(connection))
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="of each kind")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    arguments = parser.parse_args()
    print("seed", arguments.seed, file=sys.stderr)
    chance = random.Random(arguments.seed)
    server = harness.Runtime("answers:nap", env={"ASYA_WORKERS": str(arguments.workers)})
    taken = {kind: [] for kind in KINDS}
    try:
        server.launch().wait_ready()
        for _ in range(arguments.rounds):
            for kind in KINDS:
                taken[kind] += round_of(server, kind, chance.uniform(0.15, 0.3))
        assert server.stop() == 0
    finally:
        server.discard()
    print(json.dumps({kind: dict(requests=len(values), **quantiles(values)) for kind, values in taken.items()}))


if __name__ == "__main__":
    main()
