"""ASYA_SPARES: a worker that is loaded already takes the place of one that dies or is replaced."""
import os
import signal
import time

import pytest

from harness import counting, processes

pytestmark = pytest.mark.supervised

SLOW_LOAD = 2.0
MODULE = """
import os, time
with open("loads", "a") as file:
    file.write("%%d %%s\\n" %% (os.getpid(), os.environ["ASYA_WORKER"]))
with open("loads") as file:
    time.sleep(%r if len(file.readlines()) > %d else 0)
class Model:
    def __init__(self):
        self.answer = %d
    def process(self, payload):
        if payload == "stuck":
            while True:
                try:
                    time.sleep(1)
                except BaseException:
                    pass
        return [os.getpid(), os.environ["ASYA_WORKER"], self.answer]
    def close(self):
        with open("ends", "a") as file:
            file.write("%%d\\n" %% os.getpid())
"""


@pytest.fixture
def model(tmp_path):
    """Writes a module of which the first loads are quick and the next ones take SLOW_LOAD. Each notes its process."""
    def write(quick=2, answer=1, slow=SLOW_LOAD):
        (tmp_path / "model.py").write_text(MODULE % (slow, quick, answer))
        return tmp_path
    return write


def notes(folder, name="loads"):
    path = folder / name
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def states(server):
    return sorted(worker["state"] for worker in server.status()["workers"])


def wait_for(server, *wanted):
    assert processes.eventually(lambda: states(server) == sorted(wanted)), states(server)


def timed(server, payload=1):
    began = time.monotonic()
    return server.result(payload), time.monotonic() - began


def test_nobody_waits_for_a_load_after_a_kill(runtime, model):
    folder = model()
    with runtime("model:Model.process", cwd=folder, env={"ASYA_SPARES": "1"}, allow_log=["ERROR .*SIGKILL"]) as server:
        wait_for(server, "idle", "spare")
        (first, number, _), _ = timed(server)
        os.kill(first, signal.SIGKILL)
        (second, other, _), seconds = timed(server)
        assert second != first and other != number
        assert seconds < SLOW_LOAD / 2
        server.wait_for_log("ERROR .*SIGKILL.*; a spare takes its place")
        server.wait_for_log("INFO worker %s, pid %d, a spare, takes the place of worker %s" % (other, second, number))
        wait_for(server, "idle", "spare")
        assert {number for _, number in notes(folder)} == {"0", "1"}
        assert len(notes(folder)) == 3


def test_nobody_waits_for_a_replacement_and_there_are_never_more_processes(runtime, model):
    folder = model(slow=0.3)
    with runtime("model:Model.process", cwd=folder, env={"ASYA_SPARES": "1", "ASYA_MAX_REQUESTS": "3"}) as server:
        wait_for(server, "idle", "spare")
        served, most = set(), 0
        while len(served) < 4:
            (pid, _, _), seconds = timed(server)
            served.add(pid)
            most = max(most, len(server.worker_pids()))
            assert seconds < 0.25 or len(served) > 2, "the first replacement finds the spare loaded"
        wait_for(server, "idle", "spare")
        assert most <= 3, "two, and one more where a replacement was due before the next spare was loaded"


def test_a_stuck_function_is_replaced_as_soon_as_its_client_has_its_reply(runtime, model):
    env = {"ASYA_SPARES": "1", "ASYA_HANDLER_TIMEOUT": "0.5", "ASYA_HANDLER_GRACE": "3"}
    with runtime("model:Model.process", cwd=model(), env=env, allow_log=["ERROR ", "WARNING "]) as server:
        wait_for(server, "idle", "spare")
        assert server.call(b'"stuck"')["type"] == "HandlerTimeout"
        _, seconds = timed(server)
        assert seconds < SLOW_LOAD / 2, "neither the grace period nor a load"
        server.wait_for_log("INFO .*is replaced: a function does not stop at its time limit")
        wait_for(server, "idle", "spare")


def test_a_spare_is_loaded_anew_where_the_workers_are(runtime, model):
    """POST /recycle, as `serve --reload` asks for: what is loaded already is out of date."""
    folder = model(quick=100)
    with runtime("model:Model.process", cwd=folder, env={"ASYA_SPARES": "2"}, allow_log=["ERROR .*SIGKILL"]) as server:
        wait_for(server, "idle", "spare", "spare")
        before = {pid for pid, _ in notes(folder)}
        assert server.result(1)[2] == 1
        model(quick=100, answer=2)
        assert server.control("/recycle", "POST").json == {"replacing": 1}
        assert processes.eventually(lambda: server.result(1)[2] == 2)
        wait_for(server, "idle", "spare", "spare")
        assert not before & {str(pid) for pid in server.worker_pids()}
        os.kill(server.result(1)[0], signal.SIGKILL)
        assert server.result(1)[2] == 2


def worker_and_spare(server):
    """Their process numbers, once the spare is loaded."""
    wait_for(server, "idle", "spare")
    serving = server.result(1)[0]
    [idle] = [pid for pid in server.worker_pids() if pid != serving]
    return serving, idle


def test_neither_readiness_nor_a_stop_waits_for_a_spare(runtime, model):
    folder = model(quick=1, slow=60)
    with runtime("model:Model.process", cwd=folder, env={"ASYA_SPARES": "1"}) as server:
        wait_for(server, "idle", "starting")
        assert server.control("/readyz").status == 200
        assert timed(server)[1] < 1


def test_a_spare_ends_as_a_worker_does(runtime, model):
    """What the function closes at its end it closes there, too."""
    folder = model()
    with runtime("model:Model.process", cwd=folder, env={"ASYA_SPARES": "1"}) as server:
        wait_for(server, "idle", "spare")
    assert sorted(pid for [pid] in notes(folder, "ends")) == sorted(pid for pid, _ in notes(folder))


def test_a_spare_that_dies_is_loaded_again(runtime, model):
    folder = model(quick=3)
    with runtime("model:Model.process", cwd=folder, env={"ASYA_SPARES": "1"}, allow_log=["ERROR .*SIGKILL"]) as server:
        serving, idle = worker_and_spare(server)
        os.kill(idle, signal.SIGKILL)
        server.wait_for_log("ERROR .*pid %d, .*SIGKILL.*; a new one starts in 0 ms" % idle)
        wait_for(server, "idle", "spare")
        assert server.result(1)[0] == serving
        assert server.status()["state"] == "ready"


def test_a_stopped_spare_is_not_taken(runtime, model):
    folder = model(quick=100)
    with runtime("model:Model.process", cwd=folder, env={"ASYA_SPARES": "1"}, allow_log=["ERROR .*SIGKILL"]) as server:
        serving, idle = worker_and_spare(server)
        os.kill(idle, signal.SIGSTOP)
        assert processes.eventually(lambda: processes.state(idle) == "T")
        os.kill(serving, signal.SIGKILL)
        assert server.result(1)[0] not in (serving, idle)
        os.kill(idle, signal.SIGCONT)
        wait_for(server, "idle", "spare")


@pytest.mark.parametrize("workers, spares", [(1, 1), (2, 1), (2, 3), (3, 0)])
def test_metrics_and_status_count_spares(runtime, workers, spares):
    with runtime("answers:echo", env={"ASYA_WORKERS": str(workers), "ASYA_SPARES": str(spares)}) as server:
        wait_for(server, *["idle"] * workers, *["spare"] * spares)
        families = counting.read_families(server.control("/metrics").text)
        counts = {sample.labels["state"]: sample.value for sample in families["asya_runtime_workers"].samples}
        assert counts["idle"] == workers and counts.get("spare", 0) == spares
        assert ("spare" in counts) == (spares > 0)
