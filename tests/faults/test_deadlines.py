"""ASYA_HANDLER_TIMEOUT: the client has its reply in time whatever the function does with the interpreter (W7)."""
import os
import re
import signal
import time

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

LIMIT = 1.0
SLACK = 1.5  # the contract says 0.25 s on a quiet machine; this one is shared
TOLD = ["(WARNING|ERROR) .*"]
STACK_SIGNAL = 60  # server/cancel.h


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": str(LIMIT)}, allow_log=TOLD) as server:
        yield server


@pytest.fixture
def limited(serving):
    with serving.watched(allow_log=TOLD):
        yield serving


# A loop in C that takes no notice of signals and never lets another thread run.
WORKS = "import collections, itertools\ncollections.deque(itertools.repeat(None), maxlen=0)"

HANGS = {
    "a pure loop": "while True: pass",
    "a sleep": "import time\ntime.sleep(60)",
    "C code that holds the interpreter and sleeps": "import ctypes\nctypes.PyDLL(None).usleep(60_000_000)",
    "C code that holds the interpreter and works": WORKS,
    "a regular expression that never returns":
        "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "a stopped process": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nimport time; time.sleep(60)",
    "blocked signals": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})\n"
                       "while True: pass",
    "ignored signals": "import signal\nfor n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1): signal.signal(n, signal.SIG_IGN)\n"
                       "while True: pass",
    "a loop that catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "a wait for a lock": "import threading\nthreading.Lock().acquire() or 1\nl = threading.Lock(); l.acquire(); l.acquire()",
    "a wait for a child": "import subprocess\nsubprocess.run(['sleep', '60'])",
    "a read that never ends": "import os\nr, w = os.pipe()\ntry: os.read(r, 1)\nfinally: os.close(r); os.close(w)",
}


@pytest.mark.parametrize("code", HANGS.values(), ids=HANGS)
def test_the_reply_comes_in_time_after(limited, code):
    supervisor = limited.pid
    started = time.monotonic()
    reply = limited.call(code)
    taken = time.monotonic() - started
    assert (reply["error"], reply["type"]) == ("processing_error", "HandlerTimeout")
    assert "1" in reply["message"], "must name the limit"
    assert LIMIT - 0.05 < taken < LIMIT + SLACK
    assert limited.result("return 1") == 1
    assert limited.pid == supervisor
    assert processes.eventually(lambda: len(limited.worker_pids()) == 1)


def test_a_worker_that_obeys_goes_on_living(limited):
    limited.result("KEPT['mark'] = 1")
    workers = limited.worker_pids()
    assert limited.call("while True: pass")["type"] == "HandlerTimeout"
    assert limited.result("return KEPT.get('mark')") == 1
    assert limited.worker_pids() == workers


def test_a_worker_that_does_not_obey_is_replaced(limited):
    workers = limited.worker_pids()
    assert limited.call(WORKS)["type"] == "HandlerTimeout"
    assert limited.result("return 1") == 1
    assert limited.worker_pids() != workers


def test_the_function_may_clean_up(limited):
    # CPython 3.11 skips the finally of a try that begins with a loop: hence the first statement
    code = "try:\n    turns = 0\n    while True: turns += 1\nfinally: KEPT['cleaned'] = True"
    assert limited.call(code)["type"] == "HandlerTimeout"
    assert limited.result("return KEPT.get('cleaned')") is True


@pytest.mark.parametrize("grace, cleaning, survives", [("0", 0.9, False), ("6", 1.8, True)])
def test_the_time_to_clean_up_is_a_setting(runtime, grace, cleaning, survives):
    """The reply does not wait for it; with the default, a second, both would end otherwise."""
    code = ("import os, time, asya_runtime\ntry:\n    while True: time.sleep(0.01)\n"
            "except asya_runtime.HandlerTimeout:\n    end = time.monotonic() + %s\n"
            "    while time.monotonic() < end: time.sleep(0.01)\n    KEPT['clean'] = 1\n    raise" % cleaning)
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.3", "ASYA_HANDLER_GRACE": grace},
                 allow_log=["ERROR .*"]) as server:
        workers = server.worker_pids()
        begun = time.monotonic()
        assert server.call(code)["type"] == "HandlerTimeout"
        assert time.monotonic() - begun < 0.3 + cleaning, "the reply waits for the clean-up"
        assert server.result("return KEPT.get('clean')") == (1 if survives else None)
        assert (server.worker_pids() == workers) == survives


def test_the_stack_of_a_hanging_function_is_logged(serving):
    with serving.watched(expect_log=["(WARNING|ERROR) .*a_telling_name"], allow_log=TOLD):
        assert serving.call("def a_telling_name():\n    while True: pass\na_telling_name()")["type"] == "HandlerTimeout"


def test_the_signal_for_the_stacks_leaves_errno_as_it_is(limited):
    """It comes at any moment, also between a call that fails and the look at the reason."""
    assert limited.result("import ctypes, os\nplace = ctypes.CDLL(None).__errno_location\n"
                          "place.restype = ctypes.POINTER(ctypes.c_int)\nerrno = place()\nerrno[0] = 11\n"
                          "os.kill(os.getpid(), %d)\nreturn errno[0]" % STACK_SIGNAL) == 11


def test_those_who_wait_are_served_afterwards(limited):
    with limited.connect() as hanging, limited.connect() as waiting:
        hanging.send(b'"while True: pass"')
        time.sleep(0.1)
        waiting.send(b'"return 5"')
        assert hanging.reply()["type"] == "HandlerTimeout"
        assert waiting.reply()["result"] == 5


def test_what_is_quick_is_not_touched(limited):
    for number in range(100):
        assert limited.result("return %d" % number) == number
    assert limited.result("import time\ntime.sleep(0.5)\nreturn 'in time'") == "in time"


def test_the_time_in_the_queue_does_not_count(limited):
    """Three requests of 0.6 s for one worker: the last waits longer than the limit, runs shorter."""
    connections = [limited.connect() for _ in range(3)]
    for connection in connections:
        connection.send(b'"import time\\ntime.sleep(0.6)\\nreturn 1"')
    for connection in connections:
        assert connection.reply() == {"status": "ok", "result": 1}
        connection.close()


def test_without_a_limit_a_function_may_take_its_time(runtime):
    with runtime("answers:nap") as server:
        assert server.result(1.5) == 1.5


def test_a_stopped_supervisor_does_not_blame_requests_that_ended(limited):
    """SIGSTOP for longer than the limit, then SIGCONT (E10)."""
    [worker] = limited.worker_pids()
    os.kill(limited.pid, signal.SIGSTOP)
    try:
        time.sleep(LIMIT + 0.5)
        assert limited.result("return 1") == 1
    finally:
        os.kill(limited.pid, signal.SIGCONT)
    assert limited.result("return 2") == 2
    assert limited.worker_pids() == [worker]


def test_one_that_does_not_stop_does_not_take_others_of_its_worker_with_it(runtime):
    """Two at once: the worker is killed for one of them only when the other has ended."""
    env = {"ASYA_HANDLER_TIMEOUT": str(LIMIT), "ASYA_CONCURRENCY": "2"}
    with runtime("snippets:run", env=env, allow_log=TOLD) as server:
        workers = server.worker_pids()
        with server.connect() as stuck, server.connect() as other:
            stuck.send(b'"import time\\ntime.sleep(60)"')  # no exception reaches a thread that sleeps
            time.sleep(1.5)  # it would be terminated half a second from now
            other.send(b'"import time\\ntime.sleep(0.8)\\nreturn 7"')
            assert stuck.reply()["type"] == "HandlerTimeout"
            assert other.reply() == {"status": "ok", "result": 7}
        assert server.result("return 1") == 1
        assert server.worker_pids() != workers


@pytest.mark.parametrize("code", ["while True: pass", WORKS], ids=["it obeys", "it does not"])
def test_the_limit_holds_without_a_parking_slot(runtime, code):
    """Descriptors for no more slots: the supervisor cannot answer in the worker's stead, and ends it for that."""
    few = ["prlimit", "--nofile=80:80"]
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": str(LIMIT)}, wrapper=few, allow_log=TOLD) as server:
        kept = [server.connect() for _ in range(20)]
        for connection in kept:
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.receive(4096).endswith(b'{"status":"ready"}')
        started = time.monotonic()
        reply = server.call(code)
        assert (reply["error"], reply.get("type")) == ("processing_error", "HandlerTimeout"), reply
        assert time.monotonic() - started < LIMIT + 2 + SLACK
        for connection in kept:
            connection.close()
        assert server.result("return 1") == 1


AT = r'      File "[^"]*stuck.py", line \d+ in %s\n'
CHAIN = r"The request's task, most recent await first:\n[^;]*in sleep\n" + AT % "deepest" + AT % "deeper" + AT
STUCK = {
    "a coroutine": ("stuck", CHAIN % "process"),
    "a coroutine that gathers": ("stuck:gathers", CHAIN % "gathers"),
    "a coroutine that awaits a task": ("stuck:awaits_task", CHAIN % "awaits_task"),
    "an asynchronous generator": ("stuck:yields", CHAIN % "yields"),
    "a coroutine that holds up the loop":
        ("stuck:holds_up", r"Current thread .*:\n" + AT % "turns_in_coroutine" + AT % "holds_up"),
    "a function among threads of its own":
        ("stuck:with_threads", r"The request's thread, most recent call first:\n" + AT % "in_the_function"),
}


@pytest.mark.parametrize("handler, told", STUCK.values(), ids=STUCK)
def test_the_line_says_first_where_the_request_is_of(runtime, handler, told):
    """And not in the event loop, or in what other threads do."""
    allow = ["ERROR .*HandlerTimeout", "ERROR .*did not finish", "(WARNING|ERROR) .*worker"]
    with runtime(handler, env={"ASYA_HANDLER_TIMEOUT": LIMIT}, allow_log=allow, worker_descriptors=True) as server:
        assert server.call(1)["type"] == "HandlerTimeout"
        [line] = server.wait_for_log("ERROR .*asked to stop")
        assert re.search("asked to stop\n    " + told, line.text), line.text


def test_a_function_with_threads_of_its_own_hears_of_its_limit(limited):
    """The signal may be given to one of those: the function sleeps in another, and the stacks take a while to write."""
    limited.result("import stuck, threading\nfor _ in range(40):\n"
                   "    threading.Thread(target=stuck.rests, daemon=True).start()")
    workers = limited.worker_pids()
    for _ in range(6):
        assert limited.call("import time\ntime.sleep(60)")["type"] == "HandlerTimeout"
    assert limited.worker_pids() == workers


def test_the_line_says_first_which_thread_it_is_of_several(runtime):
    env = {"ASYA_HANDLER_TIMEOUT": LIMIT, "ASYA_CONCURRENCY": 4}
    with runtime("stuck:in_one_thread_of_many", env=env, allow_log=["(WARNING|ERROR) .*"]) as server:
        assert server.result("threads") == 1
        assert server.call("stay")["type"] == "HandlerTimeout"
        [line] = server.wait_for_log("ERROR .*asked to stop")
        assert re.search(r"asked to stop\n    The request's thread, most recent call first:\n" + AT % "in_the_function", line.text)


def test_limits_that_end_together_share_the_stacks(runtime):
    """The worker writes all of its stacks at once: a record that has none must not say that the process is deaf."""
    env = {"ASYA_HANDLER_TIMEOUT": LIMIT, "ASYA_CONCURRENCY": 8}
    with runtime("stuck:awaits_task", env=env, allow_log=["(WARNING|ERROR) .*"]) as server:
        connections = [server.connect() for _ in range(8)]
        for connection in connections:
            connection.send(b"1 ")
        assert [connection.reply()["type"] for connection in connections] == ["HandlerTimeout"] * 8
        lines = server.wait_for_log("ERROR .*asked to stop", count=8)
    told = [line.text.splitlines()[0] for line in lines]
    assert not [text for text in told if "no stack could be had" in text]
    assert all("in the record before" in text or "\n" in line.text for text, line in zip(told, lines))
