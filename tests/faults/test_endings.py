"""What the user's code sees at the end of its worker, whatever the end is: child processes, finally, atexit, streams."""
import os
import signal
import sys
import threading
import time

import pytest

from harness import processes, protocols

pytestmark = pytest.mark.supervised

ENDINGS = ["stop", "crash", "time limit", "replacement"]
LOGS = ["WARNING .*", "ERROR .*", "resource_tracker", "warnings.warn"]

CHILD = """
import os, signal, sys, time
def clean(*_):
    open("cleaned", "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv else clean)
open("up", "w").write(str(os.getpid()))
while True:
    time.sleep(0.05)
"""
FUNCTION = """
import os, subprocess, sys, time
def process(payload):
    if payload == "crash":
        os._exit(1)
    while payload == "time limit":
        try:
            time.sleep(60)
        except BaseException:
            pass
    if payload == "shared":
        from multiprocessing import shared_memory
        return shared_memory.SharedMemory(create=True, size=4096).name
    if payload in ("child", "deaf"):
        subprocess.Popen([sys.executable, "child.py", payload])
        while not os.path.exists("up"):
            time.sleep(0.01)
    return os.getpid()
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "leaving.py").write_text(FUNCTION)
    (tmp_path / "child.py").write_text(CHILD)
    return tmp_path


def settings(how, **more):
    env = {"ASYA_HANDLER_TIMEOUT": "0.5" if how == "time limit" else "0", "ASYA_MAX_REQUESTS": "1" if how == "replacement" else "0"}
    return {**env, **more}


def bring_about(server, how):
    if how == "stop":
        assert server.stop() == 0
    elif how == "crash":
        assert server.call("crash")["type"] == "WorkerExited"
    elif how == "time limit":
        assert server.call("time limit")["type"] == "HandlerTimeout"


@pytest.mark.parametrize("how", ENDINGS)
def test_a_child_of_the_function_is_asked_to_end(runtime, place, how):
    with runtime("leaving", cwd=place, env=settings(how), allow_log=LOGS, worker_children=True) as server:
        server.result("child")
        bring_about(server, how)
        assert processes.eventually((place / "cleaned").exists)


@pytest.mark.parametrize("how", ENDINGS)
def test_what_the_resource_tracker_is_for_is_cleaned_up(runtime, place, how):
    if sys.version_info < (3, 8):
        pytest.skip("multiprocessing.shared_memory is of Python 3.8")
    with runtime("leaving", cwd=place, env=settings(how), allow_log=LOGS, worker_children=True) as server:
        name = server.result("shared")
        assert how == "replacement" or os.path.exists("/dev/shm/" + name)
        bring_about(server, how)
        assert processes.eventually(lambda: not os.path.exists("/dev/shm/" + name))


def test_a_child_that_does_not_end_is_killed_and_nobody_waits_for_it(runtime, place):
    with runtime("leaving", cwd=place, allow_log=LOGS, worker_children=True) as server:
        server.result("deaf")
        assert processes.eventually(lambda: (place / "up").exists() and (place / "up").read_text())
        child = int((place / "up").read_text())
        started = time.monotonic()
        assert server.call("crash")["type"] == "WorkerExited"
        server.result("next")
        assert time.monotonic() - started < 0.9 and processes.alive(child), "before its second is over"
        assert processes.eventually(lambda: not processes.alive(child))
        assert time.monotonic() - started > 0.9


def test_a_stop_waits_a_second_for_it_and_no_longer(runtime, place):
    with runtime("leaving", cwd=place, worker_children=True) as server:
        server.result("deaf")
        child = int((place / "up").read_text())
        started = time.monotonic()
        assert server.stop() == 0
        assert 0.9 < time.monotonic() - started < 8
        assert not processes.alive(child)


# -- the end of the grace period ---------------------------------------------------------------------------------------

ASKED = """
import asyncio, atexit, os, time
atexit.register(lambda: open("left", "w").close())
def cleaned():
    open("cleaned", "w").close()
def process(payload):
    try:
        while True:
            open("up", "w").close()
            time.sleep(0.01)
    finally:
        cleaned()
async def task(payload):
    try:
        open("up", "w").close()
        await asyncio.sleep(60)
    finally:
        cleaned()
def stream(payload):
    try:
        while True:
            open("up", "w").close()
            yield 1
            time.sleep(0.01)
    finally:
        cleaned()
async def tasks(payload):
    try:
        while True:
            open("up", "w").close()
            yield 1
            await asyncio.sleep(0.01)
    finally:
        cleaned()
def ready(payload):
    import asya_runtime
    try:
        open("up", "w").close()
        time.sleep(60)
    except asya_runtime.ShuttingDown:
        cleaned()
        return "what there is"
"""
GRACE = {"ASYA_GRACE_PERIOD": "3"}
SOFT = ["WARNING .*asked to stop", "WARNING .*server_error"]


def up(place):
    return processes.eventually((place / "up").exists)


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "asked.py").write_text(ASKED)
    return tmp_path


@pytest.mark.parametrize("name, concurrency", [("process", 1), ("process", 3), ("task", 1), ("task", 3)])
def test_at_the_end_of_the_grace_period_a_function_may_clean_up(runtime, asked, name, concurrency):
    env = {**GRACE, "ASYA_CONCURRENCY": concurrency}
    with runtime("asked:" + name, cwd=asked, env=env, allow_log=SOFT) as server:
        with server.connect() as connection:
            connection.send(b"1 ")
            assert up(asked)
            started = time.monotonic()
            server.kill(signal.SIGTERM)
            assert connection.reply()["error"] == "server_error"
        assert server.wait() == 0
        assert time.monotonic() - started > 2, "not before the end is near"
        assert (asked / "cleaned").exists() and (asked / "left").exists()


@pytest.mark.parametrize("name, concurrency", [("stream", 1), ("stream", 3), ("tasks", 1)])
def test_a_stream_ends_with_an_error_and_done(runtime, asked, name, concurrency):
    env = {**GRACE, "ASYA_CONCURRENCY": concurrency}
    with runtime("asked:" + name, cwd=asked, env=env, allow_log=SOFT) as server:
        with protocols.Stream(server.path, protocols.hops(1)) as stream:
            assert up(asked)
            server.kill(signal.SIGTERM)
            events = list(stream)
        assert [event[0] for event in events[-2:]] == ["error", "done"]
        assert "shutting down" in events[-2][1]["details"]["message"]
        assert server.wait() == 0
        assert (asked / "cleaned").exists() and (asked / "left").exists()


def test_in_http_it_is_503(runtime, asked):
    with runtime("asked", cwd=asked, env=GRACE, allow_log=SOFT) as server:
        replies = []
        client = threading.Thread(target=lambda: replies.append(protocols.invoke(server.path, protocols.hops(1))))
        client.start()
        assert up(asked)
        assert server.stop() == 0
        client.join()
        status, body = replies[0]
        assert status == 503 and body["details"]["type"] == "RuntimeError", replies


def test_what_a_function_returns_when_it_is_asked_counts(runtime, asked):
    with runtime("asked:ready", cwd=asked, env=GRACE, allow_log=SOFT) as server:
        with server.connect() as connection:
            connection.send(b"1 ")
            assert up(asked)
            server.kill(signal.SIGTERM)
            assert connection.reply()["result"] == "what there is"
        assert server.wait() == 0


def test_who_waits_behind_it_is_answered_as_well(runtime, asked):
    with runtime("asked", cwd=asked, env=GRACE, allow_log=SOFT) as server:
        waiting = [server.connect() for _ in range(5)]
        for connection in waiting:
            connection.send(b"1 ")
        assert up(asked)
        server.kill(signal.SIGTERM)
        for connection in waiting:
            assert connection.reply()["error"] == "server_error"
            connection.close()
        assert server.wait() == 0
