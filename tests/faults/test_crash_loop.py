"""Workers that die again and again: a reply each time, patience in between, no storm (W13, restart policy)."""
import os
import signal
import time

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

DEATH = ["(WARNING|ERROR) .*"]


def test_every_crashing_request_is_answered_and_the_supervisor_stays_calm(runtime):
    with runtime("snippets:run", env={"ASYA_READ_TIMEOUT": "3"}, allow_log=DEATH) as server:
        before, started = processes.cpu_seconds(server.pid), time.monotonic()
        answers = 0
        while time.monotonic() - started < 4:
            reply = server.call("import os\nos._exit(1)")
            assert reply["error"] in ("processing_error", "server_error"), reply
            answers += 1
        used = processes.cpu_seconds(server.pid) - before
        assert answers >= 4
        assert used < 0.2 * (time.monotonic() - started), "the supervisor used %.2f s" % used
        assert len(server.log_text()) < 100_000


def test_the_second_restart_waits_a_little(runtime):
    """A first crash costs nothing, the following ones double the wait."""
    with runtime("answers:echo", allow_log=DEATH, env={"ASYA_READ_TIMEOUT": "30"}) as server:
        waits = []
        for number in range(4):
            os.kill(server.worker_pids()[0], signal.SIGKILL)
            started = time.monotonic()
            assert server.result(number) == number
            waits.append(time.monotonic() - started)
            assert processes.eventually(lambda: len(server.worker_pids()) == 1)
        assert waits[0] < 1
        assert waits[3] > 0.2, "no back-off: %s" % waits


def test_waiting_requests_get_server_error_when_no_worker_comes_back(runtime):
    """At their read deadline, not never; the text names the crash loop."""
    env = {"ASYA_READ_TIMEOUT": "1"}
    with runtime("snippets:run", env=env, allow_log=DEATH) as server:
        replies = []
        for _ in range(9):
            replies.append(server.call("import os\nos._exit(1)"))
        late = [reply for reply in replies if reply["error"] == "server_error"]
        assert late, "after several crashes the wait must be longer than the deadline: %s" % replies
        assert all("crash" in reply["message"] or "worker" in reply["message"] for reply in late)


def test_a_stop_during_the_wait_for_the_next_worker_is_prompt(runtime):
    with runtime("answers:echo", allow_log=DEATH, code=None) as server:
        for _ in range(5):
            for worker in server.worker_pids():
                os.kill(worker, signal.SIGKILL)
            time.sleep(0.05)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 8


def test_a_worker_that_cannot_import_any_more_does_not_end_in_silence(runtime, tmp_path):
    """The module works at the first start and is broken afterwards."""
    module = tmp_path / "fading.py"
    module.write_text("def process(payload):\n    return payload\n")
    with runtime("fading", cwd=tmp_path, env={"ASYA_READ_TIMEOUT": "2"}, allow_log=["", *DEATH], code=None) as server:
        module.write_text("raise RuntimeError('faded')\n")
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.wait_for_log("did not start", count=6)  # it has served, so it does not give up
        reply = server.call(1)
        assert reply["error"] == "server_error" and "load" in reply["message"], reply
        module.write_text("def process(payload):\n    return payload\n")
        assert processes.eventually(lambda: server.call(2).get("result") == 2)


def test_the_ready_file_stays_through_one_death_and_goes_in_a_crash_loop(runtime, short_folder):
    """Asya's liveness probe tests for it: a container is not to be restarted because one worker loads."""
    ready, flag = short_folder / "runtime-ready", short_folder / "broken"
    module = short_folder / "loads.py"
    module.write_text("import os, time\ntime.sleep(0.5)\nif os.path.exists(%r):\n    os._exit(3)\n"
                      "def process(payload):\n    return payload\n" % str(flag))
    env = {"ASYA_SOCKET_DIR": str(short_folder), "ASYA_SOCKET_PATH": None, "PYTHONPATH": str(short_folder)}
    with runtime("loads", env=env, path=short_folder / "asya-runtime.sock", allow_log=DEATH) as server:
        first = server.worker_pids()[0]
        os.kill(first, signal.SIGKILL)
        assert processes.eventually(lambda: server.worker_pids() not in ([], [first]))
        deadline = time.monotonic() + 0.4  # the next one loads for longer
        while time.monotonic() < deadline:
            assert ready.exists()
        assert server.result(1) == 1
        flag.touch()
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        assert processes.eventually(lambda: not ready.exists(), 20)
        flag.unlink()
        assert processes.eventually(ready.exists, 30)
        assert server.result(2) == 2
