"""`asya_runtime.py call`: one message in the foreground, or to a running runtime."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from harness.runtime import PYTHON, RUNTIME

HANDLERS = '''
import dataclasses
import time

@dataclasses.dataclass
class Order:
    number: int

def echo(payload):
    return payload

def typed(order: Order):
    return {"number": order.number + 1}

async def waits(payload):
    import asyncio
    await asyncio.sleep(0.01)
    return payload

def yields(payload):
    for number in range(payload):
        yield number
        time.sleep(0.2)

def raises(payload):
    raise {"value": ValueError, "key": KeyError, "memory": MemoryError}[payload]("as told")

def sleeps(payload):
    time.sleep(60)

def stops(payload):
    doubled = payload * 2
    breakpoint()
    return doubled

class Model:
    def __enter__(self):
        print("begins")
        return self

    def __exit__(self, *exception):
        print("ends")

    def predict(self, payload):
        return payload
'''


@pytest.fixture
def folder(short_folder):
    (short_folder / "mine.py").write_text(HANDLERS)
    return short_folder


def call(folder, *arguments, stdin="", **env):
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder), **env}
    return subprocess.run([PYTHON, str(RUNTIME), "call", *arguments], cwd=folder, env=env, input=stdin, capture_output=True,
                          text=True, timeout=60, check=False)


@pytest.mark.parametrize("handler, payload, result", [
    ("mine:echo", '{"a": [1, "é"]}', '{"a":[1,"é"]}'), ("mine:echo", "-1", "-1"), ("mine:echo", "null", "null"),
    ("mine:typed", '{"number": 1}', '{"number":2}'), ("mine:waits", '"x"', '"x"'), ("mine:yields", "2", "[0,1]"),
    ("mine:Model.predict", "[]", "begins\n[]\nends")])
def test_the_result_is_the_one_that_is_served(folder, handler, payload, result):
    ended = call(folder, handler, payload)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, result + "\n", "")
    assert not list(folder.glob("asya-*")), "nothing is left behind"


def test_the_payload_may_be_a_file_or_standard_input(folder):
    (folder / "message.json").write_text('{"from": "file"}')
    assert call(folder, "mine:echo", "@message.json").stdout == '{"from":"file"}\n'
    assert call(folder, "mine:echo", "-", stdin="[1]").stdout == "[1]\n"
    assert call(folder, "mine:echo", stdin="[2]").stdout == "[2]\n"
    assert call(folder, "[3]", ASYA_PROCESS_MODULE="mine:echo").stdout == "[3]\n"


@pytest.mark.parametrize("handler, payload, code, words", [
    ("mine:raises", '"value"', 10, "validation_error: as told"), ("mine:typed", '{"number": "x"}', 10, "int expected, not str"),
    ("mine:raises", '"key"', 11, "processing_error: KeyError: "), ("mine:raises", '"memory"', 12, "out_of_memory: as told"),
    ("mine:echo", "{", 13, "invalid_json: "), ("mine:echo", "", 13, "empty_message: ")])
def test_the_exit_code_tells_the_category(folder, handler, payload, code, words):
    ended = call(folder, handler, payload)
    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    assert words in ended.stderr.splitlines()[-1]


def test_a_traceback_shows_the_line_that_raised(folder):
    assert re.search(r'mine\.py", line \d+, in raises', call(folder, "mine:raises", '"key"').stderr)


def test_the_other_protocols_get_a_message_around_the_payload(folder):
    [item] = json.loads(call(folder, "mine:echo", '{"a": 1}', "--protocol", "framed").stdout)
    assert item["payload"] == {"a": 1} and item["route"]["current"] == 1
    reply = json.loads(call(folder, "mine:echo", '{"a": 1}', "--protocol", "http").stdout)
    assert reply["frames"][0]["payload"] == {"a": 1}
    whole = '{"payload": 5, "route": {"prev": ["x"], "curr": "y", "next": ["z"]}}'
    reply = json.loads(call(folder, "mine:echo", whole, "--protocol", "http").stdout)
    assert reply["frames"][0] == {"payload": 5, "route": {"prev": ["x", "y"], "curr": "z", "next": []}}
    assert call(folder, "mine:raises", '"key"', "--protocol", "http").returncode == 11


def test_what_a_generator_yields_is_shown_as_it_comes(folder):
    process = subprocess.Popen([PYTHON, "-u", str(RUNTIME), "call", "mine:yields", "3", "--protocol", "http"], cwd=folder,
                               stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], "TMPDIR": str(folder)})
    seen = [(time.monotonic(), line) for line in process.stdout if line.startswith(b"data: ")]
    assert process.wait(timeout=30) == 0 and [b'"payload":%d' % n in line for n, (_, line) in enumerate(seen[:3])] == [True] * 3
    assert seen[2][0] - seen[0][0] > 0.2 and seen[3][1] == b"data: {}\n"


def test_a_running_runtime_is_asked_through_its_socket(runtime, folder):
    with runtime("answers:echo") as server:
        for protocol in ("raw", "framed", "http"):
            ended = call(folder, "--socket", server.path, '{"a": 1}', "--protocol", protocol)
            assert ended.returncode == 0 and '{"a":1}' in ended.stdout
        ended = call(folder, "mine:echo", "1", "--socket", server.path)
        assert ended.returncode == 64 and "leave out 'mine:echo'" in ended.stderr


@pytest.mark.parametrize("arguments, code, words", [
    (["mine:echo", "@nothere"], 1, "cannot read the payload: nothere: No such file"),
    (["mine:echo", "@."], 1, "cannot read the payload: .: Is a directory"),
    (["mine:echo", "{a:", "1}"], 64, "quote JSON for the shell"),
    (["--socket", "nothere.sock", "1"], 1, "no runtime answers at nothere.sock"),
    (["mine:echo", "1", "--protocol", "grpc"], 64, "invalid choice"),
    (["mine:echo", "1", "--workers", "x"], 64, "ASYA_WORKERS is 'x'"),
    (["mine:nothing", "1"], 67, "has no attribute 'nothing'"), (["nowhere:at", "1"], 66, "module 'nowhere'")])
def test_a_mistake_is_told_in_a_line(folder, arguments, code, words):
    ended = call(folder, *arguments)
    assert (ended.returncode, ended.stdout) == (code, "") and words in ended.stderr, ended.stderr
    if code in (1, 64):
        assert ended.stderr.count("\n") == 1


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, folder, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(PYTHON, [PYTHON, str(RUNTIME), *arguments], {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "TERM": "dumb"})
        self.seen = b""

    def read_until(self, words, patience=30):
        end = time.monotonic() + patience
        while words not in self.seen and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError:  # it has ended
                    break
        assert words in self.seen, self.seen

    def end(self):
        """The exit code, once it has ended."""
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def test_a_debugger_has_the_terminal(folder):
    terminal = Terminal(folder, "call", "mine:stops", "21")
    terminal.read_until(b"(Pdb) ")
    os.write(terminal.fd, b"p doubled + 100\n")
    terminal.read_until(b"142")
    os.write(terminal.fd, b"c\n")
    terminal.read_until(b"\r\n42\r\n")
    assert terminal.end() == 0


def test_ctrl_c_ends_it(folder):
    (folder / "mine.py").write_text("import time\ndef process(payload):\n    print('runs', flush=True)\n    time.sleep(60)\n")
    terminal = Terminal(folder, "call", "mine", "1")
    terminal.read_until(b"runs")
    os.write(terminal.fd, b"\x03")
    terminal.read_until(b"KeyboardInterrupt")
    assert terminal.end() == 128 + signal.SIGINT
