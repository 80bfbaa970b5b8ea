"""`asya_runtime.py probe`: exit code and one line, against a peer that answers as each row says and against the runtime."""
import contextlib
import os
import resource
import socket
import subprocess
import threading
import time

import pytest

from harness import processes
from harness.runtime import PYTHON, RUNTIME

ECHO = "answers:echo"
EMPTY = b'{"error":"empty_message","message":"the message is empty"}'
BAD_JSON = b'{"error":"invalid_json","message":"no JSON value"}'
DRAINING = b'{"error":"server_error","message":"the runtime is shutting down"}'


def http(status):
    body = b'{"status":"x"}'
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def probe(path, *arguments, env=None, timeout=20):
    """Runs the command as a kubelet would. Returns (exit code, its one line)."""
    ended = subprocess.run([PYTHON, str(RUNTIME), "probe", *arguments], env={"ASYA_SOCKET_PATH": str(path), **(env or {})},
                           capture_output=True, timeout=timeout, text=True, check=False)
    assert "Traceback" not in ended.stderr
    if ended.returncode == 64:
        assert ended.stdout == "" and ended.stderr.count("\n") == 1, ended
        return 64, ended.stderr.rstrip("\n")
    assert ended.returncode in (0, 1) and ended.stderr == "" and ended.stdout.count("\n") == 1, ended
    return ended.returncode, ended.stdout.rstrip("\n")


@contextlib.contextmanager
def peer(path, to_http, to_empty):
    """Answers a request that begins with GET by `to_http`, an empty one by `to_empty`; None is silence."""
    heard, kept, over = [], [], threading.Event()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)

    def serve():
        while True:
            connection, _ = listener.accept()
            kept.append(connection)
            if over.is_set():
                return
            heard.append(connection.makefile("rb").read())
            answer = to_http if heard[-1].startswith(b"GET ") else to_empty
            if answer is not None:
                connection.sendall(answer)
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
            thread.join()
        for connection in (*kept, listener):
            connection.close()


# (what the peer is, answer to GET, answer to nothing, exit codes: readiness, startup, liveness)
PEERS = [
    ("ready over HTTP", http(b"200 OK"), None, (0, 0, 0)),
    ("not ready over HTTP", http(b"503 Service Unavailable"), None, (1, 1, 0)),
    ("wrong over HTTP", http(b"404 Not Found"), None, (1, 1, 0)),
    ("cut off in the middle of the status", b"HTTP/1.1 20", None, (1, 1, 0)),
    ("a larger status that begins alike", http(b"2000 OK"), None, (1, 1, 0)),
    ("bare JSON that is up", BAD_JSON, EMPTY, (0, 0, 0)),
    ("bare JSON that is going down", DRAINING, DRAINING, (1, 1, 0)),
    ("bare JSON whose workers are all busy with the second question", BAD_JSON, None, (0, 0, 0)),
    ("length prefix that closes at once", b"", b"", (0, 0, 0)),
]


@pytest.mark.parametrize("to_http, to_empty, codes", [row[1:] for row in PEERS], ids=[row[0] for row in PEERS])
def test_each_question_is_answered_by_exit_code_and_one_line(short_folder, to_http, to_empty, codes):
    path = short_folder / "s"
    with peer(path, to_http, to_empty) as heard:
        for question, code in zip(("--readiness", "--startup", "--liveness"), codes):
            ended, line = probe(path, question)
            assert ended == code, line
            word = "alive" if question == "--liveness" else "ready"
            assert line.startswith("%s: " % word if code == 0 else "not %s: " % word), line
    assert all(not request or request.startswith(b"GET /healthz HTTP/1.1\r\n") for request in heard)


def test_without_a_question_it_asks_for_readiness(short_folder):
    with peer(short_folder / "s", http(b"503 Service Unavailable"), None):
        assert probe(short_folder / "s") == (1, "not ready: GET /healthz is answered 503")


def test_silence_over_http_is_a_no_before_the_timeout(short_folder):
    with peer(short_folder / "s", None, None):
        started = time.monotonic()
        assert probe(short_folder / "s", "--liveness", "--timeout", "0.2")[0] == 1
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("protocol", ["raw", "framed"])
def test_silence_without_http_means_that_the_workers_are_busy(short_folder, protocol):
    with peer(short_folder / "s", None, None) as heard:
        code, line = probe(short_folder / "s", "--liveness", "--timeout", "0.2", env={"ASYA_PROTOCOL": protocol})
        assert code == 0 and "busy" in line
    assert heard == [b""]


def test_nobody_at_the_path(short_folder):
    code, line = probe(short_folder / "s")
    assert code == 1 and str(short_folder / "s") in line and "No such file" in line


def test_a_stale_socket(short_folder):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(short_folder / "s"))
    code, line = probe(short_folder / "s", "--liveness")
    assert code == 1 and "Connection refused" in line


@pytest.mark.parametrize("content, codes", [(None, (1, 0)), ("", (1, 0)), ("ready\n", (0, 0))],
                         ids=["no ready-file", "an empty one, as a full disk leaves it", "one with content"])
def test_readiness_needs_the_ready_file_where_the_settings_have_one(short_folder, content, codes):
    settings = {"ASYA_SOCKET_PATH": "", "ASYA_SOCKET_DIR": str(short_folder), "ASYA_SOCKET_NAME": "s"}
    if content is not None:
        (short_folder / "runtime-ready").write_text(content)
    with peer(short_folder / "s", http(b"200 OK"), None):
        for question, code in zip(("--readiness", "--liveness"), codes):
            ended, line = probe("", question, env=settings)
            assert ended == code, line
            assert code == 0 or "runtime-ready" in line


@pytest.mark.parametrize("arguments", [["--ready"], ["--timeout"], ["--timeout", "0"], ["--timeout", "soon"], ["extra"]],
                         ids=" ".join)
def test_a_wrong_argument_gives_a_usage_line(short_folder, arguments):
    code, line = probe(short_folder / "s", *arguments)
    assert code == 64 and "usage: asya_runtime.py probe" in line and arguments[-1] in line


def test_a_wrong_setting_is_named(short_folder):
    code, line = probe(short_folder / "s", env={"ASYA_WORKERS": "many"})
    assert code == 64 and "ASYA_WORKERS" in line


# -- the runtime itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["auto", "raw", "framed", "http"])
def test_a_serving_runtime_passes_every_question_and_logs_nothing(runtime, protocol):
    with runtime(ECHO, env={"ASYA_PROTOCOL": protocol}) as server:
        for question in ("--readiness", "--startup", "--liveness"):
            code, line = probe(server.path, question, env={"ASYA_PROTOCOL": protocol})
            assert code == 0, line


@pytest.mark.parametrize("protocol", ["auto", "raw"])
def test_a_runtime_whose_only_worker_is_busy_passes_still(runtime, protocol):
    with runtime("answers:nap", env={"ASYA_PROTOCOL": protocol}) as server:
        with server.connect() as connection:
            connection.send(b"2.5")
            connection.half_close()
            time.sleep(0.2)
            for question in ("--readiness", "--liveness"):
                code, line = probe(server.path, question, env={"ASYA_PROTOCOL": protocol})
                assert code == 0, line
            assert connection.reply()["result"] == 2.5


def test_a_runtime_that_imports_is_not_ready_and_one_that_stopped_is_not_alive(runtime):
    with runtime("broken.slow", ready=False) as server:
        processes.eventually(lambda: os.path.exists(server.path + ".lock"))
        assert probe(server.path, "--startup")[0] == 1
        server.wait_ready()
        assert probe(server.path, "--startup")[0] == 0
        assert server.stop() == 0
        assert probe(server.path, "--liveness")[0] == 1


def test_it_costs_little_more_than_an_interpreter(runtime):
    """In processor time, the least of twenty, and compared with the interpreter's own start: how busy or fast the machine is
    does not decide. Published figures are wall time."""
    def least(arguments, path):
        spent = []
        for _ in range(20):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([PYTHON, "-S", "-E", *arguments], env={"ASYA_SOCKET_PATH": path}, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(spent)

    with runtime(ECHO) as server:
        assert least([str(RUNTIME), "probe"], server.path) < 3 * least(["-c", "pass"], server.path)
