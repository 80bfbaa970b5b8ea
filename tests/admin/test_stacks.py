"""Where the workers are, without ending anything: functions in Python, in C, in asyncio, in threads; and while loading."""
import json
import os
import signal
import threading
import time

import pytest

from harness import processes

IN_PYTHON = '''
import time
def process(payload):
    return spin(payload)
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass
    return seconds
'''
IN_C = '''
import ctypes, time
class Moment(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]
def process(payload):
    hold(Moment(int(time.time()) + payload, 0))
    return payload
def hold(until):
    libc = ctypes.PyDLL(None)  # its calls keep the interpreter's lock
    mutex = (ctypes.c_char * 64)()
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, ctypes.byref(until))  # until then, and no signal ends it
'''
IN_ASYNCIO = '''
import asyncio
async def helper(seconds):
    await asyncio.sleep(seconds)
async def process(payload):
    waits = asyncio.ensure_future(helper(payload))
    await waits
    return payload
'''
IN_A_THREAD = '''
import threading, time
def lurk():
    time.sleep(30)
def process(payload):
    threading.Thread(target=lurk, daemon=True).start()
    time.sleep(payload)
    return payload
'''


@pytest.fixture
def hanging(runtime, tmp_path):
    """A runtime whose function works on 3 s of what `source` does; and the request's connection."""
    import contextlib

    @contextlib.contextmanager
    def start(source, seconds=3, **options):
        (tmp_path / "hangs.py").write_text(source)
        env = {"PYTHONPATH": str(tmp_path), **options.pop("env", {})}
        with runtime("hangs", env=env, **options) as server, server.connect() as connection:
            connection.send(b"%d " % seconds)
            assert processes.eventually(lambda: server.status()["running"])
            time.sleep(0.2)
            yield server, connection
    return start


def stacks(server):
    answer = server.control("/stacks", "POST")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain") and answer.seconds < 2 * 3
    return answer.text


ROWS = {
    "in Python": (IN_PYTHON, ["in spin", "in process"]),
    "in asyncio": (IN_ASYNCIO, ["Task ", "in helper", "in process", "in run_forever"]),
    "in a thread": (IN_A_THREAD, ["Thread 0x", "in lurk", "in process"]),
}


@pytest.mark.parametrize("source, seen", ROWS.values(), ids=ROWS)
def test_a_function_is_shown_where_it_is_and_goes_on(hanging, source, seen):
    with hanging(source) as (server, connection):
        text = stacks(server)
        assert text.startswith("worker 0, pid %d:\n" % server.worker_pids()[0])
        for words in seen:
            assert words in text, text
        assert "no stack could be had" not in text and "does not get to its signals" not in text
        assert connection.reply() == {"status": "ok", "result": 3}
        assert stacks(server).count("worker 0, pid") == 1


def test_a_function_that_holds_the_interpreter_s_lock_in_c_is_shown_too(hanging):
    with hanging(IN_C, 6) as (server, connection):
        text = stacks(server)
        assert "in hold" in text and "in C code, and its tasks are not known" in text
        assert connection.reply() == {"status": "ok", "result": 6}


def test_each_worker_is_shown(runtime):
    with runtime("answers:echo", env={"ASYA_WORKERS": "3"}) as server:
        text = stacks(server)
        for pid in server.worker_pids():
            assert "pid %d:\n" % pid in text


def test_a_module_that_hangs_while_it_is_imported_is_shown(runtime, tmp_path):
    (tmp_path / "slow.py").write_text("import time\ndef fetch():\n    time.sleep(3)\nfetch()\ndef process(payload): return 1\n")
    with runtime("slow", env={"PYTHONPATH": str(tmp_path)}, ready=False) as server:
        assert processes.eventually(lambda: os.path.exists(server.control_path) and server.worker_pids())
        assert processes.eventually(lambda: "in fetch" in stacks(server))
        server.wait_ready()
        assert server.result(1) == 1


def test_asking_a_worker_that_was_only_just_forked_does_not_end_it(runtime):
    """Before it has handlers, its signals would end it."""
    with runtime("answers:echo", ready=False) as server:
        end = time.monotonic() + 20
        while not server.reachable() and time.monotonic() < end:
            if os.path.exists(server.control_path):
                try:
                    server.control("/stacks", "POST")
                except OSError:
                    pass
        for _ in range(5):
            pids = set(server.worker_pids())
            assert server.control("/recycle", "POST").status == 200
            while pids & set(server.worker_pids()):
                server.control("/stacks", "POST")
            assert server.result(1) == 1
        assert server.status()["workers"][0]["exits"]["start_failed"] == 0


def test_a_stopped_worker_is_said_to_take_no_signals(runtime):
    with runtime("answers:echo", allow_log=["(INFO|WARNING) .*"], code=None) as server:
        pid = server.worker_pids()[0]
        os.kill(pid, signal.SIGSTOP)
        text = stacks(server)
        assert "no stack could be had" in text
        os.kill(pid, signal.SIGCONT)
        assert server.result(1) == 1


def test_all_who_ask_at_once_are_answered(runtime):
    with runtime("answers:echo") as server:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(stacks(server))) for _ in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(answers) == 6 and all("worker 0, pid" in text for text in answers)


def test_sigusr2_writes_them_to_the_log(hanging):
    with hanging(IN_PYTHON, expect_log=["INFO worker 0, pid .*: stacks.*in spin"]) as (server, connection):
        server.kill(signal.SIGUSR2)
        server.wait_for_log("INFO worker 0, pid .*: stacks.*in spin")
        assert connection.reply()["result"] == 3


def test_the_line_about_a_time_limit_keeps_its_stack(hanging):
    env = {"ASYA_HANDLER_TIMEOUT": "1"}
    expect = ["ERROR .*asked to stop.*in spin", "ERROR .*HandlerTimeout.*"]
    with hanging(IN_PYTHON, env=env, allow_log=expect) as (server, connection):
        stacks(server)
        assert connection.reply()["type"] == "HandlerTimeout"
        server.wait_for_log("asked to stop.*in spin")


def test_a_user_s_own_tasks_are_bounded(hanging):
    source = IN_ASYNCIO.replace("    waits =", "    many = [asyncio.ensure_future(helper(payload)) for _ in range(2000)]\n    waits =")
    with hanging(source) as (server, connection):
        text = stacks(server)
        assert "in helper" in text and len(text) < 200_000
        assert connection.reply()["result"] == 3
