"""Plain functions in threads, where a worker serves several requests at once (docs/configuration.md)."""
import concurrent.futures
import time

import pytest

from harness import client, processes, protocols

TOLD = ["(ERROR|WARNING) .*"]


@pytest.fixture
def threads(runtime):
    def start(name, concurrency=4, env=None, **options):
        return runtime(name, env={"ASYA_CONCURRENCY": concurrency, **(env or {})}, **options)
    return start


def test_functions_that_sleep_overlap(threads):
    with threads("answers:nap", concurrency=20) as server:
        started = time.monotonic()
        assert all(reply["result"] == 0.2 for reply in client.calls_together(server.path, [0.2] * 20))
        assert time.monotonic() - started < 20 * 0.2 / 2, "they ran one after the other"


@pytest.mark.parametrize("concurrency", [2, 5])
def test_no_more_run_at_once_than_allowed(threads, concurrency):
    code = ("import threading, time\nlock = KEPT.setdefault('lock', threading.Lock())\n"
            "with lock:\n    KEPT['now'] = KEPT.get('now', 0) + 1\n    KEPT['most'] = max(KEPT.get('most', 0), KEPT['now'])\n"
            "time.sleep(0.05)\n"
            "with lock:\n    KEPT['now'] -= 1\nreturn KEPT['most']")
    with threads("snippets:run", concurrency=concurrency) as server:
        assert max(reply["result"] for reply in client.calls_together(server.path, [code] * 20)) == concurrency


def test_a_quick_request_passes_a_slow_one(threads):
    with threads("answers:nap", concurrency=2) as server, server.connect() as slow:
        slow.send(b"1 ")
        time.sleep(0.05)
        started = time.monotonic()
        assert server.result(0.001) == 0.001
        assert time.monotonic() - started < 0.8
        assert slow.reply()["result"] == 1


def test_the_threads_are_pythons_own(threads):
    with threads("shapes:thread_name") as server:
        for reply in client.calls_together(server.path, [0] * 12):
            seen = reply["result"]
            assert not seen["main"] and seen["known"] and seen["name"].startswith("asya-")


def test_each_client_gets_its_own_answer(threads):
    with threads("answers:echo", concurrency=4) as server:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda n: server.result({"n": n, "pad": "x" * (n % 5000)})["n"] == n, range(2000)))


def test_a_large_message_and_a_large_reply(threads):
    with threads("answers:echo") as server:
        payload = {"text": "x" * (4 << 20), "list": list(range(10_000))}
        assert all(reply["result"] == payload for reply in client.calls_together(server.path, [payload] * 4))


RAISED = {
    "ValueError": ("raise ValueError('no')", "validation_error"), "KeyError": ("{}['k']", "processing_error"),
    "SystemExit": ("raise SystemExit(3)", "processing_error"), "MemoryError": ("raise MemoryError", "out_of_memory"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "processing_error"),
    "not writable": ("return object()", "processing_error"), "broken JSON": (b'{"a":', "invalid_json"),
}


@pytest.mark.parametrize("message, code", RAISED.values(), ids=RAISED)
def test_errors_have_their_categories(threads, message, code):
    with threads("snippets:run", allow_log=TOLD) as server:
        workers = server.worker_pids()
        for _ in range(8):
            assert server.call(message)["error"] == code
        assert server.result("return 1") == 1
        assert server.worker_pids() == workers


@pytest.mark.supervised
def test_a_thread_that_runs_too_long_is_cancelled_alone(threads):
    with threads("snippets:run", env={"ASYA_HANDLER_TIMEOUT": 1.5}, allow_log=TOLD) as server:
        workers = server.worker_pids()
        loop = "try:\n    turns = 0\n    while True: turns += 1\nfinally: KEPT['cleaned'] = True"
        with server.connect() as late, server.connect() as early:
            late.send(client.encode(loop))
            time.sleep(0.75)  # half of the limit: it has the other half when the first one's is over
            early.send(client.encode("import time\nwhile 'cleaned' not in KEPT: time.sleep(0.01)\nreturn 7"))
            assert late.reply()["type"] == "HandlerTimeout"
            assert early.reply()["result"] == 7
        assert processes.eventually(lambda: server.result("return KEPT.get('cleaned')"))
        for _ in range(20):
            assert server.result("return sum(range(1000))") == 499500, "the exception must not hit the next request"
        assert server.worker_pids() == workers


@pytest.mark.supervised
def test_a_client_that_leaves_cancels_its_thread_alone(threads):
    with threads("snippets:run", allow_log=TOLD) as server:
        with server.connect() as other:
            other.send(client.encode("import time\nfor _ in range(100): time.sleep(0.01)\nreturn 7"))
            with server.connect() as leaving:
                leaving.send(client.encode(
                    "import time\ntry:\n    x = 0\n    while True: time.sleep(0.01)\nfinally: KEPT['left'] = True"))
                time.sleep(0.2)
            assert processes.eventually(lambda: server.result("return KEPT.get('left')"))
            assert other.reply()["result"] == 7


@pytest.mark.supervised
def test_health_is_answered_while_a_thread_holds_the_interpreter(threads):
    """The thread of the server never waits for the GIL."""
    with threads("snippets:run", allow_log=TOLD) as server, server.connect() as holding:
        holding.send(client.encode("import ctypes\nctypes.PyDLL(None).usleep(1_500_000)\nreturn 1"))
        time.sleep(0.3)
        started = time.monotonic()
        health = protocols.HttpConnection(server.path)
        health.request("GET", "/healthz")
        assert health.getresponse().status == 200
        health.close()
        assert time.monotonic() - started < 0.9
        assert holding.reply()["result"] == 1


@pytest.mark.supervised
def test_when_the_worker_dies_every_request_it_served_has_its_reply(threads):
    with threads("snippets:run", allow_log=TOLD) as server:
        connections = [server.connect() for _ in range(3)]
        for connection in connections:
            connection.send(client.encode("import time\ntime.sleep(20)"))
        time.sleep(0.2)
        assert server.call("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")["type"] == "WorkerCrashed"
        for connection in connections:
            assert connection.reply()["type"] == "WorkerCrashed"
            connection.close()
        assert server.result("return 1") == 1


def test_a_function_that_forks_and_returns_twice_answers_once(threads):
    with threads("snippets:run", allow_log=TOLD) as server:
        for _ in range(5):
            assert server.result("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nreturn 'once'") == "once"


def test_requests_that_run_are_answered_before_the_end(threads):
    with threads("answers:nap") as server:
        connections = [server.connect() for _ in range(4)]
        for connection in connections:
            connection.send(b"0.5 ")
        time.sleep(0.15)
        assert server.stop() == 0
        for connection in connections:
            assert connection.reply()["result"] == 0.5
            connection.close()


def test_a_thread_may_return_a_coroutine(threads):
    with threads("shapes:returns_coroutine", worker_descriptors=True) as server:
        for reply in client.calls_together(server.path, [{"n": n} for n in range(40)]):
            assert reply["status"] == "ok"
        for n in range(40):
            assert server.result(n) == {"got": n}


# Modules that put greenlets in the place of threads, as gevent and eventlet do: what should run in a thread runs in the
# one that starts it, at once, or when that waits for something.
PATCHES = {
    "at once": "threading.Thread.start = threading.Thread.run\n",
    "when it is waited for": "threading.Thread.start = lambda self: None\n"
                             "def join(self, timeout=None):\n"
                             "    self.joined = getattr(self, 'joined', 0) + 1\n"
                             "    if self.joined == 2:\n"
                             "        self.run()\n"
                             "threading.Thread.join = join\n",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_real_threads_run_the_function_where_threading_is_patched_to_run(runtime, tmp_path, patch):
    (tmp_path / "patched.py").write_text("import threading, time\n" + patch + (
        "def process(payload):\n    time.sleep(0.3)\n    return threading.get_ident()\n"))
    env = {"ASYA_CONCURRENCY": "4", "PYTHONPATH": tmp_path}
    with runtime("patched", env=env) as server:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(lambda _: server.result(1), range(4)))) == 4
        assert server.stop() == 0


def test_threads_that_never_begin_end_the_start_with_one_line(refuse, tmp_path):
    (tmp_path / "patched.py").write_text("import threading\nthreading.Thread.start = lambda self: None\n"
                                         "threading.Thread.join = lambda self, timeout=None: None\n"
                                         "def process(payload):\n    return payload\n")
    refusal = refuse("patched", env={"ASYA_CONCURRENCY": "4", "PYTHONPATH": tmp_path})
    assert refusal.code == 71
    assert "patched" in refusal.cause
