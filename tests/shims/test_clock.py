"""The time of day jumps: no deadline comes early, late or never for it (E9)."""
import contextlib
import time

import pytest

from harness import shims

pytestmark = pytest.mark.supervised

LIMIT = 0.5
SLACK = 1.5  # for a machine that others use too: a jump that counted would make it a day or no time at all
DAY = 86400
TOLD = ["(WARNING|ERROR) .*"]


@contextlib.contextmanager
def takes_the_limit():
    """What is done in it ends at the time limit, neither early nor late."""
    started = time.monotonic()
    yield
    assert LIMIT - 0.05 < time.monotonic() - started < LIMIT + SLACK


@pytest.fixture(params=[DAY, -DAY], ids=["a day on", "a day back"])
def jumped(request, runtime, tmp_path):
    """A runtime and what makes its clock jump."""
    clock = shims.Shared(tmp_path / "clock", 1)
    env = shims.preloaded("clock", SHIM_CLOCK=clock.path, ASYA_HANDLER_TIMEOUT=LIMIT, ASYA_READ_TIMEOUT=LIMIT)
    with runtime("snippets:run", env=env, allow_log=TOLD) as server:
        def jump():
            clock[0] += request.param
            told = server.result("import time\nreturn time.time()")
            assert abs(told - time.time() - clock[0]) < 60, "the clock has not jumped"
        yield server, jump, clock, request.param


def test_a_function_is_given_its_time_and_no_more(jumped):
    server, jump, clock, by = jumped
    jump()
    with server.connect() as connection:
        connection.send(b'"import time\\nstarted = time.monotonic()\\nwhile time.monotonic() - started < 0.2: pass\\nreturn 1"')
        clock[0] += by  # while it runs
        assert connection.reply() == {"status": "ok", "result": 1}
    with takes_the_limit(), server.connect() as connection:
        connection.send(b'"while True: pass"')
        clock[0] -= by
        assert connection.reply()["type"] == "HandlerTimeout"


def test_a_request_may_arrive_as_slowly_as_ever_and_no_slower(jumped):
    server, jump, clock, by = jumped
    jump()
    with takes_the_limit(), server.connect() as connection:
        connection.send(b'"return')
        clock[0] += by
        assert connection.reply()["error"] == "connection_error"


def test_a_dead_worker_is_replaced_as_soon_as_ever(jumped):
    server, jump, _, _ = jumped
    jump()
    started = time.monotonic()
    for _ in range(3):
        assert server.result("return 1") == 1
        assert server.call("import os\nos._exit(1)")["type"] == "WorkerExited"
    assert server.result("return 2") == 2
    assert time.monotonic() - started < 10
