"""The function's own health check, between requests, and its warm-up, before the first."""
import contextlib
import json
import os

import pytest

from harness import processes
from harness.client import Connection

STATE = '''
import json, os, time
FILE = os.environ["STATE_FILE"]

def state():
    with open(FILE) as file:
        return file.read()

def check():
    what = state()
    if what == "raise":
        raise RuntimeError("no connection\\n2026-01-31T23:59:59.123Z ERROR forged")
    while state() == "hang":
        time.sleep(0.02)
    return {"false": False, "none": None}.get(what, True)
'''

SHAPES = {
    "an attribute of the function": ("process", STATE + "def process(payload): return payload\nprocess.healthcheck = check\n", 1),
    "a method of the class": ("Model.process", STATE + "class Model:\n    def process(self, payload): return payload\n"
                              "    def healthcheck(self): return check()\n", 1),
    "beside threads": ("process", STATE + "def process(payload): return payload\nprocess.healthcheck = check\n", 3),
    "a coroutine": ("process", STATE + '''
import asyncio
async def process(payload): return payload
async def healthcheck():
    while state() == "hang":
        await asyncio.sleep(0.02)
    return check()
process.healthcheck = healthcheck
''', 2),
}
ENV = {"ASYA_HEALTHCHECK_INTERVAL": "0.05", "ASYA_HEALTHCHECK_TIMEOUT": "0.3"}


class Served:
    def __init__(self, server, file):
        self.server, self.file = server, file

    def turn(self, state):
        self.file.write_text(state)

    def health(self):
        with Connection(self.server.path, 5) as connection:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = connection.receive_all().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["status"]

    def becomes(self, health):
        assert processes.eventually(lambda: self.health() == health), (self.health(), self.server.log_text())


@pytest.fixture
def served(runtime, short_folder):
    @contextlib.contextmanager
    def serve(shape, path=None, **env):
        name, code, concurrency = SHAPES[shape]
        (short_folder / "checked.py").write_text(code)
        file = short_folder / "state"
        file.write_text("good")
        env = {"PYTHONPATH": str(short_folder), "STATE_FILE": str(file), "ASYA_CONCURRENCY": concurrency, **ENV, **env}
        with runtime("checked:" + name, env=env, path=path, allow_log=["ERROR .*health check"]) as server:
            yield Served(server, file)

    return serve


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bad, said", [("raise", "raised RuntimeError: no connection"), ("false", "returned what is false"),
                                       ("hang", "has not ended within 300 ms")])
def test_one_that_fails_makes_the_runtime_not_ready_until_it_passes(served, shape, bad, said):
    with served(shape) as it:
        it.becomes((200, "ready"))
        it.turn(bad)
        it.server.wait_for_log("ERROR the health check of worker 0, pid [0-9]+, " + said)
        if bad != "hang" or shape in ("a coroutine",):
            it.becomes((503, "unhealthy"))
            assert it.server.result(7) == 7, "messages are served on"
        it.turn("none")
        it.server.wait_for_log("INFO the health check of worker 0, pid [0-9]+, passes again")
        it.becomes((200, "ready"))
        assert it.server.log_text().count("not ready") == 1 and "\n2026-01-31" not in it.server.log_text()


def test_with_several_workers_each_says_so(served):
    with served("an attribute of the function", ASYA_WORKERS=2) as it:
        it.turn("false")
        it.server.wait_for_log("ERROR the health check of worker", count=2)
        for _ in range(10):
            assert it.health() == (503, "unhealthy")


def test_the_ready_file_goes_and_comes_back(served, short_folder):
    folder = short_folder / "sockets"
    folder.mkdir(mode=0o700)
    with served("an attribute of the function", folder / "asya-runtime.sock", ASYA_SOCKET_DIR=str(folder), ASYA_SOCKET_PATH=None) as it:
        it.server.wait_for_log("listening")
        ready = folder / "runtime-ready"
        assert processes.eventually(ready.exists)
        it.turn("false")
        assert processes.eventually(lambda: not ready.exists())
        it.turn("good")
        assert processes.eventually(ready.exists)


def test_it_runs_between_requests(runtime, short_folder):
    (short_folder / "between.py").write_text(STATE + '''
RUNNING = []
SEEN = []
def process(payload):
    RUNNING.append(1)
    time.sleep(0.2)
    RUNNING.clear()
    return SEEN
def healthcheck():
    SEEN.append(len(RUNNING))
process.healthcheck = healthcheck
''')
    env = {"PYTHONPATH": str(short_folder), "STATE_FILE": os.devnull, **ENV}
    with runtime("between:process", env=env) as server:
        for _ in range(3):
            seen = server.result(1)
        assert processes.eventually(lambda: len(server.result(1)) > len(seen) + 1)
        assert set(server.result(1)) == {0}


WARM = '''
import os
SEEN = []
class Model:
    def __enter__(self): SEEN.append("enter"); return self
    def __exit__(self, *a): pass
    def warmup(self): SEEN.append("warmup")
    def process(self, payload): return SEEN
def process(payload): return SEEN
process.setup = lambda: SEEN.append("setup")
async def warmup():
    SEEN.append("warmup")
process.warmup = warmup
def failing(payload): return payload
def fails(): raise RuntimeError("cold")
failing.warmup = fails
'''


@pytest.mark.parametrize("name, seen", [("process", ["setup", "warmup"]), ("Model.process", ["enter", "warmup"])])
def test_warm_up_comes_after_set_up_and_before_ready(runtime, short_folder, name, seen):
    (short_folder / "warm.py").write_text(WARM)
    with runtime("warm:" + name, env={"PYTHONPATH": str(short_folder)}) as server:
        assert server.result(1) == seen


def test_a_warm_up_that_fails_is_a_failed_start(refuse, short_folder):
    (short_folder / "warm.py").write_text(WARM)
    refusal = refuse("warm:failing", env={"PYTHONPATH": str(short_folder)})
    assert refusal.code == 71 and "'warmup' raised RuntimeError: cold" in refusal.cause and "in fails" in refusal.traceback
