"""ASYA_PRELOAD: the function is loaded once, in a template, and workers are forked from that."""
import json
import os
import re
import signal
import sys
import time

import pytest

from harness import client, counting, processes

pytestmark = [pytest.mark.supervised, pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="needs CPython 3.7")]

SLOW_LOAD = 1.5
MODULE = """
import os, random, time
with open("loads", "a") as file:
    file.write("%%d\\n" %% os.getpid())
with open("loads") as file:
    time.sleep(%(slow)r if len(file.readlines()) > %(quick)d else 0)
BIG = bytearray(b"x" * %(size)d)
hooks = []
os.register_at_fork(after_in_child=lambda: hooks.append(os.getpid()))
class Model:
    def __init__(self):
        self.made, self.shared, self.forked = os.getpid(), None, None
    def preload(self):
        self.shared = os.getpid()
    def after_fork(self):
        self.forked = os.getpid()
        %(after)s
    def process(self, payload):
        if payload == "hang":
            while True:
                try:
                    time.sleep(1)
                except BaseException:
                    pass
        return {"pid": os.getpid(), "made": self.made, "shared": self.shared, "forked": self.forked, "hooks": hooks,
                "worker": os.environ["ASYA_WORKER"], "random": random.random(), "answer": %(answer)d, "size": len(BIG)}
"""


@pytest.fixture
def model(tmp_path):
    """Writes a module of which the first `quick` loads are quick and further ones take `slow` seconds."""
    def write(quick=1, slow=SLOW_LOAD, answer=1, size=1, after="pass"):
        text = MODULE % {"quick": quick, "slow": slow, "answer": answer, "size": size, "after": after}
        (tmp_path / "model.tmp").write_text(text)
        os.replace(tmp_path / "model.tmp", tmp_path / "model.py")
        return tmp_path
    return write


@pytest.fixture
def preloaded(runtime):
    def start(folder, function="model:Model.process", **env):
        more = {name: env.pop(name) for name in ("code", "leaves") if name in env}
        log = env.pop("allow_log", ["ERROR .*SIGKILL"])
        return runtime(function, cwd=folder, env={"ASYA_PRELOAD": "true", **env}, allow_log=log, **more)
    return start


def loads(folder):
    return [int(line) for line in (folder / "loads").read_text().splitlines()]


def states(server):
    return sorted(worker["state"] for worker in server.status()["workers"])


def template(server):
    return server.status()["template"]


def wait_for(server, *wanted):
    assert processes.eventually(lambda: states(server) == sorted(wanted)), (states(server), server.log_text())


def timed(server, payload=1):
    began = time.monotonic()
    return server.result(payload), time.monotonic() - began


def proportional(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1)) << 10


def test_workers_are_forked_from_one_that_has_loaded_the_function(preloaded, model):
    with preloaded(model(), ASYA_WORKERS="2") as server:
        wait_for(server, "idle", "idle", "spare")
        found = {answer["pid"]: answer for answer in (server.result(1) for _ in range(30))}
        one = template(server)
        assert one["state"] == "ready" and one["rss_bytes"] > 0
        for pid, answer in found.items():
            assert answer["made"] == answer["shared"] == one["pid"] != pid == answer["forked"]
            assert answer["hooks"] == [pid], "os.register_at_fork, once"
        assert {answer["worker"] for answer in found.values()} <= {"0", "1", "2"}
    assert loads(server_folder(server)) == [one["pid"]]


def server_folder(server):
    import pathlib
    return pathlib.Path(server._cwd)


def test_four_workers_have_hardly_more_memory_than_one(preloaded, model):
    if not os.path.exists("/proc/self/smaps_rollup"):
        pytest.skip("the kernel does not say")
    with preloaded(model(size=100_000_000), ASYA_WORKERS="4", ASYA_SPARES="0") as server:
        wait_for(server, *["idle"] * 4)
        assert server.result(1)["size"] == 100_000_000
        pids = [worker["pid"] for worker in server.status()["workers"]] + [template(server)["pid"]]
        assert sum(map(proportional, pids)) < 1.25 * 100_000_000 + 5 * (6 << 20)


def test_a_killed_worker_is_back_without_a_load(preloaded, model):
    with preloaded(model(), ASYA_SPARES="0") as server:
        first = server.result(1)
        os.kill(first["pid"], signal.SIGKILL)
        second, seconds = timed(server)
        assert second["pid"] != first["pid"] and second["made"] == first["made"]
        assert seconds < SLOW_LOAD / 2
        assert len(loads(server_folder(server))) == 1


def test_a_worker_whose_function_hangs_is_back_without_a_load(preloaded, model):
    env = {"ASYA_HANDLER_TIMEOUT": "0.3", "ASYA_HANDLER_GRACE": "0.2", "ASYA_SPARES": "0"}
    with preloaded(model(), allow_log=["ERROR ", "WARNING "], **env) as server:
        assert server.call(b'"hang"')["type"] == "HandlerTimeout"
        answer, seconds = timed(server)
        assert seconds < 0.2 + SLOW_LOAD / 2 and len(loads(server_folder(server))) == 1
        server.wait_for_log("ERROR .*ran longer than|ERROR .*time limit|HandlerTimeout")


def test_there_is_a_spare_unless_that_is_set(preloaded, model):
    with preloaded(model()) as server:
        wait_for(server, "idle", "spare")
        first = server.result(1)
        os.kill(first["pid"], signal.SIGKILL)
        assert server.result(1)["made"] == first["made"]
        server.wait_for_log("ERROR .*SIGKILL.*; a spare takes its place")
        wait_for(server, "idle", "spare")


def test_a_killed_template_is_loaded_again_while_workers_serve(preloaded, model):
    with preloaded(model(slow=0.5)) as server:
        wait_for(server, "idle", "spare")
        before = template(server)["pid"]
        first = server.result(1)
        os.kill(before, signal.SIGKILL)
        answer, seconds = timed(server)
        assert answer["pid"] == first["pid"] and seconds < 0.4
        assert processes.eventually(lambda: template(server).get("pid", before) != before and template(server)["state"] == "ready")
        server.wait_for_log("ERROR template \\d+, pid %d, .*\\(SIGKILL\\); workers serve on, and a new one is loaded" % before)
        os.kill(first["pid"], signal.SIGKILL)
        assert processes.eventually(lambda: server.result(1)["pid"] != first["pid"])


def test_a_worker_that_dies_while_the_template_loads_waits_for_it(preloaded, model):
    with preloaded(model(slow=0.7), ASYA_SPARES="0") as server:
        first = server.result(1)
        os.kill(template(server)["pid"], signal.SIGKILL)
        os.kill(first["pid"], signal.SIGKILL)
        second = server.result(1)
        assert second["made"] == template(server)["pid"] != first["made"]
        assert len(loads(server_folder(server))) == 2


def test_a_stopped_template_holds_nobody_up(preloaded, model):
    """The supervisor never waits for it."""
    with preloaded(model(quick=100)) as server:
        wait_for(server, "idle", "spare")
        one = template(server)["pid"]
        os.kill(one, signal.SIGSTOP)
        assert processes.eventually(lambda: processes.state(one) == "T")
        os.kill(server.result(1)["pid"], signal.SIGKILL)  # the next spare cannot be forked now
        for _ in range(20):
            answer, seconds = timed(server)
            assert seconds < 1
        assert template(server)["state"] == "ready"
        os.kill(one, signal.SIGCONT)
        wait_for(server, "idle", "spare")


def test_a_replacement_and_the_recycle_bring_the_new_code(preloaded, model):
    folder = model(quick=100)
    with preloaded(folder) as server:
        wait_for(server, "idle", "spare")
        before = {worker["pid"] for worker in server.status()["workers"]}
        assert server.result(1)["answer"] == 1
        model(quick=100, answer=2)
        assert server.control("/recycle", "POST").json == {"replacing": 1}
        assert processes.eventually(lambda: server.result(1)["answer"] == 2)
        wait_for(server, "idle", "spare")
        assert not before & {worker["pid"] for worker in server.status()["workers"]}
        assert server.result(1)["made"] == template(server)["pid"]


def test_a_template_whose_module_has_changed_is_loaded_again(preloaded, model):
    with preloaded(model(quick=100), allow_log=["ERROR .*SIGKILL"]) as server:
        wait_for(server, "idle", "spare")
        before = template(server)["pid"]
        model(quick=100, answer=2)
        server.wait_for_log("INFO template \\d+ is loaded anew: its module has changed")
        assert processes.eventually(lambda: template(server)["state"] == "ready" and template(server)["pid"] != before)
        assert server.result(1)["answer"] == 1, "workers that live are not touched"


def test_recycling_after_max_requests_forks(preloaded, model):
    with preloaded(model(), ASYA_MAX_REQUESTS="3", ASYA_SPARES="0") as server:
        served, slowest = set(), 0
        while len(served) < 4:
            answer, seconds = timed(server)
            served.add(answer["pid"])
            slowest = max(slowest, seconds)
        assert slowest < SLOW_LOAD / 2 and len(loads(server_folder(server))) == 1


def test_what_must_differ_differs(preloaded, model):
    with preloaded(model(quick=100), ASYA_SPARES="0") as server:
        values = []
        for _ in range(3):
            answer = server.result(1)
            values.append(answer["random"])
            os.kill(answer["pid"], signal.SIGKILL)
            assert processes.eventually(lambda: not processes.alive(answer["pid"]))
        assert len(set(values)) == 3


# ---- starts that fail -----------------------------------------------------------------------------------------------

FAILURES = [
    ("import nosuchmodule_at_all", "process", 66, "nosuchmodule_at_all"),
    ("def f(:", "process", None, "syntax error"),
    ("raise RuntimeError('no model')", "process", None, "no model"),
    ("import os; os._exit(3)", "process", None, "exited with code 3|the worker process"),
    ("import os; os.kill(os.getpid(), 11)", "process", None, "SIGSEGV"),
    ("process = 5", "process", None, "process"),
]


@pytest.mark.parametrize("text, name, code, wanted", FAILURES, ids=["module", "syntax", "raises", "exits", "crashes", "number"])
def test_a_start_fails_as_without(refuse, tmp_path, text, name, code, wanted):
    (tmp_path / "broken.py").write_text(text + "\n")
    ended = {}
    for preload in "false", "true":
        ended[preload] = refuse("broken:" + name, cwd=tmp_path, env={"ASYA_PRELOAD": preload})
    assert ended["true"].code == ended["false"].code
    assert re.search(wanted, ended["true"].cause) and ended["true"].cause == ended["false"].cause


def test_an_import_that_blocks_ends_by_its_limit(refuse, tmp_path):
    (tmp_path / "broken.py").write_text("import time\ntime.sleep(1000)\n")
    ended = refuse("broken:process", cwd=tmp_path, env={"ASYA_PRELOAD": "true", "ASYA_STARTUP_TIMEOUT": "0.5"})
    assert "ASYA_STARTUP_TIMEOUT" in ended.cause


def test_after_fork_that_fails_is_a_failed_start(refuse, model):
    folder = model(after="raise ConnectionError('no database')")
    ended = refuse("model:Model.process", cwd=folder, env={"ASYA_PRELOAD": "true"})
    assert "calling 'after_fork' raised ConnectionError: no database" in ended.cause


def test_an_async_preload_is_refused(refuse, tmp_path):
    (tmp_path / "late.py").write_text("def process(p):\n    return p\nasync def preload():\n    pass\nprocess.preload = preload\n")
    ended = refuse("late:process", cwd=tmp_path, env={"ASYA_PRELOAD": "true"})
    assert "calling 'preload' raised TypeError" in ended.cause and "after_fork" in ended.cause


# ---- what cannot be forked ------------------------------------------------------------------------------------------

THREAD = """
import os, threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="the-poller").start()
made = os.getpid()
def process(payload):
    return {"pid": os.getpid(), "made": made}
"""


def test_a_thread_is_found_and_each_worker_loads_for_itself(preloaded, tmp_path):
    (tmp_path / "threads.py").write_text(THREAD)
    line = r"WARNING ASYA_PRELOAD: once it is loaded, this function cannot be forked: the next process would lack its threads \((the-poller|asya-template) x 1\).*Each worker loads it"
    with preloaded(tmp_path, "threads:process", allow_log=[line, "ERROR .*SIGKILL"]) as server:
        wait_for(server, "idle", "spare")
        server.wait_for_log(line)
        assert template(server) == {"state": "refused", **{k: v for k, v in template(server).items() if k != "state"}}
        first = server.result(1)
        assert first["made"] == first["pid"]
        os.kill(first["pid"], signal.SIGKILL)
        second = server.result(1)
        assert second["made"] == second["pid"] != first["pid"]
        assert len(re.findall("cannot be forked", server.log_text())) == 1


def test_threads_that_their_library_starts_again_do_not_count(preloaded, tmp_path):
    if sys.version_info < (3, 8):
        pytest.skip("threads have no number of the kernel's there")
    (tmp_path / "traced.py").write_text(THREAD.replace("the-poller", "OtelBatchSpanRecordProcessor"))
    with preloaded(tmp_path, "traced:process") as server:
        wait_for(server, "idle", "spare")
        assert server.result(1)["made"] == template(server)["pid"]


CONNECTION = """
import socket
pair = socket.socketpair()
def process(payload):
    return payload
"""


def test_sockets_that_were_opened_at_import_are_told(preloaded, tmp_path):
    (tmp_path / "connects.py").write_text(CONNECTION)
    with preloaded(tmp_path, "connects:process", allow_log=["WARNING ASYA_PRELOAD: all workers would share .*socket.*, .*socket"]) as server:
        assert server.result(5) == 5
        server.wait_for_log("WARNING ASYA_PRELOAD: all workers would share .*socket.*, .*socket.*after_fork")


# ---- as in any worker -----------------------------------------------------------------------------------------------

SERVICES = """
import asyncio, logging, os, threading, contextvars
import asya_runtime
log = logging.getLogger("mine")
served = asya_runtime.metrics.counter("served_total", "")
level = asya_runtime.metrics.gauge("level", "")
made = os.getpid()
log.warning("at import")
async def task(payload):
    await asyncio.sleep(0.01)
    served.inc()
    level.set(2)
    log.warning("served %s", payload)
    print("printed", payload)
    return [made, os.getpid(), asya_runtime.context().deadline is not None]
def thread(payload):
    served.inc()
    level.set(2)
    log.warning("served %s", payload)
    print("printed", payload)
    return [made, os.getpid(), threading.current_thread() is not threading.main_thread()]
"""


@pytest.mark.parametrize("capture", ["false", "true"])
@pytest.mark.parametrize("shape", ["task", "thread"])
def test_loops_pools_logs_output_and_metrics_are_each_workers_own(preloaded, tmp_path, shape, capture):
    (tmp_path / "services.py").write_text(SERVICES)
    env = {"ASYA_CONCURRENCY": "3", "ASYA_WORKERS": "2", "ASYA_SPARES": "0", "ASYA_HANDLER_TIMEOUT": "20",
           "ASYA_LOG_FORMAT": "json", "ASYA_CAPTURE_OUTPUT": capture}
    with preloaded(tmp_path, "services:" + shape, allow_log=['"level":"WARNING"'], **env) as server:
        wait_for(server, "idle", "idle")
        answers = [server.result(number) for number in range(20)]
        assert {answer[0] for answer in answers} == {template(server)["pid"]}
        assert all(answer[2] for answer in answers)
        families = counting.read_families(server.control("/metrics").text)
        assert families["served"].samples[0].value == 20
        pids = {answer[1] for answer in answers}
        assert families["level"].samples[0].value == 2 * len(pids)
        assert processes.eventually(lambda: server.log_text().count("served ") == 20)
        records = [json.loads(line) for line in server.log_text().splitlines() if line.startswith("{")]
        mine = [record for record in records if record.get("logger") == "mine" and record["message"].startswith("served")]
        assert len(mine) == 20 and {record["pid"] for record in mine} == pids
        workers = {worker["pid"]: worker["worker"] for worker in server.status()["workers"]}
        assert all(record["worker"] == workers[record["pid"]] for record in mine)
        if capture == "true":
            printed = [record for record in records if record["message"].startswith("printed")]
            assert processes.eventually(lambda: server.log_text().count('"printed ') == 20)


def test_the_end_of_the_runtime_ends_it(preloaded, model):
    with preloaded(model(), allow_log=["ERROR .*SIGTERM"]) as server:
        one = template(server)["pid"]
        os.kill(one, signal.SIGTERM)
        server.wait_for_log("template .*SIGTERM")
        assert processes.eventually(lambda: template(server)["state"] == "ready" and template(server)["pid"] != one)
        one = template(server)["pid"]
    assert not processes.alive(one)


def test_a_runtime_that_is_killed_leaves_no_template(preloaded, model):
    with preloaded(model(), code=-signal.SIGKILL, leaves=("app.sock", "app.sock.ctl", "app.sock.ctl.lock", "app.sock.lock")) as server:
        pid = template(server)["pid"]
        server.kill(signal.SIGKILL)
        assert processes.eventually(lambda: not processes.alive(pid))


# ---- later ----------------------------------------------------------------------------------------------------------

def is_new(server):
    """The worker from before answers too, until it is replaced."""
    found = server.result(1)
    return found["answer"] == 2 and found["made"] == template(server)["pid"]


def test_a_template_that_cannot_be_loaded_any_more_costs_no_worker(preloaded, model):
    folder = model(quick=100)
    with preloaded(folder, allow_log=["ERROR "], ASYA_SPARES="0") as server:
        first = server.result(1)
        (folder / "model.py").write_text("raise RuntimeError('half a deployment')\n")
        server.wait_for_log("INFO template \\d+ is loaded anew: its module has changed")
        server.wait_for_log("ERROR template \\d+ did not start; next try in 60000 ms, and workers load it themselves")
        assert server.result(1)["pid"] == first["pid"] and template(server)["state"] == "backoff"
        model(quick=100, answer=2)
        assert server.control("/recycle", "POST").status == 200
        assert processes.eventually(lambda: is_new(server))


def test_a_crash_loop_has_the_delays_that_it_has_without(preloaded, tmp_path):
    (tmp_path / "crashes.py").write_text("import os\ndef process(payload):\n    os._exit(3)\n")
    with preloaded(tmp_path, "crashes:process", allow_log=["ERROR "], ASYA_SPARES="0") as server:
        for _ in range(4):
            assert server.call(b"1")["type"] == "WorkerExited"
        assert server.status()["state"] in ("crash_loop", "loading", "ready")
        delays = [int(found) for found in re.findall(r"a new one starts in (\d+) ms", server.log_text())]
        assert delays[:4] == [0, 100, 200, 400]


def test_a_worker_that_dies_before_it_is_ready_is_told_from_the_template(preloaded, model):
    """after_fork() fails in later workers: those that serve stay, and the template with them."""
    folder = model(after="if os.path.exists('broken'): raise OSError('no database')")
    with preloaded(folder, allow_log=["ERROR "], ASYA_WORKERS="2", ASYA_SPARES="0") as server:
        wait_for(server, "idle", "idle")
        one = template(server)["pid"]
        (folder / "broken").touch()
        os.kill(server.result(1)["pid"], signal.SIGKILL)
        server.wait_for_log("ERROR calling 'after_fork' raised OSError: no database")
        server.wait_for_log("ERROR worker \\d did not start; next try in ")
        assert server.result(1)["made"] == one == template(server)["pid"]
        (folder / "broken").unlink()
        wait_for(server, "idle", "idle")


def test_check_says_whether_it_can_be_forked(tmp_path):
    import subprocess
    (tmp_path / "fine.py").write_text("def process(p):\n    return p\n")
    (tmp_path / "threads.py").write_text(THREAD)
    for name, wanted in [("fine", "ASYA_PRELOAD: workers are forked after it was loaded\n"),
                         ("threads", "ASYA_PRELOAD: each worker loads it for itself: the next process would lack its threads (")]:
        done = subprocess.run([sys.executable, os.environ.get("ASYA_RUNTIME") or str(client_runtime()), "check", "--preload", "true"],
                              cwd=tmp_path, env={**os.environ, "ASYA_PROCESS_MODULE": name + ":process"}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and wanted in done.stdout, done


def test_a_library_is_named_by_its_own_file(tmp_path):
    """torch for CUDA maps libcudart on machines without a driver, where its threads are libgomp's."""
    import subprocess
    for name in "libcudart.so.13", "libgomp-1.so.1":
        (tmp_path / name).write_bytes(bytes(4096))
    (tmp_path / "mapped.py").write_text(
        THREAD + "import mmap\nmaps = [mmap.mmap(os.open(n, os.O_RDONLY), 0, prot=mmap.PROT_READ) for n in os.listdir('.') if n[:3] == 'lib']\n")
    done = subprocess.run([sys.executable, os.environ.get("ASYA_RUNTIME") or str(client_runtime()), "check", "--preload", "true"],
                          cwd=tmp_path, env={**os.environ, "ASYA_PROCESS_MODULE": "mapped:process"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and re.search(r" x 1\); loaded are libgomp$", done.stdout, re.M), done


def client_runtime():
    from harness import runtime as harness
    return harness.RUNTIME


def test_the_threads_of_openblas_are_no_hindrance(preloaded, tmp_path):
    """It ends them before each fork and starts them again when they are needed."""
    pytest.importorskip("numpy")
    (tmp_path / "blas.py").write_text(
        "import os, numpy\nmatrix = numpy.ones((500, 500))\nmatrix @ matrix\nthreads = len(os.listdir('/proc/self/task'))\n"
        "made = os.getpid()\ndef process(payload):\n    return [made, float((matrix @ matrix)[0, 0]), float(numpy.random.rand())]\n")
    with preloaded(tmp_path, "blas:process", ASYA_WORKERS="2", ASYA_SPARES="0") as server:
        wait_for(server, "idle", "idle")
        answers = [server.result(1) for _ in range(10)]
        assert {answer[0] for answer in answers} == {template(server)["pid"]}
        assert {answer[1] for answer in answers} == {500.0}
        assert len({answer[2] for answer in answers}) == 10


# ---- at the wrong moment ---------------------------------------------------------------------------------------------

SLOW_FORK = """
import os, time
os.register_at_fork(before=lambda: os.path.exists("slow") and (open("begun", "w").close(), time.sleep(0.3), open("forks", "w").close()))
def process(payload):
    return os.getpid()
"""


def test_whom_the_template_forks_as_the_runtime_stops_does_not_hold_that_up(preloaded, tmp_path):
    """Its process is reported when all workers were told to stop."""
    (tmp_path / "forks_slowly.py").write_text(SLOW_FORK)
    with preloaded(tmp_path, "forks_slowly:process", ASYA_SPARES="0", ASYA_GRACE_PERIOD="60") as server:
        pid, one = server.result(1), template(server)["pid"]
        (tmp_path / "slow").touch()
        os.kill(pid, signal.SIGKILL)
        assert processes.eventually((tmp_path / "begun").exists)
        server.kill(signal.SIGSTOP)
        server.kill(signal.SIGTERM)
        assert processes.eventually((tmp_path / "forks").exists)
        assert processes.eventually(lambda: processes.state(one) == "S" and len(processes.children(server.pid)) == 2)
        began = time.monotonic()
        server.kill(signal.SIGCONT)
        assert server.wait() == 0 and time.monotonic() - began < 10


def test_a_module_that_closes_all_descriptors_is_refused_as_without(refuse, tmp_path):
    (tmp_path / "closes.py").write_text("import os\nos.closerange(3, 1 << 14)\ndef process(payload):\n    return payload\n")
    ended = {preload: refuse("closes:process", cwd=tmp_path, env={"ASYA_PRELOAD": preload}) for preload in ("false", "true")}
    assert ended["true"].code == ended["false"].code == 70
    assert ended["true"].cause == ended["false"].cause == "cannot reach the supervisor: Bad file descriptor"


def test_a_lowered_rlimit_nofile_is_no_end_of_the_start(preloaded, tmp_path):
    """The template could not be sent what a worker needs. Without one the worker has it already."""
    (tmp_path / "lowers.py").write_text(
        "import os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (14, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "made = os.getpid()\ndef process(payload):\n    return [made, os.getpid()]\n")
    line = r"WARNING ASYA_PRELOAD: once it is loaded, this function cannot be forked: RLIMIT_NOFILE is 14, and a worker needs \d+ more\. Each"
    with preloaded(tmp_path, "lowers:process", ASYA_SPARES="0", allow_log=[line]) as server:
        server.wait_for_log(line)
        made, pid = server.result(1)
        assert made == pid
