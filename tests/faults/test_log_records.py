"""Records of the log: each one whole, whatever a client or the function says, for people and as JSON."""
import json
import os
import pty
import re
import threading

import pytest

from harness import client, logs, processes
from harness.runtime import REPOSITORY

EVENTS = re.findall(r'^LOG_EVENT\((\w+), "(\w+)", "(.*)"\)$', (REPOSITORY / "src/base/events.def").read_text(), re.MULTILINE)
ODD = "frame_%d(depth - 1, what)  # and so many words that the line of the traceback is long, which takes some room"


@pytest.fixture
def deep(short_folder):
    """A module whose traceback Python does not shorten: no frame is like the one before."""
    functions = "".join("def frame_%d(depth, what):\n    return %s\n" % (i, ODD % (i + 1)) for i in range(60))
    (short_folder / "deep.py").write_text(
        functions + "def frame_60(depth, what):\n    raise RuntimeError(what)\ndef process(payload):\n    return frame_0(60, payload)\n")
    return {"PYTHONPATH": str(short_folder)}


def records_of(server):
    return [json.loads(line) for line in server.log_text().splitlines()]


def test_every_record_of_a_json_log_is_an_object_with_a_known_event(runtime, deep):
    env = {**deep, "ASYA_LOG_FORMAT": "json", "ASYA_HANDLER_TIMEOUT": "5"}
    with runtime("deep:process", env=env, allow_log=[""]) as server:
        server.call('"x"')
        server.call(b"{]")
        os.kill(server.worker_pids()[0], 9)
        processes.eventually(lambda: len(re.findall("worker_ready", server.log_text())) == 2)
        server.stop()
        records = records_of(server)
    names = [record["event"] for record in records]
    assert set(names) <= {name for _, name, _ in EVENTS}
    assert names[:3] == ["worker_started", "worker_ready", "runtime_ready"] and names[-1] == "runtime_stopped"
    assert {"request_failed", "request_refused", "worker_died", "runtime_stopping"} <= set(names)
    [failed] = [record for record in records if record["event"] == "request_failed"]
    assert (failed["category"], failed["error_type"], failed["worker"]) == ("processing_error", "RuntimeError", 0)
    assert 0 < failed["duration_seconds"] < 5 and failed["pid"] != server.pid
    assert failed["stack"].startswith("Traceback (most recent call last):\n") and failed["stack"].count("frame_") > 120
    [died] = [record for record in records if record["event"] == "worker_died"]
    assert (died["worker"], died["pid"], died["error_type"]) == (0, failed["pid"], "WorkerCrashed")
    assert records[-1]["pid"] == server.pid and "worker" not in records[-1]


def test_a_traceback_for_people_has_its_lines_and_none_looks_like_a_record(runtime, deep):
    forged = "\n2026-01-31T23:59:59.123Z ERROR forged\n\r\x1b[31m{\"level\":\"ERROR\"}"
    with runtime("deep:process", env=deep, allow_log=[""]) as server:
        server.call(json.dumps(forged))
        [line] = server.wait_for_log("ERROR .*RuntimeError")
        assert line.text.count("\n    ") == line.text.count("\n") > 120
        assert "forged" in line.text and "\x1b" not in line.text and "\r" not in line.text
        assert not [line for line in server.logs() if line.text.startswith("2026-01-31")]


def test_long_records_of_several_workers_do_not_mix(runtime, deep):
    """Through one pipe that is read slowly: they are longer than what a pipe takes whole or not at all."""
    reader, end = os.pipe()
    env = {**deep, "ASYA_WORKERS": "4", "ASYA_LOG_FORMAT": "json"}
    got = []

    def read():
        while part := os.read(reader, 5000):
            got.append(part)

    thread = threading.Thread(target=read)
    with runtime("deep:process", env=env, stderr=end) as server:
        thread.start()

        def send():
            for _ in range(40):
                server.call('"%s"' % ("x" * 200))

        senders = [threading.Thread(target=send) for _ in range(8)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    os.close(end)
    thread.join(client.PATIENCE)
    os.close(reader)
    records = [json.loads(line) for line in b"".join(got).splitlines()]
    failed = [record for record in records if record["event"] == "request_failed"]
    assert len(failed) + lost_in(records) == 320 and len(failed) > 50
    assert all(len(record["stack"]) > 8000 for record in failed)


def lost_in(records):
    """How many records are said to be lost."""
    return sum(int(record["message"].split()[0]) for record in records if record["event"] == "log_lost")


@pytest.mark.parametrize("settings, coloured", [
    ({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ({"TERM": "dumb"}, False), ({}, False), ({"TERM": "xterm", "ASYA_LOG_FORMAT": "json"}, False)])
def test_levels_have_colours_on_a_terminal_only(runtime, settings, coloured):
    main, terminal = pty.openpty()
    with runtime("snippets:run", env=settings, stderr=terminal) as server:
        server.call("raise RuntimeError('visible')")
        server.call("import logging\nlogging.error('said')")
    os.close(terminal)
    seen = b""
    try:
        while part := os.read(main, 65536):
            seen += part
    except OSError:  # the end of a terminal
        pass
    os.close(main)
    assert b"visible" in seen and b"said" in seen
    assert (seen.count(b" \x1b[31mERROR\x1b[0m ") == 2) == coloured and (b"\x1b" in seen) == coloured


def test_in_a_pipe_or_file_nothing_has_a_colour(runtime):
    with runtime("snippets:run", env={"TERM": "xterm"}, allow_log=["ERROR"]) as server:
        server.call("raise RuntimeError('visible')")
        server.wait_for_log("visible")
        assert "\x1b" not in server.log_text()


def test_the_table_of_events_is_in_the_documents():
    text = (REPOSITORY / "docs/logs.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    known = [(name, meaning.replace("|", "\\|")) for _, name, meaning in EVENTS]
    assert [row for row in listed if row[0] in {name for name, _ in known}] == known
    assert all(constant.lower() == name for constant, name, _ in EVENTS)


def test_every_event_is_written_somewhere():
    sources = "".join(path.read_text() for path in (REPOSITORY / "src").rglob("*.c"))
    assert [constant for constant, _, _ in EVENTS if not re.search(r"\bEVENT_%s\b" % constant, sources)] == []


def test_lines_are_judged_with_their_stack():
    """The harness itself."""
    data = b"2026-01-31T23:59:59.123Z ERROR it failed\n    Traceback\n      File\nprinted\n    indented\n"
    assert [line.level for line in logs.split(data)] == ["ERROR", None, None]
