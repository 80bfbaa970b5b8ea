"""A worker that is stopped from outside (SIGSTOP) and does not go on: others serve in its place (W7)."""
import json
import os
import signal
import time

import pytest

from harness import processes
from harness.protocols import HttpConnection, hops

pytestmark = pytest.mark.supervised


def post(connection, payload):
    connection.request("POST", "/invoke", json.dumps(hops(payload)).encode(), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())["frames"][0]["payload"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_idle_worker_that_is_stopped_silences_nobody(runtime, workers):
    with runtime("answers:echo", env={"ASYA_WORKERS": str(workers), "ASYA_GRACE_PERIOD": "2"}, allow_log=["WARNING", "ERROR"]) as server:
        stopped = server.worker_pids()[0]
        kept = [HttpConnection(server.path) for _ in range(4)]
        assert [post(connection, 1) for connection in kept] == [(200, 1)] * 4
        time.sleep(0.2)  # it has sent a reply before it is through with it: now it waits
        os.kill(stopped, signal.SIGSTOP)
        assert [post(connection, 2) for connection in kept] == [(200, 2)] * 4, "on connections that were kept"
        assert server.result(3) == 3, "and on a new one"
        [line] = server.wait_for_log("is replaced: it was stopped")
        assert "pid %d," % stopped in line.text
        for connection in kept:
            connection.close()
        os.kill(stopped, signal.SIGCONT)
        assert processes.eventually(lambda: not processes.alive(stopped), 10), "it goes once it can"


def test_a_worker_that_goes_on_at_once_stays(runtime):
    with runtime("answers:echo") as server:
        [pid] = server.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
        assert server.result(1) == 1
        assert server.worker_pids() == [pid] and "is replaced" not in server.log_text()
