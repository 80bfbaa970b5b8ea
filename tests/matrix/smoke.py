"""The contract in a few messages, for every interpreter and place: what a user would notice first."""
import json

from harness import processes

LOG = ["WARNING .*validation_error", "ERROR .*processing_error", "ERROR .*ZeroDivisionError", "WARNING .*invalid_json",
       "ERROR .*worker", "WARNING .*worker"]
VALUE = {"a": [1, -2.5e-300, None, True, "\u20ac\U0001f600\x00"], "big": 2**70, "deep": [[[[{}]]]]}


def check(server):
    """Raises unless the runtime `server`, started on the handler snippets:run, keeps the contract."""
    assert server.result("return %r" % VALUE) == VALUE
    assert server.call("1/0") == {"error": "processing_error", "message": "division by zero", "type": "ZeroDivisionError"}
    assert server.call("raise ValueError('v')") == {"error": "validation_error", "message": "v"}
    assert server.call("raise SystemExit(2)")["type"] == "SystemExit"
    assert server.call(b'{"a":')["error"] == "invalid_json"
    text = "\u00e9" * 300_000
    assert server.result("return " + repr(text)) == text
    assert server.call(json.dumps("return 1").encode(), chunk=1)["result"] == 1
    [worker] = server.worker_pids()
    assert server.call("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")["type"] == "WorkerCrashed"
    assert server.result("return 2") == 2
    assert processes.eventually(lambda: server.worker_pids() not in ([], [worker]), 5)
    assert server.stop() == 0
