"""The function writes over the memory that the runtime shares with its supervisor, by a wild pointer: one reply a request."""
import collections
import time

import pytest

from harness import client, processes

pytestmark = pytest.mark.supervised

LIMIT = 1.0
TOLD = ["(WARNING|ERROR) .*"]
ENDED = "ERROR .*wrote over the runtime's memory"
GUARD = 0xA57A6A5D3C96E100  # begins each part of the scoreboard

# Finds the scoreboard among what the process has mapped, and in it the places of the guards.
FIND = """
import ctypes, os, random, struct, time
def find():
    for line in open("/proc/self/maps"):
        span, rights = line.split()[:2]
        first, end = (int(number, 16) for number in span.split("-"))
        if rights != "rw-s":
            continue
        content = ctypes.string_at(first, end - first)
        places = [content.find(struct.pack("<Q", %d + i)) for i in range(4)]
        if places[0] == 0 and min(places) >= 0:
            return first, places
first, (head, slots, ids, end) = find()
def fill(start, stop):
    %s
%s
%s
"""
HOWS = {
    "zeros": "ctypes.memset(first + start, 0, stop - start)",
    "ones": "ctypes.memset(first + start, 0xFF, stop - start)",
    "text": "ctypes.memset(first + start, 0x41, stop - start)",
    "garbage": "ctypes.memmove(first + start, random.Random(7).randbytes(stop - start), stop - start)",
}
PLACES = {
    "all of it": "fill(0, end + 8)",
    "the head": "fill(8, slots)",
    "the places of the connections": "fill(slots + 8, ids)",
    "from the middle on": "fill(slots + 1000, end + 8)",
}
THENS = {
    "returns": "return 7",
    "hangs": "time.sleep(60)",
    "crashes": "ctypes.string_at(0)",
    "exits": "os._exit(3)",
}


def deed(how, place, then):
    return FIND % (GUARD, how, place, then)


def check(reply, then):
    """One of the replies that a client may get: what the function returned, or what became of it."""
    if then == "returns" and reply.get("result") == 7:
        return
    assert reply["error"] == "processing_error", reply
    allowed = {"returns": {"WorkerCrashed"}, "hangs": {"WorkerCrashed", "HandlerTimeout"}, "crashes": {"WorkerCrashed"},
               "exits": {"WorkerExited", "WorkerCrashed"}}
    assert reply["type"] in allowed[then], reply


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": str(LIMIT)}, allow_log=TOLD) as server:
        yield server


@pytest.mark.parametrize("then", THENS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", HOWS)
def test_there_is_one_reply_and_the_next_is_served(serving, how, place, then):
    with serving.watched(allow_log=TOLD):
        started = time.monotonic()
        reply = serving.call(deed(HOWS[how], PLACES[place], THENS[then]), half_close=False)
        check(reply, then)
        assert time.monotonic() - started < LIMIT + 4
        for number in range(3):
            assert serving.result("return %d" % number) == number


def test_a_worker_whose_page_was_written_over_is_replaced(runtime):
    with runtime("snippets:run", allow_log=TOLD) as server:
        [worker] = server.worker_pids()
        assert server.result(deed(HOWS["zeros"], PLACES["all of it"], "return 7")) == 7
        server.wait_for_log(ENDED)
        assert processes.eventually(lambda: server.worker_pids() not in ([], [worker]))
        assert server.result("return 1") == 1


def test_the_limit_holds_though_nothing_says_any_more_that_it_runs(runtime):
    """The head alone is overwritten: no guard tells, and by the scoreboard nothing runs."""
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": str(LIMIT)}, allow_log=TOLD) as server:
        for how in HOWS.values():
            started = time.monotonic()
            reply = server.call(deed(how, PLACES["the head"], "time.sleep(60)"))
            assert reply.get("type") == "HandlerTimeout", reply
            assert time.monotonic() - started < LIMIT + 3


def test_others_of_its_worker_have_a_reply_too(runtime):
    """Eight at once, of all protocols; one writes over the scoreboard and goes on."""
    env = {"ASYA_CONCURRENCY": "8", "ASYA_HANDLER_TIMEOUT": "5"}
    with runtime("snippets:run", env=env, allow_log=TOLD) as server:
        others = [server.connect() for _ in range(6)]
        for number, connection in enumerate(others):
            connection.send(b'"import time\\ntime.sleep(1.5)\\nreturn %d"' % number)
        with server.connect() as kept:
            body = b'{"payload": "import time\\ntime.sleep(1.5)\\nreturn 9", "route": {"prev": [], "curr": "a", "next": []}}'
            kept.send(b"POST /invoke HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            time.sleep(0.5)  # the supervisor has seen them run
            with server.connect() as writer:
                writer.send(client.encode(deed(HOWS["zeros"], PLACES["all of it"], "time.sleep(60)")))
                assert writer.reply()["type"] == "WorkerCrashed"
            assert kept.receive_all().startswith(b"HTTP/1.1 500 ")
        kinds = collections.Counter(connection.reply().get("type") for connection in others)
        assert kinds == {"WorkerCrashed": 6}
        for connection in others:
            connection.close()
        assert server.result("return 1") == 1
