"""What the system refuses the control socket costs its clients an answer, and nobody a message."""
import contextlib
import json
import os
import resource
import signal
import socket
import time

import pytest

from harness import control, processes, shims
from harness.client import Connection

FAIL_AT, FOR_EVER, REQUESTED, FAILED = range(4)


def test_without_memory_an_answer_is_503_and_the_next_one_is_there(runtime, tmp_path):
    """Each allocation of an answer fails once; it gets 503 or the answer, and the runtime goes on."""
    orders = shims.Shared(tmp_path / "orders", 4)
    env = shims.preloaded("memory", SHIM_MEMORY=tmp_path / "orders")
    with runtime("answers:echo", env=env, allow_log=["(ERROR|WARNING) .*"]) as server:
        assert server.status()["ready"]
        refused = 0
        for path, method in (("/status", "GET"), ("/readyz", "GET"), ("/nothing", "GET"), ("/drain", "POST"), ("/stacks", "POST")):
            for number in range(1, 12):
                orders[FAILED] = 0
                orders[FAIL_AT] = orders[REQUESTED] + number
                with contextlib.suppress(ConnectionError):
                    refused += server.control(path, method).status == 503
                if not orders[FAILED]:
                    break
            orders[FAIL_AT] = 0
        assert refused and server.result(1) == 1
        assert server.control("/undrain", "POST").status == 200 and server.status()["ready"]


@pytest.mark.parametrize("mode", ["short", "interrupted"])
def test_a_system_that_gives_little_gives_the_same_answers(runtime, mode):
    with runtime("answers:echo", env=shims.preloaded("sockets", SHIM_SOCKETS=mode)) as server:
        assert server.status()["ready"]
        assert server.control("/log-level", "POST", {"level": "INFO"}).json == {"level": "INFO"}
        assert server.control("/nothing").status == 404
        assert "worker 0, pid" in server.control("/stacks", "POST").text


def test_with_few_descriptors_messages_and_questions_are_answered(runtime):
    """Clients of the socket may have all but those that are kept for the runtime's own work."""
    with runtime("answers:nap", wrapper=("prlimit", "--nofile=96:96"), allow_log=["(WARNING|INFO) .*"]) as server:
        crowd = []
        with contextlib.suppress(OSError):
            for _ in range(200):
                crowd.append(server.connect(1.0))
                crowd[-1].send(b"0.01")
        assert server.status()["ready"]
        for connection in crowd:
            connection.close()
        assert processes.eventually(lambda: server.result(0) == 0)


def test_when_the_supervisor_has_no_descriptor_left_it_does_not_spin(runtime):
    with runtime("answers:echo", allow_log=["WARNING .*"]) as server:
        limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        used = max(processes.descriptors(server.pid)) + 1
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, limit[1]))
        with Connection(server.control_path) as connection:
            connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            before = processes.cpu_seconds(server.pid)
            time.sleep(0.5)
            assert processes.cpu_seconds(server.pid) - before < 0.25
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)
            assert connection.receive_all().startswith(b"HTTP/1.1 200 ")
        assert server.result(1) == 1


def test_a_worker_that_dies_while_its_stacks_are_asked_for_costs_no_answer(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "2"}, allow_log=["(ERROR|WARNING) .*"]) as server:
        with server.connect() as connection:
            connection.send(json.dumps("import ctypes; ctypes.PyDLL(None).usleep(10_000_000)").encode())
            assert processes.eventually(lambda: server.status()["running"])
            [victim] = [worker["pid"] for worker in server.status()["workers"] if worker["state"] == "busy"]
            with Connection(server.control_path) as asker:
                os.kill(victim, signal.SIGSTOP)
                asker.send(b"POST /stacks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                time.sleep(0.1)
                os.kill(victim, signal.SIGKILL)
                assert asker.receive_all().startswith(b"HTTP/1.1 200 ")
            assert connection.reply()["type"] == "WorkerCrashed"
        assert processes.eventually(lambda: len([w for w in server.status()["workers"] if w["state"] == "idle"]) == 2)


def test_a_client_that_resets_its_connection_harms_nobody(runtime):
    port = control.free_port()
    with runtime("answers:echo", env={"ASYA_HTTP_ADDR": "127.0.0.1:%d" % port}) as server:
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert control.ask(port, "/status").json["ready"]
        assert server.result(1) == 1
