"""What was there before the runtime: threads, handlers, ignored and blocked signals. Deaths are answered and stops obeyed
all the same, and the function has what the interpreter had (O6)."""
import os
import pathlib
import signal
import sys
import threading
import time

import pytest

from harness import client, processes
from harness import runtime as harness

pytestmark = pytest.mark.supervised

# A thread of its own that has no signal blocked, does some work and sleeps; and a hook such as agents register.
SITE = """
import os, signal, threading, time

def background():
    while True:
        time.sleep(0.01)

def after_fork():
    global blocked_in_hook
    blocked_in_hook = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    threading.Thread(target=background, name="again", daemon=True).start()

threading.Thread(target=background, daemon=True).start()
os.register_at_fork(after_in_child=after_fork)
"""

DEATH = ["ERROR worker 0, pid"]


def wrapped(code):
    """Words before the runtime's own: they change what it inherits, then become it."""
    return (sys.executable, "-c", "import os, signal, sys\n%s\nos.execvp(sys.argv[1], sys.argv[1:])" % code)


@pytest.fixture
def with_thread(tmp_path):
    """Settings under which the interpreter starts a thread before the runtime."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": "%s:%s" % (tmp_path, harness.HANDLERS)}


INHERITED = {
    "SIGCHLD ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "all signals blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "SIGTERM ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
}


def _dies_and_stops(server):
    """Every death has its reply and its successor; a stop answers what runs."""
    for _ in range(5):
        assert server.result("return 1") == 1
        assert server.call("import os\nos._exit(3)")["type"] == "WorkerExited"
    got = []
    caller = threading.Thread(target=lambda: got.append(server.result("import time\ntime.sleep(0.5)\nreturn 2")))
    caller.start()
    assert processes.eventually(lambda: server.status()["running_count"] == 1, client.PATIENCE)
    assert server.stop() == 0
    caller.join()
    assert got == [2]


def test_with_a_thread_before_the_start(runtime, with_thread):
    for _ in range(3):  # who gets a signal is a race
        with runtime("snippets:run", env=with_thread, allow_log=DEATH) as server:
            assert processes.threads(server.pid) == 2
            _dies_and_stops(server)


@pytest.mark.parametrize("code", INHERITED.values(), ids=INHERITED)
def test_with(runtime, code):
    with runtime("snippets:run", wrapper=wrapped(code), allow_log=DEATH) as server:
        _dies_and_stops(server)


def test_a_thread_from_before_does_not_wake_up_in_the_supervisor(runtime, with_thread):
    with runtime("snippets:run", env=with_thread) as server:
        assert server.result("return 1") == 1
        time.sleep(0.3)
        others = [pathlib.Path("/proc/%d/task/%s/status" % (server.pid, name))
                  for name in os.listdir("/proc/%d/task" % server.pid) if int(name) != server.pid]

        def count():
            return sum(int(line.split()[1]) for path in others for line in path.read_text().splitlines()
                       if line.startswith("voluntary_ctxt_switches"))
        before = count()
        time.sleep(0.5)
        assert len(others) == 1 and count() - before <= 5


def test_hooks_of_a_fork_find_the_interpreters_signals(runtime, with_thread):
    with runtime("snippets:run", env=with_thread) as server:
        assert server.result("import sitecustomize, threading\n"
                             "return [sorted(sitecustomize.blocked_in_hook), [t.name for t in threading.enumerate()][1:]]") == [[], ["again"]]


SIGNALS = ("import signal\nreturn [repr(signal.getsignal(n)) for n in (2, 15, 17, 1, 10)], "
           "sorted(int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])), "
           "[line.split()[1] for line in open('/proc/self/status') if line.startswith(('SigBlk', 'SigIgn'))]")


def test_the_function_has_the_handlers_and_the_mask_of_the_interpreter(runtime):
    code = "signal.signal(signal.SIGINT, signal.SIG_DFL); " \
           "signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [10, 12])"
    with runtime("snippets:run", wrapper=wrapped(code)) as server:
        handlers, mask, (blocked, ignored) = server.result(SIGNALS)
        assert "default_int_handler" in handlers[0]
        assert [int(part.split(":")[-1].split(">")[0]) if "SIG_" in part else part for part in handlers[1:]] == [0, 0, 1, 0]
        assert mask == [10, 12] and int(blocked, 16) == 1 << 9 | 1 << 11
        assert int(ignored, 16) & 1 and not int(ignored, 16) & (1 << 16 | 1 << 14)


def test_subprocesses_can_be_waited_for_though_sigchld_was_ignored(runtime):
    with runtime("snippets:run", wrapper=wrapped(INHERITED["SIGCHLD ignored"])) as server:
        assert server.result("import subprocess\nreturn subprocess.run(['sh', '-c', 'exit 7']).returncode") == 7


def test_nohup_outlives_its_terminal(runtime):
    with runtime("snippets:run", wrapper=("nohup",)) as server:
        server.kill(signal.SIGHUP)
        assert server.result("return 1") == 1
        time.sleep(0.1)
        assert server.running and server.result("return 2") == 2


def test_a_death_is_found_though_its_signal_is_lost(runtime, tmp_path):
    """An agent's hook takes the handler away in the supervisor."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "os.register_at_fork(after_in_parent=lambda: signal.signal(signal.SIGCHLD, signal.SIG_DFL))\n")
    path = "%s:%s" % (tmp_path, harness.HANDLERS)
    with runtime("snippets:run", env={"PYTHONPATH": path}, allow_log=DEATH) as server:
        assert server.call("import os\nos._exit(3)", timeout=5)["type"] == "WorkerExited"
        assert server.result("return 1") == 1


def test_a_flood_on_the_control_channel_holds_nobody_up(runtime):
    """The function writes to its worker's channel without end: other workers, health and the stop go on."""
    code = """
import os, socket, threading, time
def is_channel(fd):
    try:
        other = socket.socket(fileno=os.dup(fd))
        return other.type == socket.SOCK_SEQPACKET
    except OSError:
        return False
channels = [int(n) for n in os.listdir("/proc/self/fd") if is_channel(int(n))]
def flood():
    message = (99).to_bytes(4, "little") + bytes(4 + 4 * 32)  # of no known type
    time.sleep(0.5)  # the reply is out first: whoever writes this is ended at once
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for fd in channels:
            try:
                os.write(fd, message)
            except OSError:
                pass
for _ in range(2):
    threading.Thread(target=flood, daemon=True).start()
return len(channels)
"""
    with runtime("snippets:run", env={"ASYA_WORKERS": 2}, code=None, allow_log=["(ERROR|WARNING)"]) as server:
        assert server.result(code) > 0
        server.wait_for_log("ERROR worker \\d+ sent an invalid control message")
        server.wait_for_log("ERROR worker \\d+, pid \\d+, was killed")
        for _ in range(20):
            assert server.result("return 1") == 1
        began = time.monotonic()
        server.stop(timeout=20)
        assert time.monotonic() - began < 10
