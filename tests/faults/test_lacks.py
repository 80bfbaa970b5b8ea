"""What the machine lacks or refuses at the start ends it with an exit code and one line that names the limit or the call.

Once it has served, a lack is a delay: tests/faults/test_environment.py has that it is tried again.
"""
import errno
import os
import platform
import re
import shutil
import sys

import pytest

from harness.runtime import EXIT_INTERNAL, EXIT_LACK, EXIT_NO_MODULE, EXIT_SOCKET, PYTHON, REPOSITORY, RUNTIME

pytestmark = pytest.mark.supervised

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and control groups need root")

# From where the sockets cannot be made to where the first worker cannot be.
DESCRIPTORS = (8, 10, 12, 16, 24, 32, 40, 48)


@pytest.mark.parametrize("count", DESCRIPTORS)
def test_too_few_descriptors_end_the_start(refuse, count):
    refusal = refuse("answers:echo", wrapper=["prlimit", "--nofile=%d:%d" % (count, count)])
    assert refusal.code == EXIT_LACK
    assert "(RLIMIT_NOFILE, ulimit -n): 102 needed, the limit is %d" % count in refusal.cause
    assert refusal.seconds < 30


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_descriptors_as_the_line_says_suffice(runtime, refuse, workers):
    """For requests, a death and the next worker, all without a further line."""
    env = {"ASYA_WORKERS": str(workers)}
    refusal = refuse("answers:echo", wrapper=["prlimit", "--nofile=16:16"], env=env)
    needed = re.search(r"(\d+) needed", refusal.cause).group(1)
    with runtime("snippets:run", wrapper=["prlimit", "--nofile=%s:%s" % (needed, needed)], env=env,
                 expect_log=["WARNING .*RLIMIT_NOFILE"], allow_log=["ERROR worker"]) as server:
        for number in range(3):
            assert server.call("import os\nos._exit(3)")["type"] == "WorkerExited"
            assert server.result("return %d" % number) == number


@needs_root
def test_too_few_processes_end_the_start(refuse, short_folder):
    """The limit counts all processes of a user, so this one has none; and it does not bind root."""
    program = short_folder / "asya_runtime.py"
    shutil.copy(RUNTIME, program)
    (short_folder / "here").mkdir()
    (short_folder / "here").chmod(0o777)
    python = "/usr/bin/python3" if PYTHON.startswith("/root/") else PYTHON  # which it may run
    refusal = refuse(path=short_folder / "here" / "s", program=program, python=python, cwd="/", env={"HOME": "/"},
                     wrapper=["prlimit", "--nproc=1:1", "setpriv", "--reuid", "31415", "--regid", "31415", "--clear-groups"])
    assert refusal.code == EXIT_LACK
    assert "fork: " in refusal.cause and "RLIMIT_NPROC, ulimit -u, or pids.max" in refusal.cause and "5 needed, the limit is 1" in refusal.cause


def test_as_much_memory_as_the_runtime_needs_suffices(runtime):
    with runtime("answers:echo", wrapper=["prlimit", "--as=%d" % (64 << 20)]) as server:
        assert server.result(1) == 1


def test_too_little_memory_is_said(refuse):
    """Where the interpreter itself has enough, and this file has not: the first of these limits."""
    for megabytes in range(12, 64):
        refusal = refuse("absent", wrapper=["prlimit", "--as=%d" % (megabytes << 20)])
        if refusal.code == EXIT_LACK:
            assert "memory" in refusal.lines[-1].text
            return
        assert refusal.code != EXIT_NO_MODULE, "with %d MiB it has enough, and with less CPython did not start" % megabytes


CALLS = {
    "waitid": (EXIT_INTERNAL, "^waitid: "), "kill": (EXIT_INTERNAL, "^kill: "),
    "eventfd2": (EXIT_INTERNAL, "^eventfd2 or epoll_create1: "), "accept4": (EXIT_SOCKET, "^no accept4 on "),
}
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are x86-64's")


def forbidding(error, name):
    """Words before the runtime's own."""
    return [sys.executable, str(REPOSITORY / "tests" / "harness" / "forbid.py"), error, name]


@on_x86
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize("name, code, words", [(name, *row) for name, row in CALLS.items()], ids=CALLS)
def test_a_call_that_a_filter_refuses_is_named(refuse, name, code, words, error):
    refusal = refuse("answers:echo", wrapper=forbidding(error, name))
    assert refusal.code == code
    assert re.search(words, refusal.cause) and os.strerror(getattr(errno, error)) in refusal.cause


@on_x86
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize("name, lines", [("sigaltstack", ["WARNING .*sigaltstack"]), ("signalfd4", [])])
def test_without_other_calls_it_serves(runtime, name, lines, error):
    with runtime("snippets:run", wrapper=forbidding(error, name), env={"ASYA_HANDLER_TIMEOUT": "1"}, expect_log=lines,
                 allow_log=["ERROR ", "WARNING .*sigaltstack"]) as server:
        assert server.call("import os\nos._exit(3)")["type"] == "WorkerExited"
        assert server.result("return 1") == 1
        assert server.call("import time\nwhile True: time.sleep(0.01)")["type"] == "HandlerTimeout"
        assert server.result("return 2") == 2
