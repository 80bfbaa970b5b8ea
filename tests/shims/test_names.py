"""Where connections have no name, the worker does not take that for a function that has replaced them."""
import os
import signal

import pytest

from harness import shims

DEATH = "ERROR .*worker"


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_without_a_name_are_served(runtime, workers):
    with runtime("snippets:run", env={"ASYA_WORKERS": str(workers), **shims.preloaded("names")}, allow_log=[DEATH]) as server:
        pids = set(server.worker_pids())
        for number in range(20):
            assert server.result("import time\ntime.sleep(0.01)\nreturn %d" % number) == number
        assert set(server.worker_pids()) == pids
        assert server.call("import os\nos.kill(os.getpid(), 9)")["type"] == "WorkerCrashed"
        assert server.result("return 1") == 1
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert server.result("return 2") == 2
