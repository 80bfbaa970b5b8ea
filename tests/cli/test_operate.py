"""`status`, `top`, `stacks`, `log-level`, `drain`, `undrain`, `recycle`: a running runtime, asked from a shell."""
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import processes
from harness.runtime import PYTHON, RUNTIME


def ask(*arguments, code=0, **env):
    """Standard output of a command that should end so."""
    env = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8", **env}
    ended = subprocess.run([PYTHON, str(RUNTIME), *arguments], env=env, capture_output=True, text=True, timeout=60, check=False,
                           cwd="/")
    assert ended.returncode == code, ended
    return ended.stdout if code == 0 else ended.stderr


def refusal(*arguments, code=1, **env):
    """The one line that says why not."""
    said = ask(*arguments, code=code, **env)
    assert said.count("\n") == 1 and said.startswith("asya_runtime %s: " % arguments[0]), said
    return said


# -- which runtime ------------------------------------------------------------------------------------------------------


def test_the_control_socket_is_found_by_flags_and_by_the_settings_of_a_start(runtime, short_folder):
    env = {"ASYA_SOCKET_DIR": str(short_folder), "ASYA_SOCKET_NAME": "app.sock", "ASYA_SOCKET_PATH": None}
    with runtime("answers:echo", env=env, path=short_folder / "app.sock") as server:
        whole = ask("status", "--json", "--control", server.control_path)
        status = json.loads(whole)
        assert status["pid"] == server.pid and status["settings"]["ASYA_WORKERS"] == {"value": 1, "set": False}
        for arguments in (["--socket", server.path], ["--socket=" + server.path], ["--socket-path", server.path],
                          ["--control-path", server.control_path], ["--socket-dir", str(short_folder), "--socket-name", "app.sock"]):
            assert json.loads(ask("status", "--json", *arguments))["pid"] == server.pid
        for variables in ({"ASYA_SOCKET_PATH": server.path}, {"ASYA_CONTROL_PATH": server.control_path},
                          {"ASYA_SOCKET_DIR": str(short_folder), "ASYA_SOCKET_NAME": "app.sock"}):
            assert json.loads(ask("status", "--json", **variables))["pid"] == server.pid
        assert json.loads(ask("status", "--json", "--socket", server.path, ASYA_CONTROL_PATH="off"))["pid"] == server.pid


def test_every_mistake_is_one_line_that_says_what_to_do(runtime, short_folder):
    with runtime("answers:echo") as server:
        at = ("--control", server.control_path)
        nothing = refusal("status", "--control", str(short_folder / "no.ctl"))
        assert "no control socket at " in nothing and "--socket PATH" in nothing and "--control /" in nothing
        assert server.path in refusal("status", "--control", server.path) and "is not a control socket" in refusal("drain", "--control", server.path)
        assert "ASYA_CONTROL_PATH is off" in refusal("drain", code=64, ASYA_CONTROL_PATH="Off")
        assert "no level 'trace': DEBUG, INFO, WARNING, ERROR" in refusal("log-level", "trace", *at, code=64)
        assert "DEBUG|INFO|WARNING|ERROR" in refusal("log-level", *at, code=64)
        assert "did you mean --control?" in refusal("stacks", "--contrl", "x", code=64)
        assert "help recycle" in refusal("recycle", "now", *at, code=64)
        assert "0.1 to 3600" in refusal("top", "--interval", "0", *at, code=64)
        assert server.status()["draining"] is False
    left = short_folder / "left.ctl"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(left))
    assert "nobody listens" in refusal("top", "--control", str(left))


def test_whoever_may_not_ask_is_told_who_may(runtime):
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    with runtime("answers:echo") as server:
        os.chmod(os.path.dirname(os.path.dirname(server.path)), 0o755)
        os.chmod(os.path.dirname(server.path), 0o755)
        script = RUNTIME.read_bytes()
        program = os.path.join(os.path.dirname(server.path), "program.py")
        with open(program, "wb") as file:
            file.write(script)
        try:
            ended = subprocess.run([PYTHON, program, "status", "--control", server.control_path], capture_output=True, text=True,
                                   timeout=60, check=False, cwd="/", env={}, preexec_fn=lambda: os.setuid(65534))
        except PermissionError:
            pytest.skip("the other user cannot run this interpreter")
        finally:
            os.unlink(program)
        if "can't open file" in ended.stderr or ended.returncode > 1:
            pytest.skip("the other user cannot read the interpreter's folder")
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert "user 65534 may not connect to" in ended.stderr and "only user 0 and root may" in ended.stderr


def test_a_supervisor_that_is_stopped_is_told_of(runtime):
    with runtime("answers:echo") as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert "does not answer within 10 s" in refusal("status", "--control", server.control_path)
        finally:
            os.kill(server.pid, signal.SIGCONT)


# -- what they show -----------------------------------------------------------------------------------------------------


def test_status_shows_what_somebody_wants_to_know_at_night(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "2"}, allow_log=[".*"]) as server:
        at = ("--control", server.control_path)
        server.call(b'"import os; os._exit(3)"')
        server.call(json.dumps("raise KeyError('\\x1b[31mred\\nline')").encode())
        assert processes.eventually(lambda: server.status()["state"] == "ready" and len(server.worker_pids()) == 2)
        with server.connect() as connection:
            connection.send(json.dumps("import time; time.sleep(3)").encode())
            assert processes.eventually(lambda: server.status()["running"])
            text = ask("status", *at)
            assert connection.reply()
        assert re.search(r"^asya-runtime \S+, Python \S+, \w+; pid %d, up " % server.pid, text), text
        assert re.search(r"^ready since 20\d\d-", text, re.MULTILINE)
        assert "ASYA_WORKERS=2" in text and "1 running, " in text and server.path in text
        assert re.search(r"^ *\d\.\d\ds  function +\d  raw", text, re.MULTILINE)
        assert re.search(r"ended: 1 exit", text) and re.search(r"^ +\d  (idle|busy)", text, re.MULTILINE)
        assert "KeyError: " in text and "\\x1b[31mred" in text and "\x1b" not in text, "nothing that a terminal would obey"
        ask("drain", *at)
        assert "draining since" in ask("status", *at) and "undo with POST /undrain" in ask("status", *at)


def test_the_verbs_do_what_they_say(runtime):
    with runtime("answers:echo", env={"ASYA_LOG_LEVEL": "INFO"}, allow_log=[".*"]) as server:
        at = ("--control", server.control_path)
        assert "draining: probes fail" in ask("drain", *at) and server.status()["draining"] is True
        assert ask("undrain", *at) == "undrained: ready\n" and server.status()["ready"] is True
        assert ask("log-level", "debug", *at) == "the log level is now DEBUG\n"
        assert server.status()["settings"]["ASYA_LOG_LEVEL"]["value"] == "DEBUG"
        [pid] = server.worker_pids()
        assert re.match(r"worker 0, pid %d:\n.*thread" % pid, ask("stacks", *at))
        assert ask("recycle", *at).startswith("replacing workers, one after the other: 1;")
        assert processes.eventually(lambda: pid not in server.worker_pids() and server.reachable())


# -- top ----------------------------------------------------------------------------------------------------------------


class Screen:
    """`top` in a terminal of its own; what it wrote."""

    def __init__(self, *arguments, size=(24, 80)):
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.execve(PYTHON, [PYTHON, str(RUNTIME), "top", *arguments],
                      {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8", "TERM": "xterm"})
        self.pid, self.text = pid, ""
        import fcntl
        import termios
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def read(self, wanted, seconds=30):
        until = time.monotonic() + seconds
        while not re.search(wanted, self.text) and time.monotonic() < until:
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.terminal, 1 << 16).decode("utf-8", "replace")
                except OSError:
                    break
        return re.search(wanted, self.text)

    def frames(self):
        return [frame.split("\x1b[K\r\n") for frame in self.text.split("\x1b[H")[1:]]

    def ended(self):
        self.read("never comes", 5)
        code = os.waitpid(self.pid, 0)[1]
        os.close(self.terminal)
        return os.WEXITSTATUS(code) if os.WIFEXITED(code) else -os.WTERMSIG(code)


@pytest.mark.parametrize("key, code", [(b"q", 0), (b"\x03", 130)])
def test_top_changes_with_the_runtime_and_leaves_the_terminal_as_it_was(runtime, key, code):
    with runtime("snippets:run", allow_log=["WARNING .*"]) as server:
        screen = Screen("--interval", "0.2", "--control", server.control_path)
        stop = threading.Event()

        def send():
            while not stop.is_set():
                server.result("return 1")
        thread = threading.Thread(target=send)
        thread.start()
        try:
            assert screen.read(r"[1-9][\d.]* requests/s  .*\u2588")
        finally:
            stop.set()
            thread.join()
        server.call(json.dumps("raise ValueError('is told')").encode())
        assert screen.read("validation_error .*is told")
        os.write(screen.terminal, key)
        assert screen.ended() == code
        assert screen.text.startswith("\x1b[?1049h\x1b[?25l") and "\x1b[?25h\x1b[?1049l" in screen.text
        frames = screen.frames()
        assert all(len(frame) <= 24 and max(len(line) for line in frame[:-1]) <= 80 for frame in frames), frames


def test_top_fits_a_small_terminal_and_waits_for_a_runtime_that_is_away(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "12"}) as server:
        screen = Screen("--interval", "0.2", "--control", server.control_path, size=(12, 50))
        assert screen.read("and \\d+ more")
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(0.1)
        os.kill(server.pid, signal.SIGCONT)
        assert screen.read("requests/s")
        time.sleep(0.5)
    assert screen.read("no control socket at")
    assert all(len(frame) <= 12 and max(len(line) for line in frame[:-1]) <= 50 for frame in screen.frames()[1:])
    os.write(screen.terminal, b"q")
    assert screen.ended() == 0


def test_without_a_terminal_top_prints_once(runtime):
    with runtime("answers:echo") as server:
        text = ask("top", "--interval", "0.2", "--control", server.control_path)
        assert "\x1b" not in text and re.search(r"^0 requests/s ", text, re.MULTILINE) and "errors: none" in text
