"""A planned replacement is no outage, also with one worker: the next one is ready before the old one goes, what runs is
finished, and what the old process leaves is waited for by nobody."""
import os
import signal
import threading
import time

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

WHO = "import os\nreturn os.getpid()"
SLOW_LOAD = 2.0


@pytest.fixture
def slow(tmp_path):
    """A module that loads slowly, and whose function tells which process it runs in."""
    (tmp_path / "slow.py").write_text(
        "import os, time\ntime.sleep(%s)\ndef process(payload):\n    time.sleep(payload)\n    return os.getpid()\n" % SLOW_LOAD)
    return tmp_path


def gone(pid):
    return processes.eventually(lambda: not processes.alive(pid))


def test_nobody_waits_for_the_load_of_the_next_worker(runtime, slow):
    env = {"ASYA_MAX_REQUESTS": "5", "ASYA_READ_TIMEOUT": "1"}
    with runtime("slow", cwd=slow, env=env) as server:
        served, slowest = [], 0
        while len(set(served)) < 3:
            started = time.monotonic()
            served.append(server.result(0.01))
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < SLOW_LOAD / 2, slowest


def test_after_a_kill_all_who_wait_are_answered_by_the_next_worker(runtime, slow):
    """Its load takes longer than a request may take to arrive."""
    with runtime("slow", cwd=slow, env={"ASYA_READ_TIMEOUT": "1"}, allow_log=["ERROR .*SIGKILL", "WARNING .*ASYA_READ_TIMEOUT"]) as server:
        first = server.worker_pids()[0]
        os.kill(first, signal.SIGKILL)
        waiting = [server.connect() for _ in range(20)]
        silent = server.connect()
        for connection in waiting:
            connection.send(b"0 ")
        assert silent.reply()["error"] == "connection_error", "who says nothing has the time it always has"
        results = {connection.reply()["result"] for connection in waiting}
        assert len(results) == 1 and first not in results
        for connection in [silent, *waiting]:
            connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_that_runs_outlives_the_grace_period_of_a_replacement(runtime, workers):
    env = {"ASYA_MAX_REQUESTS": "3", "ASYA_CONCURRENCY": "2", "ASYA_GRACE_PERIOD": "0.2", "ASYA_WORKERS": workers}
    with runtime("snippets:run", env=env) as server:
        long = server.connect()
        long.send(b'"import os, time\\ntime.sleep(2)\\nreturn os.getpid()" ')
        served = []
        assert processes.eventually(lambda: served.append(server.result(WHO)) or len(set(served)) > int(workers))
        assert long.reply()["result"] in served, "the one that was replaced meanwhile"
        long.close()
        assert processes.eventually(lambda: len(server.worker_pids()) == int(workers))


def test_a_client_that_has_said_nothing_is_not_left_with_the_old_worker(runtime):
    env = {"ASYA_MAX_REQUESTS": "1", "ASYA_CONCURRENCY": "2"}
    with runtime("snippets:run", env=env) as server:
        old = server.worker_pids()[0]
        silent, long = server.connect(), server.connect()
        long.send(b'"import time\\ntime.sleep(2)" ')
        server.wait_for_log("is ready", count=2)
        assert processes.eventually(lambda: server.result(WHO) != old)
        silent.send(b'"import os\\nreturn os.getpid()" ')
        started = time.monotonic()
        assert silent.reply()["result"] != old
        assert time.monotonic() - started < 1
        assert long.reply()["result"] is None
        silent.close()
        long.close()


def test_what_the_old_process_leaves_holds_up_nobody(runtime):
    """Here a thread that never ends, and an atexit that is slow."""
    env = {"ASYA_MAX_REQUESTS": "2", "ASYA_GRACE_PERIOD": "0.5"}
    leave = ("import atexit, os, threading, time\n"
             "threading.Thread(target=time.sleep, args=(60,)).start()\n"
             "atexit.register(time.sleep, 60)\nreturn os.getpid()")
    with runtime("snippets:run", env=env, allow_log=["WARNING .*has no request any more"], code=None) as server:
        old = server.result(leave)
        started = time.monotonic()
        assert processes.eventually(lambda: server.result(WHO) != old)
        assert time.monotonic() - started < 2
        assert gone(old)
        server.wait_for_log("WARNING .*pid %d, was replaced .*has no request any more and waits for thread" % old)


def test_an_old_worker_that_is_blocked_leaves_no_client_with_half_a_request(runtime):
    """Its own time limits need its loop, so the supervisor has one for it."""
    env = {"ASYA_READ_TIMEOUT": "2", "ASYA_GRACE_PERIOD": "0.5"}
    code = "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: time.sleep(1000))"
    with runtime("snippets:run", env=env, allow_log=["WARNING ", "ERROR "], code=None) as server:
        [old] = server.worker_pids()
        assert server.result(code) is None
        begun = server.connect()
        begun.send(b'["begun"')
        server.control("/recycle", "POST")
        server.wait_for_log("is ready", count=2)
        os.kill(old, signal.SIGALRM)
        assert begun.reply()["error"] == "server_error"
        begun.close()
        assert gone(old)
        server.wait_for_log("WARNING .*pid %d, was replaced and waits for the rest of 1 requests" % old)


def test_a_model_that_exceeds_the_limit_from_the_beginning_is_warned_of_once(runtime, tmp_path):
    (tmp_path / "large.py").write_text("import os\nmodel = bytearray(b'x') * (150 << 20)\ndef process(p):\n    return os.getpid()\n")
    with runtime("large", cwd=tmp_path, env={"ASYA_MAX_RSS": str(100 << 20)}, expect_log=["WARNING .*ASYA_MAX_RSS"]) as server:
        pid = server.worker_pids()[0]
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert server.result(1) == pid
        assert len(server.wait_for_log("ASYA_MAX_RSS")) == 1


def test_a_model_that_is_loaded_by_the_first_request_is_no_leak(runtime, tmp_path):
    (tmp_path / "lazy.py").write_text(
        "import os\nmodel = None\ndef process(p):\n    global model\n"
        "    model = model or bytearray(b'x') * (150 << 20)\n    return os.getpid()\n")
    with runtime("lazy", cwd=tmp_path, env={"ASYA_MAX_RSS": str(100 << 20)}, expect_log=["WARNING .*ASYA_MAX_RSS"]) as server:
        served, end = [], time.monotonic() + 5
        while time.monotonic() < end:
            served.append(server.result(1))
        assert len(set(served)) <= 2, "one is taken for a leak, the next shows that it is none"


def test_a_successor_that_cannot_start_leaves_the_old_one_serving(runtime, tmp_path):
    module = tmp_path / "fading.py"
    module.write_text("import os\ndef process(payload):\n    return os.getpid()\n")
    env = {"ASYA_MAX_REQUESTS": "2"}
    with runtime("fading", cwd=tmp_path, env=env, allow_log=["", "ERROR .*"]) as server:
        pid = server.result(1)
        module.write_text("raise RuntimeError('faded')\n")
        server.result(1)
        server.wait_for_log("ERROR .*serves on")
        assert {server.result(1) for _ in range(10)} == {pid}
        module.write_text("import os\ndef process(payload):\n    return -os.getpid()\n")
        os.kill(pid, signal.SIGKILL)
        assert server.result(1) < 0, "nobody is left: the next one does not take its time"


def test_traffic_from_many_sides_notices_nothing(runtime):
    """Replacement after replacement under simultaneous clients."""
    env = {"ASYA_MAX_REQUESTS": "20", "ASYA_CONCURRENCY": "4"}
    with runtime("answers:nap", env=env) as server:
        failures = []

        def ask():
            for _ in range(60):
                try:
                    assert server.result(0.002) == 0.002
                except Exception as error:  # noqa: BLE001: whatever it is, it is reported
                    failures.append(error)

        clients = [threading.Thread(target=ask) for _ in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert not failures, failures[:3]
        server.wait_for_log("is replaced", count=2)
