"""The N-th system call of a kind fails (E12): never a hang or a crash of the supervisor; a reply or a clean close.

strace makes one call of one process fail; ASYA_TEST_CALLS says up to which N (`make faults`: 20)."""
import contextlib
import json
import os
import shutil
import time

import pytest

from harness import client, runtime as harness

pytestmark = [pytest.mark.supervised,
              pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")]

DEEPEST = int(os.environ.get("ASYA_TEST_CALLS", 2))

CALLS = {
    "accept4": ["EMFILE", "ENFILE", "ECONNABORTED", "EINTR", "ENOMEM"],
    "recvfrom": ["EINTR", "ECONNRESET", "ENOMEM"],
    "recvmsg": ["EINTR", "ENOMEM"],
    "sendmsg": ["EINTR", "ENOMEM", "ETOOMANYREFS"],
    "sendmmsg": ["EINTR", "EPIPE", "ENOMEM", "ENOSYS"],
    "sendto": ["EINTR", "EPIPE"],
    "epoll_wait": ["EINTR"],
    "epoll_pwait": ["EINTR"],
    "epoll_ctl": ["ENOMEM", "ENOSPC"],
    "clone": ["EAGAIN", "ENOMEM"],
    "waitid": ["EINTR"],
    "wait4": ["EINTR"],
    "socketpair": ["EMFILE", "ENFILE"],
    "socket": ["EMFILE"],
    "bind": ["EACCES", "EADDRINUSE"],
    "listen": ["EADDRINUSE"],
    "fchmod": ["EPERM"],
    "renameat": ["EACCES"],
    "eventfd2": ["EMFILE"],
    "rt_sigaction": ["EINVAL"],
    "shutdown": ["ENOTCONN"],
    "pipe2": ["EMFILE"],
    "mmap": ["ENOMEM"],
    "close": ["EINTR"],
    "getsockname": ["ENOBUFS"],
    "read": ["EINTR", "EIO"],
    "write": ["EINTR", "EPIPE"],
    "openat": ["EMFILE"],
    "fcntl": ["EINVAL"],
    "epoll_create1": ["EMFILE"],
    "poll": ["EINTR", "ENOMEM"],
}

CASES = [(call, error, count) for call, errors in CALLS.items() for error in errors for count in range(1, DEEPEST + 1)]

# what is sent, and the result where all goes well
EXCHANGES = {"return 1": 1, "import os\nos._exit(3)": None, "return 2": 2, "return 'x' * 300000": "x" * 300000}


def exchange(path, code):
    """All bytes of the reply, none where the connection ended without one."""
    try:
        with client.Connection(path, 20) as connection:
            with contextlib.suppress(OSError):
                connection.send(json.dumps(code).encode())
            data = b""
            with contextlib.suppress(ConnectionError):
                while True:
                    part = connection.receive(1 << 18)
                    if not part:
                        break
                    data += part
    except (ConnectionError, FileNotFoundError):
        return b""
    return data


def success(result):
    return b'{"status":"ok","result":%s}' % json.dumps(result).encode()


def last_exchange(server):
    """One request that must succeed, once the failure lies behind."""
    for _ in range(50):
        reply = exchange(server.path, "return 3")
        if reply == success(3):
            return
        time.sleep(0.1)
    raise AssertionError("it does not recover: %r" % (reply,))


@pytest.mark.parametrize("call, error, count", CASES, ids=lambda value: str(value))
def test_a_call_that_fails(tmp_path, call, error, count):
    wrapper = ("strace", "-D", "-f", "-q", "-o", str(tmp_path / "trace"), "-e", "trace=" + call,
               "-e", "inject=%s:error=%s:when=%d" % (call, error, count))
    server = harness.Runtime("snippets:run", wrapper=wrapper, env={"ASYA_READ_TIMEOUT": "5"})
    try:
        if not server.launches():
            return
        for code, result in EXCHANGES.items():
            reply = exchange(server.path, code)
            if not success(result).startswith(reply):  # nothing, all of it, or as much as had gone out before the failure
                assert "error" in client.check_reply(reply)
        last_exchange(server)
        assert server.stop() == 0
    except BaseException:
        print(server.log_text()[-3000:])
        raise
    finally:
        server.discard()
