"""--record: the requests that fail are kept as files, bounded, and `call @FILE` sends them again as they came."""
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import threading

import pytest

from harness import processes, protocols
from harness.runtime import PYTHON, RUNTIME

NOISE = ["(ERROR|WARNING) .*"]
NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z-(\d+)-\d+\.recorded")
FILES, BYTES = 100, 64 << 20  # the bounds that docs/operating.md promises
FAILURES = {"validation_error": ("raise ValueError('bad')", 10), "processing_error": ("raise KeyError('x')", 11),
            "out_of_memory": ("raise MemoryError", 12), "WorkerCrashed": ("import os; os.kill(os.getpid(), 9)", -9),
            "WorkerExited": ("import os; os._exit(3)", 3)}


def kept(folder):
    """The files in the folder, the oldest first, once no request is being finished there."""
    names = processes.eventually(lambda: (lambda found: found if not any(
        name.startswith(".") for name in found) else None)(sorted(os.listdir(folder))))
    assert names is not False and all(NAME.fullmatch(name) for name in names or []), names
    return [pathlib.Path(folder, name) for name in names or []]


def count_of(folder, count):
    """The files, once there are so many."""
    assert processes.eventually(lambda: len(os.listdir(folder)) == count), os.listdir(folder)
    return kept(folder)


def message_of(file):
    """The message in a recorded file, as the runtime has written it."""
    head, _, message = file.read_bytes().partition(b"\n\n")
    assert b"\nsize: %d" % len(message) in head
    return message


def call(*arguments, env=None, cwd="/"):
    """How `call` ends, without any setting but `env`."""
    return subprocess.run([PYTHON, str(RUNTIME), "call", *map(str, arguments)], capture_output=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, cwd=cwd, env={"PATH": os.environ["PATH"], **(env or {})})


def test_what_succeeds_leaves_nothing(runtime, tmp_path):
    folder = tmp_path / "rec"
    with runtime("snippets:run", args=["--record", str(folder)]) as server:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert server.result(b'"return 1"') == 1
        for protocol in ("framed", "http"):
            assert call("--socket", server.path, "--protocol", protocol, '"return 1"').returncode == 0
        assert count_of(folder, 0) == []
    with runtime("yields:run", env={"ASYA_RECORD_DIR": str(folder)}, allow_log=NOISE) as server:
        assert call("--socket", server.path, "--protocol", "http", '"yield 1"').returncode == 0
        assert count_of(folder, 0) == []
        assert call("--socket", server.path, "--protocol", "http", '"yield 1\\nraise KeyError(2)"').returncode == 11
        assert len(count_of(folder, 1)) == 1, "a stream that has begun"


def test_while_a_request_runs_its_file_is_there_for_the_case_that_everything_is_killed(runtime, tmp_path):
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(tmp_path)}, code=None, leaves=["app.sock", "app.sock.ctl", "app.sock.lock", "app.sock.ctl.lock"]) as server:
        with server.connect() as connection:
            connection.send(b'"import time; time.sleep(60)"')
            [file] = count_of(tmp_path, 1)
            assert stat.S_IMODE(file.stat().st_mode) == 0o400, "it has not ended"
            os.killpg(server.process.pid, signal.SIGKILL)
            server.wait()
        assert kept(tmp_path) == [file] and message_of(file) == b'"import time; time.sleep(60)"'


@pytest.mark.parametrize("kind", FAILURES)
def test_each_failure_is_kept_and_fails_again_when_it_is_sent_again(runtime, tmp_path, kind):
    code, ends = FAILURES[kind]
    message = json.dumps(code).encode()
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(tmp_path)}, allow_log=NOISE) as server:
        reply = server.call(message)
        assert kind in (reply["error"], reply.get("type"))
        [file] = count_of(tmp_path, 1)
        assert message_of(file) == message
        server.wait_ready()
        assert server.result(b'"return 2"') == 2
        [error] = processes.eventually(lambda: server.status()["errors"])
        assert error["recorded"] == str(file)
        assert file.stat().st_mode & 0o077 == 0
        shown = subprocess.run([PYTHON, str(RUNTIME), "status", "--socket", server.path], capture_output=True, text=True, check=True)
        assert "call @%s" % file in shown.stdout
    env = {"PYTHONPATH": server.env["PYTHONPATH"], "ASYA_PROCESS_MODULE": "another:function", "ASYA_HANDLER_MODE": "envelope"}
    again = call("@%s" % file, env=env)
    assert again.returncode == ends, again


def test_a_time_limit_is_kept_with_and_without_the_death_of_its_worker(runtime, tmp_path):
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(tmp_path), "ASYA_HANDLER_TIMEOUT": "0.3", "ASYA_HANDLER_GRACE": "0.3"},
                 allow_log=NOISE) as server:
        obeys, hangs = b'"while True: pass"', b'"while True:\\n  try:\\n    while True: pass\\n  except BaseException: pass"'
        for message in (obeys, hangs):
            assert server.call(message)["type"] == "HandlerTimeout"
            server.wait_ready()
        files = count_of(tmp_path, 2)
        assert [message_of(file) for file in files] == [obeys, hangs]
        named = {error["recorded"] for error in server.status()["errors"] if error["type"] == "HandlerTimeout"}
        assert named == set(map(str, files))


def test_a_message_of_any_protocol_is_sent_again_with_all_that_came_with_it(runtime, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    envelope = {"id": "e-1", "headers": {"a": "ä"}, "payload": "raise ValueError(1)", "status": {"deadline_at": "2099-01-01T00:00:00Z"}}
    framed = json.dumps({**envelope, "route": {"actors": ["a", "b"], "current": 1}}).encode()
    http = json.dumps({**envelope, "route": {"prev": ["x"], "curr": "a", "next": ["b"]}}).encode()
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(first)}, allow_log=NOISE) as server:
        server.call(b'{"a": ')
        with server.connect() as connection:
            connection.send(len(framed).to_bytes(4, "big") + framed)
            assert b"_error" in connection.receive_all()
        trace = "00-%032x-%016x-01" % (7, 9)
        assert protocols.invoke(server.path, http, {"X-Request-ID": "r-7", "traceparent": trace, "tracestate": "k=v"})[0] == 500
        files = count_of(first, 3)
        assert [message_of(file) for file in files] == [b'{"a": ', framed, http]
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(second)}, allow_log=NOISE) as server:
        for file, code in zip(files, (13, 11, 11)):
            assert call("--socket", server.path, "@%s" % file).returncode == code
        again = count_of(second, 3)
        assert message_of(again[0]) == message_of(files[0])
        for one, other in list(zip(files, again))[1:]:
            sent = json.loads(message_of(one))
            assert sent["status"].pop("deadline_at") and json.loads(message_of(other)) == sent
        of_head = lambda file: [line for line in file.read_bytes().partition(b"\n\n")[0].splitlines()
                                if not line.startswith((b"asya-recorded", b"size"))]
        assert [of_head(file) for file in again] == [of_head(file) for file in files]
        assert {b"id: r-7", b"traceparent: " + trace.encode(), b"tracestate: k=v"} <= set(of_head(files[2]))
    refused = call("@%s" % files[1], "--protocol", "http")
    assert refused.returncode == 64 and b"came over framed" in refused.stderr and refused.stderr.count(b"\n") == 1
    files[1].write_bytes(files[1].read_bytes()[:-1])
    damaged = call("@%s" % files[1])
    assert damaged.returncode == 1 and b"is damaged" in damaged.stderr and damaged.stderr.count(b"\n") == 1


def test_the_newest_are_kept_and_others_files_stay(runtime, tmp_path):
    target = tmp_path / "target"
    target.write_text("stays")
    folder = tmp_path / "rec"
    folder.mkdir()
    (folder / "notes.txt").write_text("stays")
    (folder / "2000-01-01T000000.000Z-1-1.recorded").symlink_to(target)
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(folder), "ASYA_WORKERS": "2", "ASYA_CONCURRENCY": "4"},
                 allow_log=NOISE) as server:
        def fail(number):
            for index in range(50):
                assert server.call(json.dumps("raise ValueError(%d)" % (number * 50 + index)).encode())["message"].isdigit()

        threads = [threading.Thread(target=fail, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        names = lambda: [name for name in os.listdir(folder) if not name.startswith(("notes", "2000", "."))]
        assert processes.eventually(lambda: len(names()) == FILES), len(names())
        for name in names():
            message_of(folder / name)
    assert target.read_text() == "stays" and (folder / "notes.txt").exists()


def test_all_together_are_bounded_in_bytes_and_a_large_message_is_kept_whole(runtime, tmp_path):
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(tmp_path)}, allow_log=NOISE) as server:
        for number in range(8):
            message = json.dumps("raise ValueError(%d)#%s" % (number, "x" * (10 << 20))).encode()[: (10 << 20) - 1] + b'"'
            assert server.call(message)["message"] == str(number)
            assert processes.eventually(lambda: sum(file.stat().st_size for file in kept(tmp_path)) <= BYTES)
        files = count_of(tmp_path, 6)
        assert message_of(files[-1]) == message


def test_a_crash_at_every_request_is_bounded_too(runtime, tmp_path):
    for number in range(FILES + 3):
        (tmp_path / ("2001-01-01T%06d.000Z-999999999-1.recorded" % number)).write_bytes(b"")
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(tmp_path)}, allow_log=NOISE) as server:
        assert processes.eventually(lambda: len(os.listdir(tmp_path)) == FILES)
        assert server.call(json.dumps(FAILURES["WorkerCrashed"][0]).encode())["type"] == "WorkerCrashed"
        server.wait_ready()
        assert server.result(b'"return 1"') == 1
        assert processes.eventually(lambda: len(os.listdir(tmp_path)) == FILES)
        assert stat.S_IMODE(kept(tmp_path)[-1].stat().st_mode) == 0o400


def test_a_client_that_went_away_is_no_failure(runtime, tmp_path):
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(tmp_path)}, allow_log=NOISE) as server:
        with server.connect() as connection:
            connection.send(b'"while True: pass"')
            count_of(tmp_path, 1)
        count_of(tmp_path, 0)


def test_a_folder_that_goes_is_one_warning_and_no_error_of_a_message(runtime, tmp_path):
    folder = tmp_path / "rec"
    with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(folder)}, allow_log=NOISE) as server:
        folder.rmdir()
        for _ in range(20):
            assert server.result(b'"return 1"') == 1
        assert server.call(b'"raise ValueError(1)"')["error"] == "validation_error"
        [warning] = server.wait_for_log("cannot record requests")
        assert str(folder) in warning.message and "No such file" in warning.message
        folder.mkdir()
        assert server.call(b'"raise ValueError(1)"')["error"] == "validation_error"
        count_of(folder, 1)


def test_a_full_disk_is_one_warning_and_leaves_no_torn_file(runtime, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=False).returncode:
        pytest.skip("cannot mount a small file system")
    try:
        with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(folder)}, allow_log=NOISE) as server:
            for _ in range(3):
                assert server.result(b'"return 1 #' + b"x" * 200000 + b'"') == 1
            server.wait_for_log("cannot record requests.*No space left")
            assert os.listdir(folder) == []
            assert server.call(b'"raise ValueError(1)"')["error"] == "validation_error"
            [file] = count_of(folder, 1)
            assert message_of(file) == b'"raise ValueError(1)"'
            assert len([line for line in server.logs() if "cannot record" in line.text]) == 1
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with runtime("snippets:run", env={"ASYA_RECORD_DIR": str(folder)}, allow_log=NOISE) as server:
            server.wait_for_log("cannot record requests.*Read-only file system")
            assert server.result(b'"return 1"') == 1
            assert server.call(b'"raise ValueError(1)"')["error"] == "validation_error"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_folder_that_cannot_be_one_ends_the_start_with_one_line(refuse, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for path, why in ((file, "Not a directory"), (tmp_path / "no" / "such", "No such file or directory")):
        refused = refuse("snippets:run", args=["--record", str(path)])
        assert refused.code == 64 and "ASYA_RECORD_DIR is '%s'" % path in refused.cause and why in refused.cause


def test_a_relative_folder_stays_where_it_was_when_the_function_moves(runtime, tmp_path):
    with runtime("snippets:run", args=["--record-dir=rec"], cwd=tmp_path, allow_log=NOISE) as server:
        assert server.result(b'"import os; os.chdir(\'/\')"') is None
        server.call(b'"raise ValueError(1)"')
        count_of(tmp_path / "rec", 1)
