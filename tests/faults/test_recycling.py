"""Workers replaced between requests: ASYA_MAX_REQUESTS, ASYA_MAX_RSS; and memory limits (W4, W5)."""
import re

import pytest

from harness import processes
from harness.runtime import EXIT_IMPORT_RAISED

pytestmark = pytest.mark.supervised

WHO = "import os\nreturn os.getpid()"


def test_after_so_many_requests_the_next_worker_serves(runtime):
    """Not the very next request: the old one serves until the new one is ready."""
    with runtime("snippets:run", env={"ASYA_MAX_REQUESTS": "5"}) as server:
        served = [server.result(WHO) for _ in range(5)]
        assert len(set(served)) == 1
        assert processes.eventually(lambda: served.append(server.result(WHO)) or len(set(served)) == 3)
        assert all(served.count(pid) >= 5 for pid in set(served[:-1]))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_notices_the_replacement(runtime, workers):
    with runtime("answers:echo", env={"ASYA_MAX_REQUESTS": "3", "ASYA_WORKERS": workers}) as server:
        for number in range(100):
            assert server.result(number) == number
        assert processes.eventually(lambda: len(server.worker_pids()) == int(workers))


def test_simultaneous_requests_survive_the_replacement(runtime):
    with runtime("answers:nap", env={"ASYA_MAX_REQUESTS": "2"}) as server:
        connections = [server.connect() for _ in range(30)]
        for connection in connections:
            connection.send(b"0.005 ")
        for connection in connections:
            assert connection.reply()["result"] == 0.005
            connection.close()


def test_a_worker_that_has_grown_is_replaced(runtime):
    with runtime("snippets:run", env={"ASYA_MAX_RSS": str(120 << 20)}, allow_log=["WARNING"]) as server:
        first = server.result(WHO)
        assert server.result("KEPT['big'] = bytearray(b'x') * (200 << 20)\nreturn 1") == 1
        assert processes.eventually(lambda: server.result(WHO) != first, 5, 0.05)
        second = server.result(WHO)
        for _ in range(20):
            assert server.result(WHO) == second, "one that is small stays"


def test_a_memory_limit_makes_exhaustion_an_error_of_the_request(runtime):
    env = {"ASYA_MEMORY_LIMIT": str(400 << 20)}
    with runtime("snippets:run", env=env, allow_log=["ERROR .*out_of_memory"]) as server:
        workers = server.worker_pids()
        for _ in range(5):
            assert server.call("return len(bytearray(1 << 30))")["error"] == "out_of_memory"
        assert server.result("return 1") == 1
        assert server.worker_pids() == workers


PROGRAM = """
import os, subprocess, sys
code = "bytearray(300 << 20)"
if payload_how == "subprocess": return subprocess.run([sys.executable, "-c", code]).returncode
if payload_how == "posix_spawn":
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    return os.waitpid(pid, 0)[1]
import multiprocessing
process = multiprocessing.get_context("spawn").Process(target=bytearray, args=(300 << 20,))
process.start()
process.join()
return process.exitcode
"""


@pytest.mark.parametrize("how", ["subprocess", "posix_spawn", "multiprocessing"])
def test_the_memory_limit_is_the_workers_not_its_programs(runtime, how):
    env = {"ASYA_MEMORY_LIMIT": "256Mi"}
    with runtime("snippets:run", env=env, allow_log=["ERROR .*out_of_memory"], worker_children=True,
                 worker_descriptors=True) as server:
        assert server.result(PROGRAM.replace("payload_how", repr(how))) == 0
        assert server.call("return len(bytearray(300 << 20))")["error"] == "out_of_memory", "the worker keeps its limit"


def test_threads_whose_stacks_do_not_fit_are_out_of_memory(runtime):
    code = ("import threading, time\nfor _ in range(60):\n    threading.Thread(target=time.sleep, args=(0.5,)).start()\n"
            "return threading.active_count()")
    with runtime("snippets:run", env={"ASYA_MEMORY_LIMIT": "256Mi"}, allow_log=["ERROR .*out_of_memory"]) as server:
        reply = server.call(code)
        assert reply["error"] == "out_of_memory" and "ASYA_MEMORY_LIMIT" in reply["message"]


# -- libraries that abort where memory is refused -------------------------------------------------------------------------

REFUSED = ("import ctypes, os, threading\nlibc = ctypes.CDLL(None)\nlibc.malloc.argtypes = [ctypes.c_size_t]\n"
           "libc.malloc.restype = ctypes.c_void_p\n")
ALLOCATE = "assert libc.malloc(1 << 40) is None\n"  # as a library does it, below Python
ABORTED = r"ERROR .*was aborted \(SIGABRT\) by a library that ASYA_MEMORY_LIMIT had refused memory"
KILLED = r"ERROR .*was killed by signal 6 \(SIGABRT\)"
LIMITED = {"ASYA_MEMORY_LIMIT": "400Mi"}

ABORTS = {
    "in the main thread": ("run", ALLOCATE + "libc.abort()"),
    "in a thread of its own":
        ("run", "def work():\n    assert libc.malloc(1 << 40) is None\n    libc.abort()\n"
                "thread = threading.Thread(target=work)\nthread.start()\nthread.join()"),
    "in a task": ("run_async", ALLOCATE + "libc.abort()"),
}


@pytest.mark.parametrize("function, code", ABORTS.values(), ids=ABORTS)
def test_an_abort_because_the_limit_refused_memory_is_out_of_memory(runtime, function, code):
    with runtime("snippets:" + function, env=LIMITED, expect_log=[ABORTED], worker_descriptors=True) as server:
        reply = server.call(REFUSED + code)
        assert set(reply) == {"error", "message"} and reply["error"] == "out_of_memory"
        assert "ASYA_MEMORY_LIMIT" in reply["message"]
        assert server.result("return 1") == 1


def test_the_stacks_are_shown_for_such_an_abort_too(runtime):
    with runtime("snippets:run", env=LIMITED, expect_log=[ABORTED + ".*Fatal Python error: Aborted.*in body"]) as server:
        server.call(REFUSED + ALLOCATE + "libc.abort()")


OTHER_ABORTS = {  # requests in a row; the last one aborts
    "nothing was refused": ["os.abort()"],
    "it was refused to an earlier request": [ALLOCATE + "return 1", "os.abort()"],
    "something else failed since": [ALLOCATE + "libc.open(b'/no/such/file', 0)\nlibc.abort()"],
    "the signal came from elsewhere": [ALLOCATE + "libc.kill(os.getpid(), 6)"],
    "it was refused to a forked child, which aborted":
        ["child = os.fork()\nif child == 0:\n    libc.malloc(1 << 40)\n    libc.abort()\n"
         "os.waitpid(child, 0)\nos.abort()"],
}


@pytest.mark.parametrize("codes", OTHER_ABORTS.values(), ids=OTHER_ABORTS)
def test_any_other_abort_is_a_crash(runtime, codes):
    with runtime("snippets:run", env=LIMITED, expect_log=[KILLED]) as server:
        for code in codes[:-1]:
            server.result(REFUSED + code)
        assert server.call(REFUSED + codes[-1])["type"] == "WorkerCrashed"


def test_without_a_limit_an_abort_is_a_crash(runtime):
    with runtime("snippets:run", expect_log=[KILLED]) as server:
        assert server.call(REFUSED + "libc.malloc(1 << 62)\nlibc.abort()")["type"] == "WorkerCrashed"


@pytest.mark.parametrize("line, cause", [
    ("x = bytearray(3 << 30)", r"importing 'hungry' raised MemoryError.*ASYA_MEMORY_LIMIT is 419430400 bytes"),
    (REFUSED + ALLOCATE + "libc.abort()", r"refused memory while it loaded 'hungry'")])
def test_a_load_that_needs_more_than_the_limit_names_it(refuse, tmp_path, line, cause):
    (tmp_path / "hungry.py").write_text(line + "\ndef process(payload): return payload\n")
    refusal = refuse("hungry", env={**LIMITED, "PYTHONPATH": str(tmp_path)})
    assert refusal.code == EXIT_IMPORT_RAISED
    assert re.search(cause, refusal.cause) and "ASYA_MEMORY_LIMIT" in refusal.cause, refusal.cause
