"""Set-up before the first request, tear-down after the last."""
import pathlib
import signal
import time

import pytest

from harness import processes


def noted(server):
    path = pathlib.Path(server.env["TMPDIR"], "noted")
    return path.read_text().split("\n")[:-1] if path.exists() else []


LIVES = {
    "setup of a function": ("plain", ["setup", "call", "call"]),
    "setup of a coroutine function is a coroutine": ("task", ["setup", "call", "call"]),
    "a class with close": ("Closing.method", ["init", "call", "call", "close"]),
    "a class that is a context manager": ("Managed.method", ["enter", "call", "call", "exit"]),
    "a class that is an asynchronous context manager": ("AsyncManaged.method", ["enter", "call", "call", "exit"]),
    "a close that is a coroutine": ("AsyncClosing.method", ["call", "call", "close"]),
    "an instance with close": ("instance", ["call", "call", "close"]),
    "atexit comes last": ("AtExit.method", ["call", "call", "close", "atexit"]),
}


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("name, steps", LIVES.values(), ids=LIVES)
def test_life(runtime, name, steps, concurrency):
    with runtime("lives:" + name, env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True) as server:
        before = steps[:steps.index("call")]
        assert noted(server) == before, "set-up comes before ready"
        for _ in range(2):
            server.result("x")
        assert server.stop() == 0
        assert noted(server) == steps


def test_sigint_is_a_normal_stop_too(runtime):
    with runtime("lives:Closing.method") as server:
        assert server.stop(signal.SIGINT) == 0
        assert noted(server) == ["init", "close"]


def test_a_worker_that_is_replaced_is_torn_down(runtime):
    with runtime("lives:Closing.method", env={"ASYA_MAX_REQUESTS": 1}) as server:
        first = server.worker_pids()
        server.result(b'"x"')
        server.wait_for_log("INFO worker .* is ready", count=2)
        assert processes.eventually(lambda: len(server.worker_pids()) == 1 and server.worker_pids() != first)
        assert server.stop() == 0
        steps = noted(server)
        assert steps.count("init") == steps.count("close") == 2, steps


def test_a_setup_that_raises_refuses_to_start(refuse):
    refusal = refuse("lives:failing")
    assert refusal.code == 71
    assert "setup" in refusal.cause and "no database" in refusal.cause
    assert "_failing_setup" in refusal.traceback


def test_a_close_that_raises_is_logged_and_the_exit_is_clean(runtime):
    with runtime("lives:FailingClose.method", allow_log=[".*"]) as server:
        server.result("x")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 10
        assert any(line.level == "ERROR" and "cannot close" in line.text for line in server.logs())
