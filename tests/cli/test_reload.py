"""`serve --reload`: workers are replaced when a source of the function changes, and what is broken never takes over."""
import contextlib
import os
import pty
import signal
import subprocess
import threading

import pytest

from harness import processes
from harness.runtime import PYTHON, RUNTIME, Runtime


@contextlib.contextmanager
def reloading(folder, handler="m:process", ready=True, env=None, **options):
    """A runtime with --reload in this folder; at the end nothing of it is left."""
    server = Runtime(args=["serve", handler, "--reload"], cwd=folder, env={"PYTHONPATH": None, **(env or {})}, **options)
    try:
        server.launch()
        if ready:
            server.wait_ready()
        yield server
        if server.running:
            assert server.stop() == 0, server.log_text()
        server.check_gone()
    except BaseException:
        print(server.log_text())
        raise
    finally:
        server.discard()


def gives(server, result):
    """Whether messages are answered so, soon."""
    return processes.eventually(lambda: server.call(b"{}").get("result") == result)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


SOURCES = {
    "its own module": "m.py",
    "a module that it imports": "plain.py",
    "a package": "pkg/__init__.py",
    "a module of a package": "pkg/inner.py",
    "what that imports, relative to it": "pkg/sub/deep.py",
    "what the function imports when it runs": "late.py",
    "what it imports by a name in a string": "named.py",
    "a module in a folder of PYTHONPATH": "other/elsewhere.py",
}


def test_a_change_of_whatever_it_imports_is_served_soon_and_no_other_change_matters(tmp_path):
    value = "VALUE = %d\n"
    for file in SOURCES.values():
        write(tmp_path / file, value % 1)
    write(tmp_path / "pkg/__init__.py", value % 1 + "from . import inner\n")
    write(tmp_path / "pkg/inner.py", value % 1 + "from .sub import deep\n")
    write(tmp_path / "m.py", value % 1 + "import importlib, json, plain, pkg.inner, elsewhere\n"
          "named = importlib.import_module('named')\n"
          "def process(payload):\n    import late\n"
          "    return [VALUE, plain.VALUE, pkg.VALUE, pkg.inner.VALUE, pkg.inner.deep.VALUE, late.VALUE, named.VALUE, elsewhere.VALUE]\n")
    write(tmp_path / "unrelated.py", value % 1)
    with reloading(tmp_path, env={"PYTHONPATH": str(tmp_path / "other"), "ASYA_WORKERS": "2"}) as server:
        server.wait_for_log("INFO .*worker .*ready", count=2)
        expected = [1] * len(SOURCES)
        assert gives(server, expected)
        for place, file in enumerate(SOURCES.values()):
            path = tmp_path / file
            path.write_text(path.read_text().replace(value % 1, value % 2))
            expected[place] = 2
            assert gives(server, expected), "%s: %s" % (file, server.log_text())
        assert processes.eventually(lambda: {worker["state"] for worker in server.status()["workers"] if "pid" in worker} == {"idle"})
        before = server.log_text().count("have changed")
        write(tmp_path / "unrelated.py", value % 2)
        (tmp_path / "m.py").write_text((tmp_path / "m.py").read_text() + "#\n")
        assert processes.eventually(lambda: server.log_text().count("have changed") > before)
        assert server.log_text().count("have changed") == before + 1


def test_no_message_is_lost_while_workers_are_replaced(tmp_path):
    write(tmp_path / "m.py", "def process(payload): return 0\n")
    with reloading(tmp_path) as server:
        stop, replies = threading.Event(), []

        def ask():
            while not stop.is_set():
                replies.append(server.call(b"{}"))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for number in range(1, 5):
                write(tmp_path / "m.py", "def process(payload): return %d\n" % number)
                assert gives(server, number)
        finally:
            stop.set()
            asking.join()
        results = [reply.get("result") for reply in replies]
        assert set(results) == {0, 1, 2, 3, 4}, "each has a result, and each version was served"


@pytest.mark.parametrize("broken, says", [
    ("def process(payload: return 2\n", "syntax error in .*m.py, line 1"),
    ("import nothing_of_this_name\n", "nothing_of_this_name"),
    ("raise RuntimeError('not today')\n", "RuntimeError: not today"),
    ("import time\ntime.sleep(1000)\n", "loads m:process"),
])
def test_the_old_one_serves_while_the_new_one_is_broken_and_the_next_is_tried_at_once(tmp_path, broken, says):
    write(tmp_path / "m.py", "def process(payload): return 1\n")
    with reloading(tmp_path) as server:
        write(tmp_path / "m.py", broken)
        server.wait_for_log(says, count=2 if "loads" in says else 1)
        assert server.result(b"{}") == 1
        write(tmp_path / "m.py", "def process(payload): return 3\n")
        assert gives(server, 3), "long before the minute after which a failed replacement is tried again"


def test_a_start_that_fails_waits_for_a_change(tmp_path):
    write(tmp_path / "m.py", "def process(payload: return 1\n")
    with reloading(tmp_path, ready=False) as server:
        server.wait_for_log("waiting for a change")
        server.wait_for_log("syntax error")
        write(tmp_path / "m.py", "def process(payload): return 2\n")
        server.wait_ready()
        assert gives(server, 2)
    write(tmp_path / "m.py", "import nothing_of_this_name\n")
    with reloading(tmp_path, ready=False) as server:
        server.wait_for_log("waiting for a change")
        assert server.stop() == 66, "the exit code of a start"


def test_a_first_load_that_takes_long_begins_anew_with_what_was_written_meanwhile(tmp_path):
    write(tmp_path / "m.py", "import time\ntime.sleep(1000)\n")
    with reloading(tmp_path, ready=False) as server:
        server.wait_for_log("loads m:process")
        write(tmp_path / "m.py", "def process(payload): return 2\n")
        server.wait_ready()
        assert gives(server, 2)


def test_signals_and_exit_codes_are_those_of_the_runtime(tmp_path):
    write(tmp_path / "m.py", "def process(payload): return 1\n")
    for number in (signal.SIGTERM, signal.SIGINT):
        with reloading(tmp_path) as server:
            assert server.stop(number) == 0
            assert server.log_text().count("stopping: ") == 1
    with reloading(tmp_path) as server:
        server.kill(signal.SIGUSR1)
        server.wait_for_log("worker 0.*idle|worker 0, pid")
        [child] = processes.children(server.pid)
        os.kill(child, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        for name in os.listdir(server.folder):
            os.unlink(server.folder / name)


def test_the_runtime_ends_with_a_watcher_that_was_killed(tmp_path):
    write(tmp_path / "m.py", "def process(payload): return 1\n")
    with reloading(tmp_path) as server:
        server.kill(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        server.wait_for_log("stopped, exit code 0")


def test_ctrl_c_at_a_terminal_comes_once(tmp_path):
    write(tmp_path / "m.py", "def process(payload): return 1\n")
    terminal, end = pty.openpty()
    env = {"PATH": os.environ["PATH"], "ASYA_SOCKET_PATH": str(tmp_path / "s")}
    begin = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    child = subprocess.Popen([PYTHON, "-c", begin, PYTHON, str(RUNTIME), "serve", "m:process", "--reload"],
                             stdin=end, stdout=end, stderr=end, cwd=tmp_path, env=env, start_new_session=True)
    os.close(end)
    said = b""
    try:
        while b"listening on" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        with contextlib.suppress(OSError):  # EIO: the last of them has closed it
            while True:
                said += os.read(terminal, 4096)
        assert child.wait(20) == 0 and said.count(b"stopping: SIGINT") == 1, said
    finally:
        child.kill()
        child.wait()
        os.close(terminal)


@pytest.mark.parametrize("arguments, env, says", [
    (["--reload"], {}, "--reload needs a function"),
    (["serve", "m:process", "two", "--reload"], {}, "unexpected argument 'two'"),
    (["serve", "m:process", "--reload", "--worker", "2"], {}, "unknown argument '--worker': did you mean --workers?"),
    (["serve", "m:process", "--reload"], {"ASYA_CONTROL_PATH": "off"}, "ASYA_CONTROL_PATH is off"),
])
def test_each_mistake_is_one_line(arguments, env, says):
    ended = subprocess.run([PYTHON, str(RUNTIME), *arguments], env={"PATH": os.environ["PATH"], **env}, cwd="/", capture_output=True,
                           text=True, timeout=60, check=False)
    assert ended.returncode == 64 and says in ended.stderr and ended.stderr.count("\n") == 1, ended
