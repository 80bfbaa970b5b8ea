"""A worker that was killed and does not end: frozen by its control group, or traced. Nobody waits for it."""
import contextlib
import json
import os
import pathlib
import time
import uuid

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

TOLD = ["(WARNING|ERROR) .*"]
LEFT = ["ERROR .*was killed and does not end"]
FREEZER = pathlib.Path("/sys/fs/cgroup/freezer")

# A child takes hold of its parent: whoever traces a process is told of its death first, and here keeps that to himself.
TRACED = """
import ctypes, os, signal, time
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(0x59616d61, -1, 0, 0, 0)  # whoever may trace me where that is restricted
worker = os.getpid()
ready, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(told, b"y" if libc.ptrace(0x4206, worker, 0, 0) == 0 else b"n")
    time.sleep(%d)
    os._exit(0)
if os.read(ready, 1) != b"y":
    return "not here"
%s
"""
SECONDS = 12  # the tracer lives so long
HANG = "time.sleep(60)"


def traced():
    return TRACED % (SECONDS, HANG)


def frozen(group):
    """Freezes itself."""
    return """
import os, time
open("%s/cgroup.procs", "w").write(str(os.getpid()))
open("%s/freezer.state", "w").write("FROZEN")
%s""" % (group, group, HANG)


@contextlib.contextmanager
def freezer():
    """A control group of its own that is thawed and removed at the end."""
    if not os.access(FREEZER / "cgroup.procs", os.W_OK):
        pytest.skip("no freezer of control groups version 1 on this machine")
    group = FREEZER / ("asya-" + uuid.uuid4().hex)
    group.mkdir()
    try:
        yield group
    finally:
        (group / "freezer.state").write_text("THAWED")
        processes.eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def check_served(server, started):
    """The client of the worker that hangs has its reply, and others theirs, from a successor."""
    assert processes.eventually(lambda: server.call("return 1").get("result") == 1)
    assert time.monotonic() - started < 8
    server.judge_log(LEFT, TOLD)


def test_a_frozen_worker_is_left_behind(runtime):
    with freezer() as group, runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "1"}, allow_log=TOLD) as server:
        started = time.monotonic()
        reply = server.call(frozen(group))
        assert reply["type"] == "HandlerTimeout"
        check_served(server, started)
        assert len(server.worker_pids()) == 2, "it is still there"
        (group / "freezer.state").write_text("THAWED")
        assert processes.eventually(lambda: len(server.worker_pids()) == 1)
        assert server.result("return 2") == 2


def skip_unless_traced(reply):
    if reply.get("result") == "not here":
        pytest.skip("a process cannot be traced by its child here")


def test_a_traced_worker_is_left_behind(runtime):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "1"}, allow_log=TOLD, worker_children=True) as server:
        started = time.monotonic()
        reply = server.call(traced())
        skip_unless_traced(reply)
        assert reply["type"] == "HandlerTimeout"
        check_served(server, started)
        assert processes.eventually(lambda: len(server.worker_pids()) == 1, SECONDS + 5)


def test_health_says_no_until_a_successor_is_ready(runtime, tmp_path):
    """The successor takes three seconds to load."""
    module = tmp_path / "slow_again.py"
    module.write_text("import os, time\nif os.path.exists('%s'): time.sleep(3)\nopen('%s', 'w').close()\n"
                      "from snippets import run\n" % (tmp_path / "mark", tmp_path / "mark"))
    env = {"ASYA_HANDLER_TIMEOUT": "1"}
    with runtime("slow_again:run", cwd=tmp_path, env=env, allow_log=TOLD, worker_children=True) as server:
        skip_unless_traced(server.call(traced()))
        server.wait_for_log(LEFT[0])
        with server.connect() as connection:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert connection.receive_all().startswith(b"HTTP/1.1 503 ")
        assert server.result("return 1") == 1
        assert processes.eventually(lambda: len(server.worker_pids()) == 1, SECONDS + 5)


def test_a_stop_does_not_wait_for_it(runtime):
    with freezer() as group, runtime("snippets:run", env={"ASYA_GRACE_PERIOD": "1"}, allow_log=TOLD, code=0) as server:
        with server.connect() as connection:
            connection.send(json.dumps(frozen(group)).encode())
            assert processes.eventually(lambda: (group / "freezer.state").read_text() == "FROZEN\n")
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 6
            assert connection.reply()["error"] == "server_error"
        (group / "freezer.state").write_text("THAWED")
