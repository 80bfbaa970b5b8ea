"""The last errors in /status: what each client was told, and with deaths and time limits where the function was."""
import json
import os
import re
import time

from harness import processes
from harness.client import Connection

NOISE = ["(ERROR|WARNING) .*"]


def errors(server, count=1):
    """Once there are so many."""
    return processes.eventually(lambda: (lambda seen: seen if len(seen) >= count else None)(server.status()["errors"]))


def test_each_error_is_what_its_client_was_told(runtime):
    with runtime("snippets:run", allow_log=NOISE) as server:
        assert server.status()["errors"] == []
        replies = [server.call(json.dumps(code).encode()) for code in (
            "raise ValueError('not for sale')", "raise KeyError('missing')", "return object()", "raise MemoryError")]
        replies.append(server.call(b'{"a": '))
        seen = errors(server, 5)
        assert [(error["category"], error["type"], error["message"]) for error in seen] == [
            (reply["error"], reply.get("type", ""), reply["message"][:255]) for reply in replies]
        assert {error["worker"] for error in seen} == {0} and {error["stack"] for error in seen} == {""}
        stamps = [error["time"] for error in seen]
        assert stamps == sorted(stamps) and all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp) for stamp in stamps)


def test_it_names_the_request_and_shows_nothing_of_its_payload(runtime):
    with runtime("snippets:run", allow_log=NOISE) as server:
        message = json.dumps({"id": "order-17", "payload": "secret = 4711\nraise RuntimeError('boom')",
                              "route": {"actors": ["a"], "current": 0}}).encode()
        with server.connect() as connection:
            connection.send(len(message).to_bytes(4, "big") + message)
            connection.half_close()
            connection.receive_all()
        [error] = errors(server)
        assert error["id"] == "order-17" and error["type"] == "RuntimeError" and error["message"] == "boom"
        assert "4711" not in json.dumps(server.status())


def test_a_death_comes_with_the_stack_that_there_was(runtime):
    with runtime("snippets:run", allow_log=NOISE) as server:
        server.call(b'"raise ValueError(1)"')
        reply = server.call(b'"import os; os.kill(os.getpid(), 11)"')
        first, death = errors(server, 2)
        assert first["message"] == "1", "what a worker has noted is kept when it dies"
        assert (death["category"], death["type"], death["message"]) == (reply["error"], reply["type"], reply["message"])
        assert "in body" in death["stack"] and death["worker"] == 0


def test_a_time_limit_comes_once_with_the_stack(runtime):
    with runtime("snippets:run", env={"ASYA_HANDLER_TIMEOUT": "0.3"}, allow_log=NOISE) as server:
        reply = server.call(b'"while True: pass"')
        assert reply["type"] == "HandlerTimeout"
        [error] = errors(server)
        assert error["type"] == "HandlerTimeout" and error["message"] == reply["message"] and "in body" in error["stack"]


def test_the_last_sixteen_are_kept(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "2"}, allow_log=NOISE) as server:
        for number in range(50):
            server.call(json.dumps("raise ValueError('number %d')" % number).encode())
        seen = errors(server, 16)
        assert [error["message"] for error in seen] == ["number %d" % number for number in range(34, 50)]


def test_long_and_strange_texts_are_cut_and_escaped(runtime):
    with runtime("snippets:run", allow_log=NOISE) as server:
        server.call(json.dumps("raise RuntimeError('\\u20ac' * 1000)").encode())
        server.call(json.dumps("raise RuntimeError('\"\\x00\\x1b\\n\\ud800')").encode())
        long, strange = errors(server, 2)
        assert long["message"] == "\u20ac" * 85
        assert strange["message"].startswith('"\x00\x1b\n') or strange["message"].startswith('"')


def test_a_function_that_writes_over_them_harms_nobody(runtime):
    """The ring lies in memory that the function can reach."""
    code = ("import re, ctypes\\nfor line in open('/proc/self/maps'):\\n"
            "    match = re.match(r'(\\\\w+)-(\\\\w+) rw-s .*zero', line)\\n"
            "    if match:\\n        begin = int(match.group(1), 16)\\n        ctypes.memset(begin + 640, 255, 4096)\\n        break\\n"
            "return 1")
    with runtime("snippets:run", allow_log=NOISE) as server:
        server.call(b'"raise ValueError(1)"')
        server.call(b'"%s"' % code.encode())
        for _ in range(3):
            assert server.status()["version"]
            time.sleep(0.05)
        assert processes.eventually(lambda: server.status()["ready"])
