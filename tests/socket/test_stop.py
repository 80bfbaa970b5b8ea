"""Stopping: whoever is in gets a reply, nothing stays behind, and nobody waits for ever (E6, E7, E8)."""
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from harness import processes
from harness.runtime import Runtime

STOPPING = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", STOPPING)
def test_an_idle_runtime_stops_at_once(runtime, number):
    with runtime("answers:echo") as server:
        server.result(1)
        started = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("number", STOPPING)
def test_a_runtime_started_with_ignored_signals_stops_all_the_same(runtime, number):
    """A shell's & ignores SIGINT, nohup ignores SIGHUP, and PID 1 ignores SIGTERM without a handler."""
    with runtime("answers:echo", wrapper=["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh"]) as server:
        assert server.stop(number) == 0


@pytest.mark.parametrize("number", STOPPING)
def test_a_running_request_is_answered_before_the_end(runtime, number):
    with runtime("answers:nap") as server:
        with server.connect() as connection:
            connection.send(b"1 ")
            time.sleep(0.2)
            server.kill(number)
            assert connection.reply()["result"] == 1
        assert server.wait() == 0


WAITING = {  # how many wait, how long each runs, and how long before the stop
    "in the backlog, since closing the listener would reset them": (10, b"0.1 ", 0.05),
    "with the fallback acceptor, since the worker was busy for longer than a tick": (6, b"0.4 ", 0.6),
}


@pytest.mark.parametrize("count, message, before", WAITING.values(), ids=WAITING)
def test_who_waits_is_answered_before_the_end(runtime, count, message, before):
    with runtime("answers:nap") as server:
        waiting = [server.connect() for _ in range(count)]
        for connection in waiting:
            connection.send(message)
        time.sleep(before)
        server.kill(signal.SIGTERM)
        for connection in waiting:
            assert connection.reply()["result"] == float(message)
            connection.close()
        assert server.wait() == 0


def test_many_requests_at_the_moment_of_the_stop_are_all_answered(runtime):
    """Clients that reached the socket get a result or server_error, never a reset."""
    with runtime("answers:nap") as server:
        outcomes, failures = [], []

        def keep_calling():
            while True:
                try:
                    connection = server.connect()
                except OSError:
                    return  # the file is gone: the stop is announced
                with connection:
                    try:
                        connection.send(b"0.002 ")
                        outcomes.append(connection.reply().get("error", "ok"))
                    except (OSError, AssertionError) as error:
                        failures.append(error)

        callers = [threading.Thread(target=keep_calling) for _ in range(8)]
        for caller in callers:
            caller.start()
        time.sleep(0.3)
        server.kill(signal.SIGTERM)
        for caller in callers:
            caller.join()
        assert server.wait() == 0
        assert not failures
        assert set(outcomes) <= {"ok", "server_error"} and outcomes.count("ok") > 20


def test_the_file_disappears_before_the_last_reply(runtime):
    with runtime("answers:nap") as server:
        with server.connect() as connection:
            connection.send(b"1 ")
            time.sleep(0.2)
            server.kill(signal.SIGTERM)
            assert processes.eventually(lambda: not os.path.exists(server.path), 0.7), "still announced while stopping"
            assert connection.reply()["result"] == 1
        assert server.wait() == 0


@pytest.mark.parametrize("sent, env", [(b"", {}), (b'{"half', {"ASYA_GRACE_PERIOD": "1"})],
                         ids=["has sent nothing gets server_error soon", "has sent half of it gets it after the grace"])
def test_a_client_that(runtime, sent, env):
    with runtime("answers:echo", env=env, allow_log=["WARNING .*server_error", "WARNING .*rest of 1 requests"], code=None) as server:
        with server.connect() as connection:
            if sent:
                connection.send(sent)
            server.result(1)
            started = time.monotonic()
            server.kill(signal.SIGTERM)
            assert connection.reply()["error"] == "server_error"
            ended = server.wait()
            assert ended == 0 or sent
            assert time.monotonic() - started < 8


def test_a_client_that_asks_just_after_the_signal_is_answered(runtime):
    with runtime("answers:nap") as server:
        with server.connect() as late, server.connect() as busy:
            busy.send(b"0.5 ")
            time.sleep(0.1)
            server.kill(signal.SIGTERM)
            late.send(b"0 ")
            assert late.reply().get("error", "ok") in ("ok", "server_error")
            assert busy.reply()["result"] == 0.5
        assert server.wait() == 0


def test_the_grace_period_cuts_a_long_request_short(runtime):
    with runtime("answers:nap", env={"ASYA_GRACE_PERIOD": "1"}, allow_log=["WARNING", "ERROR"], code=None) as server:
        with server.connect() as connection:
            connection.send(b"60 ")
            time.sleep(0.1)
            started = time.monotonic()
            server.kill(signal.SIGTERM)
            assert connection.reply()["error"] == "server_error"
            server.wait(10)
            assert 0.9 < time.monotonic() - started < 8


@pytest.mark.parametrize("first", STOPPING)
@pytest.mark.parametrize("second", STOPPING)
def test_a_second_signal_cuts_the_wait_short(runtime, first, second):
    with runtime("answers:nap", allow_log=["WARNING", "ERROR"], code=None) as server:
        with server.connect() as connection:
            connection.send(b"60 ")
            time.sleep(0.1)
            server.kill(first)
            time.sleep(0.3)
            server.kill(second)
            assert connection.reply()["error"] == "server_error"
            assert server.wait(10) >= 0, "it must end by itself, not by the signal"


def test_a_thousand_signals_are_one_stop(runtime):
    with runtime("answers:echo", code=None, allow_log=["WARNING"]) as server:
        for _ in range(1000):
            try:
                server.kill(signal.SIGTERM)
            except (ProcessLookupError, IndexError):  # the latter below a wrapper
                break
        assert server.wait(10) == 0


def test_a_stop_while_starting_leaves_nothing(runtime):
    """At any moment of the start; the earliest ones meet an interpreter that is not yet ours."""
    for delay in (0.02, 0.04, 0.06, 0.08, 0.1, 0.15):
        with runtime("answers:echo", ready=False, code=None) as server:
            time.sleep(delay)
            server.kill(signal.SIGTERM)
            assert server.wait(10) in (0, -signal.SIGTERM)


LOADS_ON_DEMAND = """
import os, time
if os.path.exists("loaded"):
    while not os.path.exists("go"):
        time.sleep(0.01)
open("loaded", "w").close()
def process(payload):
    open("begun", "w").close()
    time.sleep(payload)
    return payload
"""


def test_a_request_of_a_worker_of_whose_readiness_nobody_has_heard_is_answered(runtime, tmp_path):
    """The supervisor stands still from before the worker is ready until it is to stop."""
    (tmp_path / "demanding.py").write_text(LOADS_ON_DEMAND)
    env = {"PYTHONPATH": str(tmp_path)}
    with runtime("demanding", env=env, cwd=tmp_path, allow_log=["ERROR worker 0, .* was killed"]) as server:
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        server.wait_for_log("INFO worker 0, pid .*, loads demanding", count=2)
        with server.connect() as connection:
            server.kill(signal.SIGSTOP)
            (tmp_path / "go").touch()
            connection.send(b"0.5 ")
            assert processes.eventually((tmp_path / "begun").exists)
            server.kill(signal.SIGTERM)
            server.kill(signal.SIGCONT)
            assert connection.reply().get("result") == 0.5
        assert server.wait() == 0


def test_a_stop_during_a_slow_import_is_normal(runtime):
    with runtime("broken.slow", ready=False) as server:
        assert processes.eventually(lambda: processes.children(server.pid))
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 8


OTHERS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGALRM, signal.SIGCHLD, signal.SIGWINCH,
          signal.SIGCONT, signal.SIGQUIT]


@pytest.mark.parametrize("number", OTHERS)
def test_another_signal_leaves_a_server_or_a_clean_end(runtime, number):
    with runtime("answers:echo", code=None, allow_log=["WARNING"]) as server:
        server.kill(number)
        time.sleep(0.1)
        if server.running and "stopping" not in server.log_text():
            assert server.result(1) == 1
            assert server.stop() == 0


def test_signals_about_children_all_the_time_do_not_disturb(runtime):
    with runtime("answers:echo") as server:
        targets, over = [server.pid, *server.worker_pids()], threading.Event()

        def pester():
            while not over.is_set():
                for target in targets:
                    os.kill(target, signal.SIGCHLD)
                time.sleep(0.0005)

        pestering = threading.Thread(target=pester)
        pestering.start()
        try:
            text = "x" * 300_000
            for number in range(200):
                assert server.result([number, text]) == [number, text]
        finally:
            over.set()
            pestering.join()


def test_a_signal_to_the_whole_group_stops_normally(runtime):
    """Control-C in a terminal reaches supervisor and workers alike: the running request is answered all the same."""
    with runtime("answers:nap") as server:
        with server.connect() as connection:
            connection.send(b"0.5 ")
            time.sleep(0.1)
            os.killpg(server.process.pid, signal.SIGINT)
            assert connection.reply()["result"] == 0.5
        assert server.wait() == 0


def test_a_worker_asked_to_end_directly_is_replaced(runtime):
    """kill WORKER is no stop of the runtime."""
    with runtime("answers:echo", allow_log=["WARNING", "ERROR"]) as server:
        [worker] = server.worker_pids()
        os.kill(worker, signal.SIGTERM)
        time.sleep(0.3)
        assert server.result(1) == 1


# -- the supervisor dies ------------------------------------------------------------------------------------------------


def test_workers_do_not_outlive_a_killed_supervisor_and_the_next_start_works(runtime):
    with runtime("answers:nap", code=None, leaves=["app.sock", "app.sock.lock"]) as server:  # the next start removes the rest
        workers = server.worker_pids()
        with server.connect() as connection:
            connection.send(b"30 ")
            time.sleep(0.1)
            server.kill(signal.SIGKILL)
            server.wait()
            assert processes.eventually(lambda: not any(map(processes.alive, workers)), 2)
        following = Runtime("answers:echo", path=server.path)
        try:
            following.launch().wait_ready(5)
            assert following.result(1) == 1
            assert following.stop() == 0
            following.clean_before = []
            following.check_gone()
        finally:
            following.discard()
        open(server.path, "w").close()
        open(server.path + ".lock", "w").close()


def test_workers_that_spin_do_not_outlive_a_killed_supervisor(runtime):
    leaves = ["app.sock", "app.sock.ctl", "app.sock.ctl.lock", "app.sock.lock"]
    with runtime("snippets:run", code=None, leaves=leaves, env={"ASYA_WORKERS": "2"}) as server:
        workers = server.worker_pids()
        with server.connect() as one, server.connect() as two:
            one.send(b'"while True: pass"')
            two.send(b'"import signal\\nsignal.pthread_sigmask(signal.SIG_BLOCK, list(signal.Signals))\\nwhile True: pass"')
            time.sleep(0.2)
            server.kill(signal.SIGKILL)
            server.wait()
            assert processes.eventually(lambda: not any(map(processes.alive, workers)), 2)


# -- process 1 ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def namespace():
    """The words that make a program process 1 of a namespace of its own."""
    words = ["unshare", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare --pid is not permitted here")
    return words


@pytest.mark.parametrize("number", STOPPING)
def test_as_process_1_it_serves_and_stops(runtime, namespace, number):
    with runtime("snippets:run", wrapper=namespace) as server:
        assert server.result("import os\nreturn os.getppid()") == 1
        assert server.stop(number) == 0


def test_as_process_1_it_answers_the_running_request_at_the_stop(runtime, namespace):
    with runtime("answers:nap", wrapper=namespace) as server:
        with server.connect() as connection:
            connection.send(b"0.5 ")
            time.sleep(0.1)
            server.kill(signal.SIGTERM)
            assert connection.reply()["result"] == 0.5
        assert server.wait() == 0


ORPHANS = """
import os, time
for _ in range(50):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.05)
        os._exit(0)
    os.wait()
return 'made'
"""


def test_as_process_1_it_reaps_orphans(runtime, namespace):
    with runtime("snippets:run", wrapper=namespace) as server:
        assert server.result(ORPHANS) == "made"
        assert processes.eventually(
            lambda: not any(processes.state(pid) == "Z" for pid in processes.descendants(server.pid)), 3)
        assert server.result("return 1") == 1


def test_as_process_1_a_failed_start_has_its_exit_code(refuse, namespace):
    assert refuse("answers:absent", wrapper=namespace).code == 67
    assert refuse("absent", wrapper=namespace).code == 66


def test_orphans_do_not_pile_up_without_being_process_1(runtime):
    with runtime("snippets:run") as server:
        assert server.result(ORPHANS) == "made"
        assert server.result("return 1") == 1


