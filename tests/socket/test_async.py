"""Coroutine functions: one event loop for the worker's life, requests that overlap on it, cancellation (docs/protocol.md)."""
import concurrent.futures
import json
import pathlib
import textwrap
import time

import pytest

from harness import client, processes, protocols
from harness.runtime import HANDLERS, skip_unless_importable

TOLD = ["(ERROR|WARNING) .*"]


@pytest.fixture
def tasks(runtime):
    """tasks(name, concurrency=1, ...): a runtime on a function of tasks.py; the loop's descriptors are its own."""
    def start(name, concurrency=1, env=None, **options):
        return runtime("tasks:" + name, env={"ASYA_CONCURRENCY": concurrency, **(env or {})}, worker_descriptors=True,
                       **options)
    return start


def noted(server):
    path = pathlib.Path(server.env["TMPDIR"], "noted")
    return path.read_text().split() if path.exists() else []


# -- overlap --------------------------------------------------------------------------------------------------------------


def test_a_hundred_requests_of_a_tenth_of_a_second_run_at_once(tasks):
    with tasks("nap", concurrency=100) as server:
        server.result(0)
        taken = []
        while len(taken) < 3 and min(taken, default=1) >= 0.4:  # other programs may hold up one
            started = time.monotonic()
            replies = client.calls_together(server.path, [0.1] * 100)
            taken.append(time.monotonic() - started)
            assert all(reply == {"status": "ok", "result": 0.1} for reply in replies)
        assert min(taken) < 1, "%.2f s; ten at a time would take 1" % min(taken)


@pytest.mark.parametrize("concurrency", [1, 3, 20])
def test_no_more_requests_overlap_than_allowed(tasks, concurrency):
    with tasks("overlap", concurrency=concurrency) as server:
        most = max(reply["result"] for reply in client.calls_together(server.path, [0.05] * 20))
        assert most == min(concurrency, 20)


def test_a_quick_request_passes_a_slow_one(tasks):
    with tasks("nap", concurrency=2) as server:
        with server.connect() as slow:
            slow.send(b"0.5 ")
            started = time.monotonic()
            assert server.result(0.001) == 0.001
            assert time.monotonic() - started < 0.4
            assert slow.reply()["result"] == 0.5


@pytest.mark.parametrize("name", ["nap", "sometimes"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_many_clients_each_get_their_own_answer(tasks, name, concurrency):
    with tasks(name, concurrency=concurrency) as server:
        def ask(number):
            delay = number % 7 / 10_000
            payload = delay if name == "nap" else {"nap": delay} if number % 3 else {}
            expected = delay if name == "nap" or number % 3 else "plain"
            return server.result(payload) == expected

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(400)))


# -- one loop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 5])
def test_what_is_bound_to_the_loop_survives_between_requests(tasks, concurrency):
    with tasks("same_loop", concurrency=concurrency) as server:
        for number in range(5):
            assert server.result(number) == [number, True, "asyncio", True]


def test_a_task_goes_on_between_requests(tasks):
    with tasks("background") as server:
        first, done = server.result(0)
        assert not done

        def has_moved():
            return server.result(0)[0] > first + 20

        assert processes.eventually(has_moved)


def test_the_worker_sleeps_while_nothing_happens(tasks):
    with tasks("nap") as server:
        server.result(0)
        [worker] = server.worker_pids()
        before = processes.cpu_seconds(worker)
        time.sleep(1)
        assert processes.cpu_seconds(worker) - before <= 0.05


@pytest.mark.parametrize("way", ["wait", "at once"])
def test_current_task_is_the_requests_own(tasks, way):
    with tasks("current") as server:
        assert server.result(way) == [True, True, True]


def test_time_limits_of_asyncio_work(tasks):
    with tasks("timed", concurrency=2) as server:
        assert [reply["result"] for reply in client.calls_together(server.path, [30, 0.001])] == ["timed out", "slept"]


def test_variables_of_one_request_are_not_seen_by_the_next(tasks):
    code = ("import contextvars\nv = KEPT.setdefault('v', contextvars.ContextVar('v', default=0))\n"
            "seen = v.get()\nv.set(seen + 1)\n%s\nreturn [seen, v.get()]")
    with tasks("run", concurrency=4) as server:
        for pause in ("", "await asyncio.sleep(0.01)"):
            for reply in client.calls_together(server.path, [code % pause] * 20):
                assert reply["result"] == [0, 1]


# asyncio makes no loop of its own accord from CPython 3.14 on, where get_event_loop() raises a RuntimeError.
CURRENT = ("def current():\n    try:\n        return asyncio.get_event_loop()\n    except RuntimeError:\n"
           "        asyncio.set_event_loop(asyncio.new_event_loop())\n        return asyncio.get_event_loop()\n")

FIRST = {
    "a future": "loop = current()\nf = asyncio.Future()\nloop.call_later(0.01, f.set_result, 5)\nreturn f",
    "a task": "return current().create_task(asyncio.sleep(0.01, 5))",
    "a coroutine that waits for an older future":
        "f = current().create_future()\nasync def waits(): return await f\n"
        "current().call_later(0.01, f.set_result, 5)\nreturn waits()",
}


@pytest.mark.parametrize("code", FIRST.values(), ids=FIRST)
def test_what_was_made_before_the_first_coroutine_belongs_to_the_same_loop(runtime, tmp_path, code):
    (tmp_path / "first.py").write_text("import asyncio\n" + CURRENT + "def process(payload):\n" + textwrap.indent(code, "    "))
    with runtime("first", cwd=tmp_path, worker_descriptors=True) as server:
        for _ in range(2):
            assert server.result(1) == 5


LOOPS = {
    "the current one, made at import": ("LOOP = current()", True),
    "the current one is closed": ("LOOP = current()\nLOOP.close()", False),
    "the current one runs in a thread":
        ("import threading\nLOOP = current()\nthreading.Thread(target=LOOP.run_forever, daemon=True).start()\n"
         "while not LOOP.is_running(): pass", False),
    "asyncio.run() has left none": ("async def nothing(): pass\nasyncio.run(nothing())\nLOOP = None", False),
}


@pytest.mark.parametrize("made, kept", LOOPS.values(), ids=LOOPS)
def test_the_loop_is_the_current_one_where_it_can_be_used(runtime, tmp_path, made, kept):
    (tmp_path / "early.py").write_text(
        "import asyncio\n%s%s\nasync def process(payload):\n    await asyncio.sleep(0)\n"
        "    return LOOP is asyncio.get_event_loop()\n" % (CURRENT, made))
    with runtime("early", cwd=tmp_path, worker_descriptors=True) as server:
        assert server.result(1) is kept


def test_uvloop_is_used_if_its_policy_is_installed(runtime, tmp_path):
    skip_unless_importable("uvloop")
    (tmp_path / "uv.py").write_text(
        "import asyncio, uvloop\nuvloop.install()\nfrom tasks import same_loop, nap\n")
    env = {"PYTHONPATH": "%s:%s" % (tmp_path, HANDLERS), "ASYA_CONCURRENCY": "50"}
    with runtime("uv:same_loop", env=env, worker_descriptors=True) as server:
        assert server.result(1) == [1, True, "uvloop", True]
    with runtime("uv:nap", env=env, worker_descriptors=True) as server:
        started = time.monotonic()
        assert all(reply["result"] == 0.1 for reply in client.calls_together(server.path, [0.1] * 50))
        assert time.monotonic() - started < 2


# -- errors ---------------------------------------------------------------------------------------------------------------

RAISED = {
    "ValueError": ("raise ValueError('no')", "validation_error", None),
    "RuntimeError": ("raise RuntimeError('no')", "processing_error", "RuntimeError"),
    "after a wait": ("await asyncio.sleep(0)\nraise KeyError('k')", "processing_error", "KeyError"),
    "SystemExit": ("raise SystemExit(3)", "processing_error", "SystemExit"),
    "KeyboardInterrupt after a wait": ("await asyncio.sleep(0)\nraise KeyboardInterrupt", "processing_error", "KeyboardInterrupt"),
    "CancelledError of its own": ("raise asyncio.CancelledError", "processing_error", "CancelledError"),
    "it cancels itself": ("asyncio.current_task().cancel()\nawait asyncio.sleep(1)", "processing_error", "CancelledError"),
    "MemoryError": ("raise MemoryError", "out_of_memory", None),
    "a result that cannot be written": ("return object()", "processing_error", "TypeError"),
    "a coroutine that was not awaited": ("return asyncio.sleep(0)", "processing_error", "TypeError"),
    "a task that fails": ("await asyncio.ensure_future(asyncio.wait_for(asyncio.sleep(1), 0.01))", "processing_error", "TimeoutError"),
    "a coroutine that has run before": ("c = asyncio.sleep(0)\nawait c\nawait c", "processing_error", "RuntimeError"),
}


@pytest.mark.parametrize("code", ["raise RuntimeError('seen')", "await asyncio.sleep(0)\nraise RuntimeError('seen')"])
def test_the_traceback_has_the_functions_frames_alone(tasks, code):
    with tasks("run", allow_log=[".*"]) as server:
        status, body = protocols.invoke(server.path, protocols.hops(code))
        traceback = body["details"]["traceback"]
        assert status == 500 and "RuntimeError: seen" in traceback and "in run" in traceback
        [line] = server.wait_for_log("ERROR .*seen")
        assert "asya_runtime" not in traceback + line.text


@pytest.mark.parametrize("code, category, kind", RAISED.values(), ids=RAISED)
def test_raised(tasks, code, category, kind):
    with tasks("run", allow_log=[".*"]) as server:
        workers = server.worker_pids()
        for _ in range(3):
            reply = server.call(code)
            assert (reply["error"], reply.get("type")) == (category, kind)
            assert server.result("return 1") == 1
        assert server.worker_pids() == workers


def test_a_task_that_raises_systemexit_does_not_end_the_worker(tasks):
    with tasks("run", allow_log=[".*"]) as server:
        workers = server.worker_pids()
        server.result("async def exits(): raise SystemExit(3)\nKEPT['t'] = asyncio.ensure_future(exits())")
        server.result("asyncio.get_event_loop().call_soon(lambda: 1/0)")
        assert server.result("return 1") == 1
        assert server.worker_pids() == workers


def test_a_closed_coroutine_from_a_plain_function_is_an_error(runtime):
    with runtime("snippets:run", worker_descriptors=True, allow_log=[".*"]) as server:
        assert server.call("async def f(): return 1\nc = f(); c.close(); return c")["type"] == "RuntimeError"
        assert server.result("return 1") == 1


# -- cancellation ---------------------------------------------------------------------------------------------------------

LIMIT = 0.5
HANGS = {
    "a task that sleeps": "await asyncio.sleep(60)",
    "a task that holds up the loop": "while True: pass",
    "a task that sleeps in C": "time.sleep(60)",
    "a task that waits for ever": "await asyncio.Event().wait()",
    "a task that holds up the loop after a wait": "await asyncio.sleep(0)\nwhile True: pass",
}


@pytest.mark.supervised
@pytest.mark.parametrize("code", HANGS.values(), ids=HANGS)
def test_a_task_that_runs_too_long_is_cancelled_and_cleans_up(tasks, code):
    with tasks("run", concurrency=2, env={"ASYA_HANDLER_TIMEOUT": LIMIT}, allow_log=TOLD) as server:
        workers = server.worker_pids()
        # CPython 3.11 skips the finally of a try that begins with a loop: hence the first statement
        code = "try:\n    turns = 0\n%s\nfinally: note('cleaned')" % "\n".join("    " + line for line in code.split("\n"))
        started = time.monotonic()
        reply = server.call(code)
        assert (reply["error"], reply["type"]) == ("processing_error", "HandlerTimeout")
        assert LIMIT - 0.05 < time.monotonic() - started < LIMIT + 1.5
        assert processes.eventually(lambda: noted(server) == ["cleaned"])
        assert server.result("return 1") == 1
        assert server.worker_pids() == workers


@pytest.mark.supervised
def test_only_the_request_that_runs_too_long_is_cancelled(tasks):
    with tasks("run", concurrency=3, env={"ASYA_HANDLER_TIMEOUT": 1.5}, allow_log=TOLD) as server:
        with server.connect() as late, server.connect() as early:
            late.send(client.encode("try: await asyncio.sleep(60)\nfinally: KEPT['over'] = True"))
            time.sleep(0.75)  # half of the limit: it has the other half when the first one's is over
            early.send(client.encode("while 'over' not in KEPT: await asyncio.sleep(0.01)\nreturn 7"))
            assert late.reply()["type"] == "HandlerTimeout"
            assert early.reply()["result"] == 7


@pytest.mark.supervised
def test_a_client_that_leaves_cancels_its_task_alone(tasks):
    with tasks("run", concurrency=3, allow_log=TOLD) as server:
        workers = server.worker_pids()
        with server.connect() as other:
            other.send(b'"await asyncio.sleep(1)\\nreturn 7"')
            with server.connect() as leaving:
                leaving.send(b'"try:\\n    await asyncio.sleep(60)\\nfinally: note(\'left\')"')
                time.sleep(0.2)
            assert processes.eventually(lambda: noted(server) == ["left"])
            assert other.reply()["result"] == 7
        assert server.worker_pids() == workers


# -- the end --------------------------------------------------------------------------------------------------------------


def test_requests_that_run_are_answered_before_the_end(tasks):
    with tasks("run", concurrency=5) as server:
        with server.connect() as running:
            running.send(b'"await asyncio.sleep(0.4)\\nreturn 5"')
            time.sleep(0.15)
            assert server.stop() == 0
            assert running.reply()["result"] == 5


def test_tasks_left_at_the_end_are_cancelled_as_asyncio_run_does(tasks):
    with tasks("run") as server:
        code = ("async def lasting():\n    try: await asyncio.sleep(60)\n    finally: note('ended')\n"
                "KEPT['t'] = asyncio.ensure_future(lasting())\nawait asyncio.sleep(0)")
        server.result(code)
        assert server.stop() == 0
        assert noted(server) == ["ended"]


def test_an_idle_worker_stops_at_once(tasks):
    with tasks("nap", concurrency=4) as server:
        server.result(0)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 3


# -- plain functions beside a loop --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beside(runtime):
    with runtime("besides:Client.process", worker_descriptors=True, allow_log=["(ERROR|WARNING) .*"]) as server:
        yield server


BESIDE = {
    "asyncio.run": ("payload", "payload"), "the loop of its set-up": ("its loop", "done"),
    "the loop asyncio gives it": ("get_event_loop", [True, "done"]), "none, and none runs": ("running", None),
}


@pytest.mark.parametrize("payload, expected", BESIDE.values(), ids=BESIDE)
def test_a_plain_function_with_asynchronous_set_up_may_use(beside, payload, expected):
    for _ in range(3):
        assert beside.result(payload) == expected
        assert beside.result("another") == "another"


def test_tasks_of_the_set_up_go_on_between_messages(beside):
    before = beside.result("turns")
    assert processes.eventually(lambda: beside.result("turns") > before + 5)


def test_a_plain_function_that_closes_the_loop_ends_nothing(runtime):
    with runtime("besides:Client.process", worker_descriptors=True, allow_log=[""]) as server:
        assert server.result("close") == "closed"
        for _ in range(3):
            assert server.result("payload") == "payload"
            assert server.result("running") is None


def test_many_clients_of_a_plain_function_beside_a_loop(beside):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(beside.result, range(200))) == list(range(200))


def test_a_kept_connection_of_a_plain_function_beside_a_loop(beside):
    """Pipelined: each reply lets the next request in."""
    body = json.dumps(protocols.hops("payload")).encode()
    head = b"POST /invoke HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with beside.connect() as connection:
        connection.send((head + body) * 5)
        connection.half_close()
        assert connection.receive_all().count(b'"payload":"payload"') == 5


def test_a_plain_generator_beside_a_loop(runtime):
    with runtime("besides:Client.steps", worker_descriptors=True) as server:
        for _ in range(3):
            assert server.result("payload") == ["payload", "payload"]


def test_the_time_limit_of_a_plain_function_beside_a_loop(runtime):
    with runtime("besides:Client.process", env={"ASYA_HANDLER_TIMEOUT": 0.5}, worker_descriptors=True,
                 allow_log=["(ERROR|WARNING) .*"]) as server:
        workers = server.worker_pids()
        assert server.call("sleep")["type"] == "HandlerTimeout"
        assert server.result("payload") == "payload"
        assert server.worker_pids() == workers


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_function_that_returns_a_coroutine_now_and_then(runtime, concurrency):
    with runtime("besides:sometimes", env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True) as server:
        for number in range(10):
            assert server.result(number) == number
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(server.result, range(100))) == list(range(100))
