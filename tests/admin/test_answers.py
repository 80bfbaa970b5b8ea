"""The control socket answers whatever the workers do, and whoever else asks; what it says is what a client did."""
import contextlib
import json
import os
import re
import signal
import socket
import stat
import threading
import time

import pytest

from harness import control, processes
from harness.client import Connection
from harness.runtime import PYTHON

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SLOWEST = 0.02 * float(os.environ.get("ASYA_TEST_SLOWNESS", 3))  # seconds for an answer, the best of several
# sleeps without giving the interpreter's lock back: no Python runs in the process
HUNG_IN_C = "import ctypes; ctypes.PyDLL(None).usleep(30_000_000)"


def quickest(server, path="/status", times=10, where=None):
    """The shortest of several answers: what it takes when this machine has the time."""
    answers = [control.ask(where or server.control_path, path) for _ in range(times)]
    assert all(answer.status in (200, 503) for answer in answers), answers
    return min(answer.seconds for answer in answers)


def invoke(server, body, headers=()):
    """A request over HTTP whose reply is left to come."""
    connection = server.connect()
    text = json.dumps({"payload": body, "route": {"prev": [], "curr": "a", "next": []}}).encode()
    connection.send(b"POST /invoke HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s"
                    % (b"".join(b"%s: %s\r\n" % (name.encode(), value.encode()) for name, value in headers), len(text), text))
    return connection


# -- it answers ---------------------------------------------------------------------------------------------------------


def test_it_is_beside_the_socket_for_this_user_only_and_goes_with_it(runtime):
    with runtime("answers:echo") as server:
        found = os.lstat(server.path + ".ctl")
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
    assert not os.path.exists(server.path + ".ctl")


def test_it_answers_at_once_while_every_worker_hangs_in_c(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "2", "ASYA_GRACE_PERIOD": "0.5"}, allow_log=[".*"]) as server:
        with server.connect() as one, server.connect() as two:
            for connection in (one, two):
                connection.send(json.dumps(HUNG_IN_C).encode())
            assert processes.eventually(lambda: len(server.status()["running"]) == 2)
            time.sleep(0.3)
            assert quickest(server) < SLOWEST
            status = server.status()
            assert status["state"] == "ready" and status["reason"] == "every worker is busy"
            assert {worker["state"] for worker in status["workers"]} == {"busy"}


def test_it_answers_at_once_in_a_crash_loop(runtime):
    with runtime("snippets:run", allow_log=["(ERROR|WARNING) .*"]) as server:
        started = server.status()
        assert started["state"] == "ready" and started["ready"] is True
        for _ in range(3):
            pids = server.worker_pids()
            server.call('"import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"'.encode())
            assert processes.eventually(lambda: not set(pids) & set(server.worker_pids()))
        assert processes.eventually(lambda: server.status()["state"] == "crash_loop")
        status = server.status()
        assert re.fullmatch(r"3 deaths in a row, the last one was killed by signal 11 \(SIGSEGV\).*", status["reason"])
        assert status["since"] > started["since"] and status["ready"] is False
        assert status["workers"][0]["exits"]["signal"] == 3
        assert (server.control("/livez").status, server.control("/readyz").status, server.control("/startupz").status) \
            == (200, 503, 200)
        assert quickest(server) < SLOWEST
        assert processes.eventually(lambda: server.status()["state"] == "ready")


def test_it_answers_at_once_while_a_thousand_clients_wait(runtime):
    with runtime("answers:nap", env={"ASYA_GRACE_PERIOD": "0.5"}, allow_log=[".*"]) as server:
        crowd = [server.connect() for _ in range(1024)]
        try:
            for connection in crowd:
                connection.send(b"30")
                connection.socket.shutdown(socket.SHUT_WR)
            time.sleep(0.3)
            assert quickest(server) < SLOWEST
            waiting = server.status()["waiting"]
            assert waiting["with_workers"] + waiting["with_supervisor"] > 0
        finally:
            for connection in crowd:
                connection.close()


def test_it_answers_while_the_function_is_loaded_and_while_it_stops(runtime, tmp_path):
    (tmp_path / "slow.py").write_text("import os, time\nwhile not os.path.exists(%r): time.sleep(0.01)\n"
                                      "def process(payload): time.sleep(payload); return payload\n" % str(tmp_path / "go"))
    with runtime("slow", env={"PYTHONPATH": str(tmp_path)}, ready=False, allow_log=["WARNING .*"]) as server:
        assert processes.eventually(lambda: os.path.exists(server.control_path))
        status = server.status()
        assert status["state"] == "loading" and status["reason"] == "a worker loads slow"
        assert status["workers"][0]["state"] == "starting"
        assert [server.control(path).status for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 503]
        (tmp_path / "go").touch()
        server.wait_ready()
        assert [server.control(path).status for path in ("/livez", "/readyz", "/startupz")] == [200, 200, 200]
        with server.connect() as connection:
            connection.send(b"1 ")
            assert processes.eventually(lambda: server.status()["running"])
            server.kill(signal.SIGTERM)
            assert processes.eventually(lambda: server.status()["state"] == "stopping")
            assert server.status()["reason"] == "SIGTERM"
            assert [server.control(path).status for path in ("/livez", "/readyz")] == [200, 503]
            assert connection.reply() == {"status": "ok", "result": 1}


# -- who asks -----------------------------------------------------------------------------------------------------------


def test_slow_and_silent_clients_harm_nobody(runtime):
    with runtime("answers:echo") as server:
        crowd = [Connection(server.control_path) for _ in range(50)]
        try:
            for number, connection in enumerate(crowd):
                with contextlib.suppress(OSError):  # it may have given way already
                    connection.send(b"GET /status HTTP/1.1\r\nHost"[:number % 3 * 10])
            assert quickest(server) < SLOWEST
            assert server.result(1) == 1
        finally:
            for connection in crowd:
                connection.close()


def test_a_client_that_never_reads_harms_nobody(runtime):
    with runtime("answers:echo") as server:
        with Connection(server.control_path) as glutton:
            glutton.socket.setblocking(False)
            with pytest.raises(OSError):
                while True:
                    glutton.socket.send(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
            assert quickest(server) < SLOWEST
            assert server.result(1) == 1


def test_clients_at_once_all_get_their_answers(runtime):
    with runtime("answers:echo") as server:
        answers, lost = [], []

        def poll():
            for _ in range(50):
                try:
                    answers.append(server.control("/status").json["state"])
                except (OSError, Exception) as error:
                    lost.append(error)

        threads = [threading.Thread(target=poll) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not lost and answers == ["ready"] * 200


def test_a_connection_can_be_kept(runtime):
    with runtime("answers:echo") as server:
        kept = control.connection(server.control_path)
        for _ in range(20):
            assert control.ask(None, "/status", over=kept).json["ready"] is True
            time.sleep(0.01)
        kept.close()


MISTAKES = [
    ("GET", "/nothing", 404, "there are GET /livez"),
    ("GET", "/Status", 404, "GET /status"),
    ("GET", "/status/", 404, "GET /status"),
    ("POST", "/status", 405, "with GET"),
    ("DELETE", "/livez", 405, "with GET"),
]


@pytest.mark.parametrize("method, path, status, said", MISTAKES, ids=["%s %s" % row[:2] for row in MISTAKES])
def test_a_wrong_path_or_method_is_told_what_is_right(runtime, method, path, status, said):
    with runtime("answers:echo") as server:
        answer = server.control(path, method)
        assert answer.status == status and said in answer.json["message"]
        assert (answer.headers.get("Allow") == "GET, HEAD") == (status == 405)


def test_bytes_that_are_no_request_are_refused(runtime):
    with runtime("answers:echo") as server:
        with Connection(server.control_path) as connection:
            connection.send(b'{"a": 1}\r\n\r\n')
            assert connection.receive_all().startswith(b"HTTP/1.1 400 ")
        assert server.control("/status", "HEAD").text == ""


# -- where --------------------------------------------------------------------------------------------------------------


def test_another_path_or_none_can_be_named(runtime, short_folder):
    with runtime("answers:echo", env={"ASYA_CONTROL_PATH": str(short_folder / "steer")}) as server:
        assert server.status()["ready"] and not os.path.exists(server.path + ".ctl")
        assert server.status()["settings"]["ASYA_CONTROL_PATH"] == {"value": str(short_folder / "steer"), "set": True}
    assert os.listdir(short_folder) == []
    with runtime("answers:echo", env={"ASYA_CONTROL_PATH": "off"}) as server:
        assert sorted(os.listdir(server.folder)) == ["app.sock", "app.sock.lock"]


def test_a_named_path_that_cannot_be_ends_the_start(refuse, short_folder):
    (short_folder / "file").write_text("")
    refusal = refuse("answers:echo", env={"ASYA_CONTROL_PATH": str(short_folder / "file")})
    assert refusal.code == 73 and "is not a socket" in refusal.cause
    refusal = refuse("answers:echo", env={"ASYA_CONTROL_PATH": "/" + "x" * 107})
    assert refusal.code == 73 and "ASYA_CONTROL_PATH is 108 bytes long" in refusal.cause


def test_a_default_path_that_cannot_be_is_a_warning(runtime):
    expect = ["WARNING no control socket: .*is not a socket.*ASYA_CONTROL_PATH.*"]
    with runtime("answers:echo", ready=False, expect_log=expect) as server:
        server.stop()
        with open(server.path + ".ctl", "w"):
            pass
        server.clean_before = ["app.sock.ctl"]
        server.launch().wait_ready()
        assert server.result(1) == 1


def test_another_runtime_s_control_socket_is_left_alone(runtime, refuse):
    with runtime("answers:echo") as server:
        refusal = refuse("answers:echo", env={"ASYA_CONTROL_PATH": server.control_path})
        assert refusal.code == 75 and "already serving" in refusal.cause
        assert server.status()["pid"] == server.pid


def test_it_is_put_back_when_its_file_is_removed(runtime):
    with runtime("answers:echo", expect_log=["INFO the control socket .* was removed; it has been put back"]) as server:
        os.unlink(server.control_path)
        assert processes.eventually(lambda: os.path.exists(server.control_path))
        assert server.status()["ready"]


def test_what_a_killed_runtime_has_left_is_no_obstacle(runtime):
    with runtime("answers:echo", ready=False) as server:
        server.wait_ready()
        server.kill(signal.SIGKILL)
        server.wait()
        assert os.path.exists(server.control_path)
        server.launch()
        server.wait_for_log("INFO listening on")  # the old socket still takes connections while the old worker ends
        assert server.status()["pid"] == server.pid


# -- TCP ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [":%d", "127.0.0.1:%d"])
def test_over_tcp_it_can_only_be_read(runtime, address):
    port = control.free_port()
    with runtime("answers:echo", env={"ASYA_HTTP_ADDR": address % port}) as server:
        assert control.ask(port, "/status").json["pid"] == server.pid
        assert [control.ask(port, path).status for path in ("/livez", "/readyz", "/startupz")] == [200] * 3
        assert control.ask(port, "/drain", "POST").status in (404, 405)
        assert "POST" not in control.ask(port, "/nothing").json["message"]
        assert quickest(server, where=port) < SLOWEST


def test_a_port_that_is_taken_ends_the_start(refuse):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refusal = refuse("answers:echo", env={"ASYA_HTTP_ADDR": "127.0.0.1:%d" % other.getsockname()[1]})
    assert refusal.code == 73 and "ASYA_HTTP_ADDR" in refusal.cause and "in use" in refusal.cause
    assert refuse("answers:echo", env={"ASYA_HTTP_ADDR": "9100"}).code == 64


def test_workers_have_none_of_its_descriptors(runtime):
    port = control.free_port()
    with runtime("snippets:run", env={"ASYA_HTTP_ADDR": "127.0.0.1:%d" % port}, expect_log=["ERROR .*signal 9.*"]) as server:
        kept = [control.connection(server.control_path), control.connection(port)]
        for connection in kept:
            assert control.ask(None, "/livez", over=connection).status == 200
        os.kill(server.worker_pids()[0], signal.SIGKILL)  # the next one is forked while they are open
        assert processes.eventually(lambda: len(server.status()["workers"]) == 1 and server.status()["ready"])
        code = "import os; return sorted(os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd') " \
               "if os.path.lexists('/proc/self/fd/' + n))"
        own = {link.split(":")[1] for link in processes.descriptors(server.pid).values() if link.startswith("socket:")}
        names = {line.split()[6]: line.split()[-1] for line in open("/proc/net/unix") if server.control_path in line}
        worker = server.result(code)
        assert names and not [link for link in worker if link.strip("socket:[]") in names]
        assert own and sum(link == "anon_inode:[eventpoll]" for link in worker) == 1
        for connection in kept:
            connection.close()


# -- what it says -------------------------------------------------------------------------------------------------------


def test_it_says_which_program_with_which_settings(runtime):
    env = {"ASYA_WORKERS": "2", "ASYA_HANDLER_TIMEOUT": "12.5", "ASYA_ALLOWED_UIDS": "0,4711", "ASYA_MAX_RSS": "90%"}
    with runtime("answers:echo", env=env, allow_log=["WARNING .*"]) as server:
        status = server.status()
        assert status["version"] == "0.1.0" and status["build"]["machine"] in ("x86_64", "aarch64")
        asked = os.popen("%s -c 'import sys; print(sys.version.split()[0])'" % PYTHON).read().strip()
        assert status["python"].split()[0] == asked
        assert status["pid"] == server.pid and status["function"] == "answers:echo"
        settings = status["settings"]
        assert settings["ASYA_WORKERS"] == {"value": 2, "set": True}
        assert settings["ASYA_HANDLER_TIMEOUT"] == {"value": 12.5, "set": True}
        assert settings["ASYA_CONCURRENCY"] == {"value": 1, "set": False}
        assert settings["ASYA_MAX_RSS"] == {"value": "90%", "set": True}
        assert settings["ASYA_SOCKET_PATH"] == {"value": server.path, "set": True}
        assert settings["ASYA_ALLOWED_UIDS"] == {"set": True} and "4711" not in json.dumps(status)


def test_it_says_what_runs_since_when(runtime):
    with runtime("answers:nap", env={"ASYA_WORKERS": "3"}, allow_log=["WARNING connection_error.*went away"]) as server:
        raw = server.connect()
        raw.send(b"2 ")
        framed_text = json.dumps({"id": "order-2", "headers": {"traceparent": TRACE}, "payload": 2,
                                  "route": {"actors": ["a"], "current": 0}}).encode()
        framed = server.connect()
        framed.send(len(framed_text).to_bytes(4, "big") + framed_text)
        web = invoke(server, 2, [("X-Request-ID", "order-3"), ("traceparent", TRACE)])
        assert processes.eventually(lambda: len(server.status()["running"]) == 3)
        before = time.time()
        status = server.status()
        running = {request["protocol"]: request for request in status["running"]}
        assert set(running) == {"raw", "framed", "http"} and status["running_count"] == 3
        assert running["raw"]["id"] == "" and running["framed"]["id"] == "order-2" and running["http"]["id"] == "order-3"
        assert running["http"]["traceparent"] == TRACE
        assert {request["worker"] for request in running.values()} == {0, 1, 2}
        assert {request["stage"] for request in running.values()} == {"function"}
        for request in running.values():
            stamp = time.strptime(request["since"][:19], "%Y-%m-%dT%H:%M:%S")
            assert 0 <= request["seconds"] < 20 and abs(before - request["seconds"] - __import__("calendar").timegm(stamp)) < 2
        for connection in (raw, framed, web):
            connection.close()
        assert processes.eventually(lambda: not server.status()["running"])
        assert sum(worker["requests"] for worker in server.status()["workers"]) == 3


def test_it_says_how_the_workers_are(runtime):
    with runtime("snippets:run", expect_log=["ERROR .*exited with status 3.*", "ERROR .*SIGSEGV.*"]) as server:
        burn = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nreturn 1"
        assert [server.result(burn), server.result("return 2")] == [1, 2]
        [worker] = server.status()["workers"]
        assert worker["pid"] == server.worker_pids()[0] and worker["requests"] == 2 and worker["state"] == "idle"
        assert worker["cpu_seconds"] >= 0.2 and worker["rss_bytes"] > worker["pss_bytes"] > 100_000
        assert set(worker["exits"].values()) == {0}
        server.call(b'"import os; os._exit(3)"')
        assert processes.eventually(lambda: server.status()["ready"])
        assert server.result("return 3") == 3
        assert server.result("return 3") == 3
        server.call(b'"import os; os.kill(os.getpid(), 11)"')
        assert processes.eventually(lambda: server.status()["ready"])
        [worker] = server.status()["workers"]
        assert {cause: count for cause, count in worker["exits"].items() if count} == {"signal": 1, "exit": 1}
        assert worker["requests"] == 0
