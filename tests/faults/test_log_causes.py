"""Lines about a death, a time limit, a stop name the request and the true cause."""
import os
import signal
import threading
import time

import pytest

from harness import processes, protocols

pytestmark = pytest.mark.supervised

LINES = ["WARNING .*", "ERROR .*"]
NAMED = {
    "by the message": {"message": {"id": "order-7"}},
    "by the head": {"headers": {"X-Request-ID": "order-7"}},
    "by the message, which others know it by": {"message": {"id": "order-7"}, "headers": {"X-Request-ID": "head-8"}},
}


def invoke(server, code, named):
    message = {key: value for key, value in {**protocols.hops(code), "id": None, **named.get("message", {})}.items()
               if value is not None}
    return protocols.invoke(server.path, message, named.get("headers"))


@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED)
def test_a_death_names_its_request(runtime, named):
    with runtime("snippets:run", allow_log=LINES) as server:
        invoke(server, "import os\nos._exit(3)", named)
        server.wait_for_log(r"ERROR \[order-7[ \]].*exited with status 3")


@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED)
def test_a_time_limit_names_its_request(runtime, named):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.3"}, allow_log=LINES) as server:
        invoke(server, "import time\ntime.sleep(9)", named)
        server.wait_for_log(r"ERROR \[order-7[ \]].*HANDLER_TIMEOUT.*asked to stop")


def test_a_death_names_all_its_requests(runtime):
    with runtime("snippets:run", env={"ASYA_CONCURRENCY": "3"}, allow_log=LINES) as server:
        names = ("order-1", "order-2")
        code = "import os, time\nopen(os.path.join(os.environ['TMPDIR'], '%s'), 'w').close()\ntime.sleep(30)"
        clients = [threading.Thread(target=invoke, args=(server, code % name, {"message": {"id": name}})) for name in names]
        for client in clients:
            client.start()
        worker, = server.worker_pids()
        assert processes.eventually(lambda: all(os.path.exists(os.path.join(server.env["TMPDIR"], name)) for name in names))
        os.kill(worker, signal.SIGKILL)
        for client in clients:
            client.join()
        line = server.wait_for_log("ERROR .*SIGKILL")[0].text
        assert "(order-1, order-2)" in line or "(order-2, order-1)" in line, line


def test_a_request_without_a_name_is_not_given_the_last_ones(runtime):
    with runtime("snippets:run", allow_log=LINES) as server:
        invoke(server, "return 1", NAMED["by the message"])
        server.call("import os\nos._exit(3)")
        line = server.wait_for_log("ERROR .*exited with status 3")[0].text
        assert "order-7" not in line


def test_a_name_from_outside_begins_no_line_of_its_own(runtime):
    with runtime("snippets:run", allow_log=LINES) as server:
        invoke(server, "import os\nos._exit(3)", {"message": {"id": "x\n2026 ERROR \u001b[31m" + "y" * 200}})
        line = server.wait_for_log("exited with status 3")[0].text
        assert line.startswith("20") and "\\n2026 ERROR" in line and "y" * 100 not in line


def test_who_does_not_stop_at_the_time_limit_is_not_called_killed_by_a_signal(runtime):
    stuck = "while True:\n    try:\n        import time\n        time.sleep(60)\n    except BaseException:\n        pass"
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.3"}, allow_log=LINES) as server:
        assert server.call(stuck)["type"] == "HandlerTimeout"
        line = server.wait_for_log("ERROR .*was ended because")[0].text
        assert "ASYA_HANDLER_TIMEOUT" in line and "signal" not in line


HOLDUPS = {
    "a thread": ("import threading, time\n"
                 "threading.Thread(target=time.sleep, args=(60,), name='poller').start()", "waits for thread poller.*in run"),
    "a process": ("import multiprocessing, time\n"
                  "multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,), name='helper').start()",
                  "waits for process helper, pid [0-9]+"),
    "atexit": ("import atexit, time\natexit.register(time.sleep, 60)", "waits for what it has registered with atexit"),
}


@pytest.mark.parametrize("code, expected", HOLDUPS.values(), ids=HOLDUPS)
def test_a_stop_that_is_held_up_says_by_what(runtime, code, expected):
    env = {"ASYA_GRACE_PERIOD": "2"}
    with runtime("snippets:run", env=env, allow_log=LINES, worker_children=True) as server:
        assert server.result(code) is None
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 8
        server.wait_for_log("WARNING .*" + expected)
        assert "requests that" not in server.log_text(), "none runs"


def test_a_stop_that_is_cut_short_counts_what_runs(runtime):
    with runtime("answers:nap", allow_log=LINES, code=None) as server:
        with server.connect() as connection:
            connection.send(b"60 ")
            time.sleep(0.2)
            server.kill(signal.SIGTERM)
            server.wait_for_log("stopping: SIGTERM")
            server.kill(signal.SIGTERM)
            assert connection.reply()["error"] == "server_error"
        server.wait()
        server.wait_for_log("WARNING stopping now: a second signal; 1 requests that still run")
