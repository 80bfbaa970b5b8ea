"""What the user's code sees at the end of its worker, whatever the end is: child processes, finally, atexit, streams."""
import os
import signal
import sys
import time

import pytest

from harness import processes

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
