"""GET /metrics counts what a client counts, whatever dies, and Prometheus reads it."""
import os
import shutil
import signal
import subprocess
import time

import pytest

from harness import control, counting, processes

OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"  # as Prometheus asks
LOG = [".*"]  # what goes wrong here does so on purpose

# name -> type and labels, as the list of metrics has them
FAMILIES = {
    "asya_runtime_build_info": ("gauge", {"version", "python_version", "python_implementation"}),
    "asya_runtime_ready": ("gauge", set()),
    "asya_runtime_requests": ("counter", {"protocol", "outcome", "error_type"}),
    "asya_runtime_requests_in_flight": ("gauge", set()),
    "asya_runtime_requests_waiting": ("gauge", set()),
    "asya_runtime_oldest_request_start_timestamp_seconds": ("gauge", set()),
    "asya_runtime_last_request_timestamp_seconds": ("gauge", set()),
    "asya_runtime_last_error_timestamp_seconds": ("gauge", set()),
    "asya_runtime_request_duration_seconds": ("histogram", {"outcome"}),
    "asya_runtime_request_stage_duration_seconds": ("histogram", {"stage"}),
    "asya_runtime_received_bytes": ("counter", set()),
    "asya_runtime_sent_bytes": ("counter", set()),
    "asya_runtime_workers": ("gauge", {"state"}),
    "asya_runtime_worker_exits": ("counter", {"cause", "signal"}),
    "asya_runtime_worker_start_duration_seconds": ("histogram", set()),
    "asya_runtime_worker_resident_memory_bytes": ("gauge", {"worker"}),
    "asya_runtime_worker_cpu_seconds": ("counter", {"worker"}),
    "asya_runtime_cancellations": ("counter", {"reason"}),
    "asya_runtime_connections": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
    "process_resident_memory_bytes": ("gauge", set()),
    "process_cpu_seconds": ("counter", set()),
}


def metrics(server):
    return counting.read_families(server.control("/metrics").text)


def value(families, name, **labels):
    """The one sample with these labels; 0 where there is none."""
    family = families[name[:-6] if name.endswith("_total") else name]
    found = [sample.value for sample in family.samples if sample.name == name and sample.labels == labels]
    return found[0] if found else 0


@pytest.mark.parametrize("accept", [None, OPEN], ids=["text", "openmetrics"])
def test_prometheus_reads_every_family_with_its_type_and_labels(runtime, accept):
    with runtime("counted", allow_log=LOG, env={"ASYA_WORKERS": "2"}) as server:
        server.call({"do": "echo"})
        server.call({"do": "key"})
        answer = server.control("/metrics", headers={"Accept": accept} if accept else {})
        assert answer.headers["Content-Type"] == (
            "application/openmetrics-text; version=1.0.0; charset=utf-8" if accept else "text/plain; version=0.0.4; charset=utf-8")
        families = counting.read_families(answer.text, open_metrics=bool(accept))
        for name, (kind, labels) in FAMILIES.items():
            family = families[name]
            assert family.type == kind and family.documentation, name
            assert family.samples, name
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == labels, sample


def test_promtool_finds_nothing(runtime):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    with runtime("counted", allow_log=LOG) as server:
        server.call({"do": "odd"})
        text = server.control("/metrics").text
    found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize("handler, workers, concurrency", [("counted", 2, 1), ("counted", 1, 4), ("counted:task", 2, 4)],
                         ids=["plain", "threads", "tasks"])
def test_every_request_is_counted_as_its_client_saw_it(runtime, dice, handler, workers, concurrency):
    count = 5000 // 3
    environment = {"ASYA_WORKERS": str(workers), "ASYA_CONCURRENCY": str(concurrency), "ASYA_HANDLER_TIMEOUT": "0.2",
                   "ASYA_MAX_MESSAGE_SIZE": str(counting.MAX_MESSAGE)}
    with runtime(handler, env=environment, allow_log=LOG) as server:
        killer = counting.Killer(server.worker_pids, 20, 0.1, dice.getrandbits(30))
        killer.start()
        clients = counting.run_clients(server.path, count, 4, dice.getrandbits(30), counting.DEEDS)
        killer.stop()
        seen = counting.seen_by(clients)
        # the worker counts a request after its last byte is out: its client may be quicker
        assert processes.eventually(lambda: not counting.compare(counting.requests_of(metrics(server)), seen)), (
            counting.compare(counting.requests_of(metrics(server)), seen))
        families = metrics(server)
        by_outcome = {}
        for (_, outcome, _), number in counting.requests_of(families).items():
            by_outcome[outcome] = by_outcome.get(outcome, 0) + number
        for outcome, number in by_outcome.items():
            family = families["asya_runtime_request_duration_seconds"]
            [total] = [s.value for s in family.samples if s.name.endswith("_count") and s.labels == {"outcome": outcome}]
            assert total == number, outcome
        # whoever died last may start with a delay
        assert processes.eventually(lambda: value(metrics(server), "asya_runtime_workers", state="idle") == workers, 30)


def test_bytes_are_those_that_went_over_the_sockets(runtime, dice):
    deeds = {do: often for do, often in counting.DEEDS.items() if do not in ("late", "exit", "kill", "segv", "stream_kill", "large")}
    with runtime("counted", env={"ASYA_WORKERS": "2"}, allow_log=LOG) as server:
        clients = counting.run_clients(server.path, 400, 4, dice.getrandbits(30), deeds)
        sent, received = sum(one.sent for one in clients), sum(one.received for one in clients)

        def agree():
            families = metrics(server)
            return (value(families, "asya_runtime_received_bytes_total"), value(families, "asya_runtime_sent_bytes_total")) == (
                sent, received)

        assert processes.eventually(agree)


def test_ends_of_workers_have_their_causes(runtime):
    with runtime("counted", env={"ASYA_HANDLER_TIMEOUT": "0.2"}, allow_log=LOG) as server:
        for do in ("exit", "kill", "segv"):
            server.call({"do": do})
            assert processes.eventually(lambda: server.status()["ready"])
            server.call({"do": "echo"})
        server.call({"do": "late"})
        families = metrics(server)
        exits = {(s.labels["cause"], s.labels["signal"]): s.value for s in families["asya_runtime_worker_exits"].samples if s.value}
        assert exits == {("exit", ""): 1, ("signal", "SIGKILL"): 1, ("signal", "SIGSEGV"): 1}
        assert value(families, "asya_runtime_cancellations_total", reason="timeout") == 1
        starts = families["asya_runtime_worker_start_duration_seconds"]
        assert [s.value for s in starts.samples if s.name.endswith("_count")] == [4]


def test_what_runs_and_waits_is_shown(runtime):
    with runtime("answers:nap", env={"ASYA_GRACE_PERIOD": "0.2"}, allow_log=LOG) as server:
        quiet = metrics(server)
        assert value(quiet, "asya_runtime_requests_in_flight") == 0
        assert value(quiet, "asya_runtime_oldest_request_start_timestamp_seconds") == 0
        assert value(quiet, "asya_runtime_workers", state="idle") == 1
        begun = time.time()
        with server.connect() as first, server.connect() as second, server.connect() as third:
            first.send(b"30 ")
            assert processes.eventually(lambda: value(metrics(server), "asya_runtime_requests_in_flight") == 1)
            for connection in (second, third):
                connection.send(b"30 ")
            assert processes.eventually(lambda: value(metrics(server), "asya_runtime_requests_waiting") == 2)
            families = metrics(server)
            assert value(families, "asya_runtime_workers", state="busy") == 1
            assert begun - 1 < value(families, "asya_runtime_oldest_request_start_timestamp_seconds") < time.time() + 1
            assert begun - 1 < value(families, "asya_runtime_last_request_timestamp_seconds") < time.time() + 1
            os.kill(server.worker_pids()[0], signal.SIGKILL)
            first.receive_all()
        assert value(metrics(server), "asya_runtime_last_error_timestamp_seconds") > begun - 1


def test_processor_time_of_dead_workers_stays(runtime):
    with runtime("snippets:run", allow_log=LOG) as server:
        burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nreturn 1"
        assert server.result(burn) == 1
        before = value(metrics(server), "asya_runtime_worker_cpu_seconds_total", worker="0")
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        assert processes.eventually(lambda: server.status()["ready"])
        after = value(metrics(server), "asya_runtime_worker_cpu_seconds_total", worker="0")
        assert after >= before >= 0.3


def test_what_a_function_writes_over_the_board_does_not_lower_a_counter(runtime):
    overwrite = ("import ctypes, re\n"
                 "for line in open('/proc/self/maps'):\n"
                 "    begin, end, rights, size = re.match(r'(\\w+)-(\\w+) (\\S+) \\S+ \\S+ (\\d+)', line).groups()\n"
                 "    if rights == 'rw-s' and 'zero' in line:\n"
                 "        ctypes.memset(int(begin, 16), 0x5A, int(end, 16) - int(begin, 16))\n"
                 "return 1")
    with runtime("snippets:run", allow_log=LOG) as server:
        for number in range(20):
            assert server.result("return %d" % number) == number
        time.sleep(0.3)  # a tick reads them
        before = counting.requests_of(metrics(server))
        assert before["raw", "ok", ""] == 20
        server.call(overwrite)
        assert processes.eventually(lambda: server.status()["ready"])
        assert server.result("return 5") == 5
        assert processes.eventually(lambda: counting.requests_of(metrics(server))["raw", "ok", ""] >= 21)
        assert counting.requests_of(metrics(server))["raw", "ok", ""] <= 22


def test_it_answers_at_once_while_the_worker_hangs(runtime):
    with runtime("answers:nap", env={"ASYA_GRACE_PERIOD": "0.2"}, allow_log=LOG) as server, server.connect() as busy:
        busy.send(b"30 ")
        assert processes.eventually(lambda: server.status()["running"])
        assert min(control.ask(server.control_path, "/metrics").seconds for _ in range(10)) < 0.06
