"""A client that passes descriptors with its bytes: of a TCP socket that lingers when it is closed, for as long as the client
likes. Whoever took or discarded such a byte slept in that close, a worker or the supervisor."""
import array
import contextlib
import os
import signal
import socket
import struct
import time

import pytest

from harness import client, processes, shims

LINGER = 600  # seconds a close would sleep: no test waits so long
PASSRIGHTS = 83
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def trap(stack):
    """A socket whose last close sleeps, since its peer does not read."""
    listener = stack.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    made = socket.create_connection(listener.getsockname())
    stack.enter_context(listener.accept()[0])
    made.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            made.send(b"x" * 65536)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
    return made


def nested(stack):
    """The same in the queue of a Unix socket that is passed in its stead."""
    inner, outer = socket.socketpair()
    pass_on(inner, b"x", [trap(stack)])
    inner.close()
    return outer


def pass_on(sender, data, passed, flags=0):
    """Sends the bytes and the sockets, of which nobody here has a copy afterwards."""
    numbers = array.array("i", [one.fileno() for one in passed])
    try:
        sender.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)], flags)
    except OSError:
        for one in passed:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        raise
    finally:
        for one in passed:
            one.close()


def send_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def stop_all(server):
    """The processes that stand still: supervisor and workers, and none that closes others' descriptors and ends."""
    count = int(server.env.get("ASYA_WORKERS", 1))
    for _ in range(50):
        workers = server.worker_pids()
        if len(workers) == count:
            send_all([server.pid, *workers], signal.SIGSTOP)
            if processes.eventually(lambda: all(processes.state(pid) == "T" for pid in [server.pid, *workers]), 1):
                return [server.pid, *workers]
            send_all([server.pid, *workers], signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("it does not stand still")


@contextlib.contextmanager
def standing(server):
    """Nobody of the runtime reads meanwhile: the copies that are passed in the block are the last ones."""
    stopped = stop_all(server)
    try:
        yield
    finally:
        send_all(stopped, signal.SIGCONT)


def kernel_refuses():
    with socket.socket(socket.AF_UNIX) as asked, contextlib.suppress(OSError):
        asked.setsockopt(socket.SOL_SOCKET, PASSRIGHTS, 0)
        return True
    return False


OLD = shims.preloaded("rights")


def test_where_the_kernel_can_it_refuses_them(runtime):
    if not kernel_refuses():
        pytest.skip("this kernel has no SO_PASSRIGHTS")
    with contextlib.ExitStack() as stack, runtime("answers:nap") as server:
        with server.connect() as connection, pytest.raises(PermissionError):
            pass_on(connection.socket, b"1 ", [trap(stack)])
        with server.connect() as connection:
            connection.send(b"0")  # accepted, and waiting
            with pytest.raises(PermissionError):
                pass_on(connection.socket, b" ", [trap(stack)])
            connection.send(b" ")
            assert connection.reply()["result"] == 0


MESSAGES = {
    "a request": b"0 ", "half a request": b'{"a', "behind its reply": b"0 0 0", "a refusal": b"\xff ", "health": HEALTH,
    "a frame": b"\0\0\0\x02[]",
}


@pytest.fixture(scope="module", params=[{}, {"ASYA_WORKERS": "2"}, {"ASYA_PROTOCOL": "raw"}], ids=["one", "two", "raw"])
def old(runtime, request):
    with runtime("answers:nap", env={**OLD, **request.param}, allow_log=["WARNING", "ERROR"]) as server:
        yield server


@pytest.mark.parametrize("make", [trap, nested])
@pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES)
def test_elsewhere_a_worker_drops_them(old, data, make):
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            with standing(old):
                connection = stack.enter_context(old.connect())
                pass_on(connection.socket, data, [make(stack)])
        assert old.result(0) == 0
    assert old.result(0) == 0  # whoever was still to be read has gone


def test_and_what_comes_while_the_function_runs_or_out_of_band(old):
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(old.connect())
        with standing(old):
            connection.send(b"0.3 ")
            pass_on(connection.socket, b" ", [trap(stack) for _ in range(5)])
            with contextlib.suppress(OSError):  # kernels that have no urgent data on Unix sockets
                pass_on(connection.socket, b" ", [trap(stack)], socket.MSG_OOB)
        assert connection.reply()["result"] == 0.3
        urgent = stack.enter_context(old.connect())
        with standing(old):
            urgent.send(b"0")
            with contextlib.suppress(OSError):
                pass_on(urgent.socket, b" ", [trap(stack)], socket.MSG_OOB)
            urgent.half_close()
        assert urgent.reply()["result"] == 0
        assert old.result(0) == 0


@pytest.mark.parametrize("data", [b"0 ", HEALTH, b""], ids=["a request", "health", "nothing"])
def test_the_supervisor_drops_them_too(runtime, data):
    """With the fallback acceptor while the worker is busy; those a dead worker leaves; at the stop."""
    with contextlib.ExitStack() as stack:
        with runtime("answers:nap", env={**OLD, "ASYA_GRACE_PERIOD": "2"}, allow_log=["WARNING", "ERROR"], code=None) as server:
            busy = stack.enter_context(server.connect())
            busy.send(b"600 ")
            with standing(server):
                passing = [stack.enter_context(server.connect()) for _ in range(4)]
                for connection in passing:
                    pass_on(connection.socket, data or b"G", [trap(stack)])
            with server.connect() as asking:
                asking.send(HEALTH)
                assert asking.receive(12) == b"HTTP/1.1 200"
            for pid in server.worker_pids():
                with contextlib.suppress(ProcessLookupError):  # a process that closes what was passed is soon gone
                    os.kill(pid, signal.SIGKILL)
            assert busy.reply()["type"] == "WorkerCrashed"
            assert server.result(0) == 0
            with standing(server):
                for connection in passing:
                    with contextlib.suppress(OSError):
                        pass_on(connection.socket, b"more", [trap(stack)])
                last = stack.enter_context(server.connect())
                pass_on(last.socket, b"600 ", [trap(stack)])
            assert server.stop(timeout=client.PATIENCE) == 0
