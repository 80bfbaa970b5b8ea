"""What a function prints costs no message its reply, whoever reads it (B2)."""
import fcntl
import os
import subprocess
import threading

import pytest

from harness import processes

PRINT = "import sys\nprint('x' * 100)\nsys.stderr.write('y' * 100 + '\\n')\nreturn 1"
NOISE = ["^y+$", "^$"]


@pytest.fixture
def pipe():
    """Both ends of a pipe, as files that may be closed."""
    receive, send = os.pipe()
    with open(receive, "rb", buffering=0) as reader, open(send, "wb", buffering=0) as writer:
        yield reader, writer


def set_flags(file, flags):
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | flags)


@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}, {"ASYA_CONCURRENCY": "3"}], ids=["", "unbuffered", "threads"])
def test_a_reader_that_is_gone_fails_no_message(runtime, pipe, env):
    reader, writer = pipe
    with runtime("snippets:run", env=env, stdout=writer, allow_log=NOISE) as server:
        assert server.result(PRINT) == 1
        reader.close()
        for _ in range(3):
            assert server.result(PRINT) == 1
        assert server.result("import logging, sys\nlogger = logging.getLogger('z')\n"
                             "logger.addHandler(logging.StreamHandler(sys.stdout))\nlogger.warning('z')\nsys.stdout.buffer.write(b'z')\nsys.stdout.flush()\nreturn 1") == 1


def test_a_disk_that_is_full_fails_no_message(runtime):
    with open("/dev/full", "wb") as full:
        with runtime("snippets:run", stdout=full, allow_log=NOISE) as server:
            for _ in range(3):
                assert server.result(PRINT) == 1


def test_a_descriptor_that_is_closed_fails_no_message(runtime):
    with runtime("snippets:run", worker_descriptors=True, allow_log=NOISE) as server:
        assert server.result("import os\nos.close(1)\nos.close(2)\nreturn 1") == 1
        for _ in range(3):
            assert server.result(PRINT) == 1


@pytest.mark.parametrize("close", ["sys.stdout.close()", "sys.stdout.close()\nsys.stderr.close()"], ids=["stdout", "both"])
def test_a_stream_one_message_closes_is_open_for_the_next(runtime, close):
    with runtime("snippets:run", allow_log=NOISE) as server:
        assert server.result("import sys\n%s\nreturn 1" % close) == 1
        assert server.result(PRINT) == 1
        assert processes.eventually(lambda: b"x" * 100 in server.out_file.read_bytes(), 5)


@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["", "unbuffered"])
def test_a_pipe_that_does_not_block_is_waited_for_and_loses_nothing(runtime, pipe, env):
    """As when a parent in Node or asyncio made it."""
    reader, writer = pipe
    set_flags(writer, os.O_NONBLOCK)
    got = []
    with runtime("snippets:run", env=env, stdout=writer) as server:
        writer.close()
        with server.connect() as connection:
            connection.send(b'"for i in range(3000): print(str(i) * 100)\\nreturn 1"')
            assert processes.eventually(lambda: blocked(server), 10), "the pipe is full and nobody reads"

            def read():
                while not got or got[-1]:
                    got.append(os.read(reader.fileno(), 1 << 16))

            reading = threading.Thread(target=read)
            reading.start()
            assert connection.reply()["result"] == 1
        server.stop()
        reading.join()
    assert b"".join(got).decode() == "".join(str(i) * 100 + "\n" for i in range(3000))


def blocked(server):
    """Whether a worker sleeps in poll()."""
    def waits(pid):
        with open("/proc/%d/wchan" % pid) as file:
            return "poll" in file.read() and "epoll" not in file.read()
    return any(waits(pid) for pid in server.worker_pids())


TEXTS = {"not in the encoding": "'\\u20ac'", "half a character": "'\\ud83d'", "an undecodable name": "'\\udcff'"}


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_that_cannot_be_encoded_fails_no_message(runtime, text, encoding):
    with runtime("snippets:run", env={"PYTHONIOENCODING": encoding}) as server:
        assert server.result("print('a', %s, 'b')\nreturn 1" % text) == 1
        [line] = server.out_file.read_bytes().splitlines()
        assert line.startswith(b"a ") and line.endswith(b" b")


def test_what_the_user_has_chosen_for_such_texts_stays(runtime):
    with runtime("snippets:run", env={"PYTHONIOENCODING": "ascii:replace"}) as server:
        assert server.result("print('\\u20ac')\nreturn 1") == 1
        assert server.out_file.read_bytes() == b"?\n"


def test_they_are_still_files(runtime):
    seen = ("import io, os, sys\nsys.stdout.buffer.write(b'bytes\\n')\nsys.stdout.flush()\nos.write(sys.stdout.fileno(), b'low\\n')\n"
            "import subprocess\nsubprocess.run(['echo', 'child'], stdout=sys.stdout)\n"
            "return [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.name, sys.stdout.mode, sys.stdout.isatty(),\n"
            "        sys.stdout.encoding.lower(), sys.stdout is sys.__stdout__, isinstance(sys.stdout, io.TextIOWrapper)]")
    with runtime("snippets:run") as server:
        assert server.result(seen) == [1, 2, "<stdout>", "w", False, "utf-8", True, True]
        assert server.out_file.read_bytes() == b"bytes\nlow\nchild\n"


def test_a_stream_that_somebody_has_put_there_stays(runtime, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import io, sys\nsys.stdout = io.StringIO()\n")
    (tmp_path / "mine.py").write_text("import sys\ndef process(p):\n    return type(sys.stdout).__name__\n")
    with runtime("mine", env={"PYTHONPATH": tmp_path}) as server:
        assert server.result(1) == "StringIO"
