"""What the control socket can have the runtime do: drain, recycle, log level. No message is lost or disturbed by it."""
import contextlib
import json
import os
import signal
import threading
import time

import pytest

from harness import processes
from harness.runtime import Runtime


def http(server, path, method=b"GET"):
    """(status, body) of a request without a body on the main socket."""
    with server.connect() as connection:
        connection.send(b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (method, path))
        head, _, body = connection.receive_all().partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


# -- drain --------------------------------------------------------------------------------------------------------------


def test_a_drained_runtime_fails_readiness_and_serves_on(runtime, short_folder):
    env = {"ASYA_SOCKET_DIR": str(short_folder), "ASYA_SOCKET_NAME": "app.sock", "ASYA_SOCKET_PATH": None}
    expect = ["INFO draining: .*", "INFO no longer draining"]
    with runtime("snippets:run", env=env, path=short_folder / "app.sock", expect_log=expect) as server:
        ready_file = short_folder / "runtime-ready"
        assert processes.eventually(ready_file.exists)
        assert server.control("/drain", "POST").json == {"status": "draining"}
        assert not ready_file.exists()
        status = server.status()
        assert status["state"] == "draining" and status["draining"] is True and status["ready"] is False
        assert [server.control(path).status for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 200]
        assert [http(server, path) for path in (b"/healthz", b"/readyz")] == [(503, '{"status":"draining"}')] * 2
        assert [http(server, path)[0] for path in (b"/livez", b"/startupz")] == [200] * 2
        assert server.result("return 1") == 1
        assert server.control("/drain", "POST").status == 200, "twice is no mistake"
        assert server.control("/undrain", "POST").json == {"status": "ready"}
        assert ready_file.exists() and http(server, b"/healthz") == (200, '{"status":"ready"}')
        assert server.status()["state"] == "ready"


def test_a_worker_that_starts_later_is_drained_too(runtime):
    with runtime("snippets:run", expect_log=["ERROR .*signal 9.*"]) as server:
        server.control("/drain", "POST")
        pids = server.worker_pids()
        os.kill(pids[0], signal.SIGKILL)
        assert processes.eventually(lambda: not set(pids) & set(server.worker_pids()) and server.reachable())
        assert processes.eventually(lambda: http(server, b"/healthz") == (503, '{"status":"draining"}'))
        assert server.status()["state"] == "draining"


def test_while_all_are_busy_drained_is_not_ready(runtime):
    with runtime("answers:nap", allow_log=["WARNING .*"]) as server:
        server.control("/drain", "POST")
        with server.connect() as connection:
            connection.send(b"2 ")
            assert processes.eventually(lambda: server.status()["running"])
            time.sleep(0.3)  # the fallback acceptor answers now
            assert http(server, b"/readyz")[0] == 503 and http(server, b"/livez") == (200, '{"status":"alive"}')
            assert connection.reply()["result"] == 2


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz", b"/livez", b"/startupz"])
def test_probes_are_answered_on_the_socket(runtime, path):
    with runtime("answers:echo") as server:
        assert http(server, path)[0] == 200
        assert http(server, path, b"HEAD") == (200, "")
        assert http(server, path, b"POST")[0] == 405


# -- recycle ------------------------------------------------------------------------------------------------------------


def test_all_workers_are_replaced_and_no_message_is_lost(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "2"}, expect_log=["INFO .*is replaced: POST /recycle"]) as server:
        before, lost, done, stop = set(server.worker_pids()), [], [], threading.Event()

        def send():
            while not stop.is_set():
                try:
                    done.append(server.result("import time; time.sleep(0.005); return 1"))
                except Exception as error:  # each is told below
                    lost.append(error)

        with server.connect() as slow:
            slow.send(json.dumps("import time; time.sleep(1); return 'slow'").encode())
            threads = [threading.Thread(target=send) for _ in range(3)]
            [thread.start() for thread in threads]
            assert server.control("/recycle", "POST").json == {"replacing": 2}
            assert processes.eventually(lambda: not before & set(server.worker_pids()))
            stop.set()
            [thread.join() for thread in threads]
            assert slow.reply()["result"] == "slow"
        assert not lost and done
        status = processes.eventually(lambda: (lambda seen: seen if len(seen["workers"]) == 2 else None)(server.status()))
        assert status["state"] == "ready"
        assert sum(worker["exits"]["replaced"] for worker in status["workers"]) >= 1


def test_there_is_nothing_to_recycle_in_a_crash_loop(runtime, tmp_path):
    (tmp_path / "once.py").write_text("import os\nif os.path.exists(%r): os._exit(3)\nopen(%r, 'w').close()\n"
                                      "def process(payload): os._exit(4)\n" % ((str(tmp_path / "mark"),) * 2))
    with runtime("once", env={"PYTHONPATH": str(tmp_path)}, allow_log=["(ERROR|WARNING) .*"]) as server:
        with contextlib.suppress(AssertionError):
            server.call(b"1")
        assert processes.eventually(lambda: server.status()["state"] == "crash_loop")
        answer = server.control("/recycle", "POST")
        assert answer.status == 503 and answer.json == {"error": "not_ready", "message": "no worker is ready that could be replaced"}
        assert server.status()["errors"][-1]["message"].startswith("the next worker")


# -- log level ----------------------------------------------------------------------------------------------------------

def test_a_worker_that_starts_misses_no_new_level(runtime, tmp_path):
    """The level changes at whatever moment of a start."""
    (tmp_path / "says.py").write_text("import logging\ndef process(payload):\n    return logging.getLogger().getEffectiveLevel()\n")
    with runtime("says", env={"PYTHONPATH": str(tmp_path)}, allow_log=[".*"]) as server:
        for number in range(24):
            name, level = [("DEBUG", 10), ("WARNING", 30)][number % 2]
            assert server.result(1) in (10, 20, 30)
            os.kill(server.worker_pids()[0], signal.SIGKILL)
            time.sleep(number * 0.0005)
            assert server.control("/log-level", "POST", name).json == {"level": name}
            assert server.result(1) == level
            assert server.result(1) == level


SPEAKS = '''
import logging, time
def process(payload):
    if payload == "wait":
        for _ in range(400):
            time.sleep(0.05)
            if logging.getLogger("shop").isEnabledFor(logging.DEBUG):
                break
    logging.getLogger("shop").debug("in detail")
    return logging.getLogger().getEffectiveLevel()
'''


def test_the_level_changes_for_all_workers_without_a_restart(runtime, tmp_path):
    (tmp_path / "speaks.py").write_text(SPEAKS)
    env = {"ASYA_WORKERS": "2", "PYTHONPATH": str(tmp_path)}
    with runtime("speaks", env=env, allow_log=["ERROR .*signal 9.*"]) as server:
        assert server.result(1) == 20
        with server.connect() as running:  # a function that runs sees it, too
            running.send(b'"wait"')
            assert processes.eventually(lambda: server.status()["running"])
            assert server.control("/log-level", "POST", {"level": "DEBUG"}).json == {"level": "DEBUG"}
            assert running.reply()["result"] == 10
        server.wait_for_log("DEBUG .*in detail")
        assert server.status()["settings"]["ASYA_LOG_LEVEL"] == {"value": "DEBUG", "set": False}
        killed = server.worker_pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert processes.eventually(lambda: {worker["state"] for worker in server.status()["workers"]} == {"idle"} and
                                    not {worker.get("pid") for worker in server.status()["workers"]} & {*killed})
        assert server.result(1) == 10, "a worker that starts later has it, too"
        assert server.control("/log-level", "POST", "warning").json == {"level": "WARNING"}
        assert processes.eventually(lambda: {server.result(1) for _ in range(4)} == {30})
        before = len(server.logs())
        assert server.control("/recycle", "POST").status == 200
        assert server.result(1) == 30 and len(server.logs()) == before, "INFO is not written any more"
        server.control("/log-level", "POST", "INFO")


def test_a_level_that_the_function_has_chosen_stays(runtime, tmp_path):
    (tmp_path / "chosen.py").write_text("import logging\nlogging.basicConfig(level=logging.ERROR)\n"
                                        "def process(payload): return logging.getLogger().getEffectiveLevel()\n")
    with runtime("chosen", env={"PYTHONPATH": str(tmp_path)}) as server:
        assert server.result(1) == 40
        server.control("/log-level", "POST", "DEBUG")
        assert server.result(1) == 40


BODIES = {
    "DEBUG": 200, " debug\n": 200, '{"level":"DEBUG"}': 200, ' { "level" : "error" } ': 200, "": 400, "LOUD": 400, "{}": 400,
    '{"level":"LOUD"}': 400, '{"level":DEBUG}': 400, '{"level":"DEBUG"': 400, '{"level":"DEBUG"} x': 400, '"DEBUG"': 400,
    "DEBUG INFO": 400, "D" * 1000: 400, '{"levels":"DEBUG"}': 400, "[]": 400, "\x00": 400, "DEBUG\x00": 400,
}


def test_a_level_is_a_word_or_an_object(runtime):
    with runtime("answers:echo") as server:
        for body, status in BODIES.items():
            answer = server.control("/log-level", "POST", body)
            assert answer.status == status, (body, answer)
            assert status == 200 or answer.json["error"] == "bad_request" and "INFO, WARNING or ERROR" in answer.json["message"]


@pytest.mark.parametrize("path", ["/drain", "/undrain", "/recycle", "/log-level", "/stacks"])
def test_a_verb_is_asked_for_with_post(runtime, path):
    with runtime("answers:echo") as server:
        answer = server.control(path)
        assert answer.status == 405 and answer.headers["Allow"] == "POST"


def test_a_body_that_is_too_long_is_refused(runtime):
    with runtime("answers:echo") as server:
        assert server.control("/log-level", "POST", "x" * 2000).status == 413
        assert server.result(1) == 1
