"""RLIMIT_NOFILE: the supervisor takes what there is, a function keeps what it had, and a low limit costs no reply."""
import collections
import os
import resource
import signal
import time

import pytest

from harness import client, processes
from harness.crowd import all_at_once, many_descriptors

pytestmark = pytest.mark.supervised

DEATH = ["(ERROR|WARNING) .*"]
LOW = ["prlimit", "--nofile=1024:1024"]
HIGH = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 16000)
LIMITS = "import resource\nreturn resource.getrlimit(resource.RLIMIT_NOFILE)"


def limits_of(pid):
    """(soft, hard) of RLIMIT_NOFILE."""
    with open("/proc/%d/limits" % pid) as file:
        words = next(line.split() for line in file if line.startswith("Max open files"))
    return int(words[3]), int(words[4])


def test_the_supervisor_takes_the_hard_limit(runtime):
    with runtime("answers:echo", wrapper=["prlimit", "--nofile=300:%d" % HIGH]) as server:
        assert limits_of(server.pid) == (HIGH, HIGH)


def test_a_function_has_what_it_had_besides_what_the_runtime_needs(runtime):
    """As many files as before the connections take theirs; not so many that its programs take long to close them all."""
    with runtime("snippets:run", wrapper=["prlimit", "--nofile=300:%d" % HIGH]) as server:
        soft, hard = server.result(LIMITS)
        assert min(300 + 3 * 1024, HIGH) <= soft <= min(14000, HIGH)
        assert hard == HIGH


def test_a_function_s_higher_limit_stays(runtime):
    with runtime("snippets:run", wrapper=["prlimit", "--nofile=%d:%d" % (HIGH, HIGH)]) as server:
        soft, hard = server.result(LIMITS)
        assert hard == HIGH and HIGH - 8 <= soft <= HIGH, "but for what is kept to receive connections with"


def test_a_low_limit_is_said_once(runtime):
    with runtime("answers:echo", wrapper=LOW, env={"ASYA_WORKERS": "4"}) as server:
        lines = server.wait_for_log("INFO .*RLIMIT_NOFILE.* is 1024: enough for about [0-9]+ connections")
        assert len(lines) == 1
    with runtime("answers:echo", wrapper=["prlimit", "--nofile=64:64"], expect_log=["WARNING .*RLIMIT_NOFILE.* is 64"]):
        pass


def test_two_of_four_workers_are_killed_with_1100_requests_in_flight(runtime):
    """More than the supervisor has descriptors for: what it does not hold, the fdholders do, and it takes that bit by bit."""
    env = {"ASYA_WORKERS": "4", "ASYA_CONCURRENCY": "300"}
    with runtime("tasks:nap", wrapper=LOW, env=env, allow_log=DEATH) as server:
        workers = server.worker_pids()

        def kill_two():
            assert processes.eventually(lambda: sum(map(count_sockets, workers)) > 1100 + 4 * 16, client.PATIENCE)
            time.sleep(0.5)
            for pid in workers[:2]:
                os.kill(pid, signal.SIGKILL)

        replies = all_at_once(server.path, [b"6 "] * 1100, kill_two)
        kinds = collections.Counter(client.check_reply(reply).get("type", "result") for reply in replies)
        assert set(kinds) == {"result", "WorkerCrashed"}, kinds
        assert server.result(0) == 0


def count_sockets(pid):
    return sum(name.startswith("socket:") for name in processes.descriptors(pid).values())


def test_2000_clients_under_a_low_limit(runtime):
    """Silent ones for the most part: service, health and the stop are as ever."""
    env = {"ASYA_WORKERS": "2", "ASYA_READ_TIMEOUT": "3"}
    with runtime("answers:nap", wrapper=LOW, env=env, allow_log=DEATH) as server, many_descriptors():
        requests = [b"0 " if number % 4 == 0 else b"" for number in range(2000)]
        replies = all_at_once(server.path, requests)
        for request, reply in zip(requests, replies):
            found = client.check_reply(reply)
            assert found.get("result") == 0 if request else found["error"] == "connection_error", found
        assert server.result(0) == 0
