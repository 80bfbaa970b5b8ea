"""asya_runtime.metrics: sums over workers that survive them, errors that say what is wrong, and no price for the function."""
import os
import signal
import subprocess

import pytest

from harness import counting, processes
from harness.runtime import PYTHON, RUNTIME

SLOWNESS = float(os.environ.get("ASYA_TEST_SLOWNESS", 3))


def samples(server):
    families = counting.read_families(server.control("/metrics").text)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families.values() for s in family.samples}


def alone(code, **environment):
    """Runs code in a program that is not a worker."""
    env = dict(os.environ, PYTHONPATH=str(RUNTIME.parent), **environment)
    return subprocess.run([PYTHON, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_they_are_summed_over_workers_and_stay_when_these_die(runtime):
    with runtime("measured:run", env={"ASYA_WORKERS": "2"}, allow_log=[".*"]) as server:
        for number in range(12):
            server.result("jobs.labels('a').inc(); plain.inc(0.5); sizes.observe(%d)" % number)
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert processes.eventually(lambda: len(server.worker_pids()) == 2 and server.status()["ready"])
        server.result("jobs.labels(kind='a').inc(2); jobs.labels('\"\\\\\\n\\u00e9').inc()")
        found = samples(server)
        assert found["jobs_total", "a"] == 14 and found["jobs_total", '"\\\n\u00e9'] == 1
        assert found["plain_total",] == 6
        assert [found["sizes_bucket", bound] for bound in ("1.0", "10.0", "100.0", "+Inf")] == [2, 11, 12, 12]
        assert (found["sizes_sum",], found["sizes_count",]) == (66, 12)


def wait_for_successor(server, pid):
    assert processes.eventually(lambda: pid not in server.worker_pids() and server.status()["ready"])


def test_a_gauge_goes_with_the_worker_that_has_set_it(runtime):
    with runtime("measured:run", allow_log=[".*"]) as server:
        server.result("opened.inc(3); opened.dec(); largest.set(-5); latest.set(9)")
        found = samples(server)
        assert (found["open_now",], found["largest",], found["latest",]) == (2, -5, 9)
        pid = server.worker_pids()[0]
        os.kill(pid, signal.SIGKILL)
        wait_for_successor(server, pid)
        found = samples(server)
        assert (found["open_now",], found.get(("largest",)), found["latest",]) == (0, None, 9)


def test_threads_and_forked_children_count_too(runtime):
    code = ("import os, threading\n"
            "def many():\n    for _ in range(2000): plain.inc()\n"
            "threads = [threading.Thread(target=many) for _ in range(4)]\n"
            "for thread in threads: thread.start()\n"
            "for thread in threads: thread.join()\n"
            "children = []\n"
            "for _ in range(3):\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n        many(); os._exit(0)\n"
            "    children.append(pid)\n"
            "for pid in children: os.waitpid(pid, 0)")
    with runtime("measured:run", allow_log=[".*"]) as server:
        server.result(code)
        assert samples(server)["plain_total",] == 7 * 2000


def test_a_worker_killed_in_the_middle_leaves_whole_values(runtime):
    with runtime("measured:run", allow_log=[".*"]) as server:
        for _ in range(5):
            with server.connect() as connection:
                connection.send(b'"while True:\\n    plain.inc(); jobs.labels(\'x\').inc(); sizes.observe(5)" ')
                before = samples(server)["plain_total",]
                assert processes.eventually(lambda: samples(server)["plain_total",] > before + 1000)
                pid = server.worker_pids()[0]
                os.kill(pid, signal.SIGKILL)
                connection.receive_all()
            wait_for_successor(server, pid)
        found = samples(server)
        assert found["plain_total",] == int(found["plain_total",])
        assert 0 <= found["plain_total",] - found["jobs_total", "x"] <= 5  # one of each may be missing for each death
        assert 0 <= found["jobs_total", "x"] - found["sizes_count",] <= 5


def test_what_has_no_room_is_counted_and_said_once_and_raises_nothing(runtime):
    full = ["WARNING metrics: no room for jobs_total.*"]
    with runtime("measured:run", env={"ASYA_WORKERS": "2"}, expect_log=full) as server:
        for part in range(4):
            server.result("for n in range(2500): jobs.labels(str(n + %d)).inc()" % (part * 2500))
        found = samples(server)
        kept = sum(value for (name, *_), value in found.items() if name == "jobs_total")
        assert kept > 2000 and kept + found["asya_runtime_user_metrics_dropped_total",] == 10000
        server.result("plain.inc()")
        assert samples(server)["plain_total",] == 1


@pytest.mark.parametrize("code, words", [
    ("metrics.counter('9lives')", "no name of a metric"),
    ("metrics.counter('a-b')", "no name of a metric"),
    ("metrics.counter('\\u00e9')", "no name of a metric"),
    ("metrics.gauge('process_x')", "the runtime's"),
    ("metrics.counter('c', labels='kind')", "a tuple or list"),
    ("metrics.counter('c', labels=('__k',))", "no name of a label"),
    ("metrics.histogram('h', labels=('le',))", "no name of a label"),
    ("metrics.histogram('h', buckets=(2, 1))", "each larger"),
    ("metrics.histogram('h', buckets=())", "each larger"),
    ("metrics.gauge('g', mode='mean')", "one of sum"),
    ("metrics.counter('c', labels=('a', 'b')).labels('x')", "has the labels a, b"),
    ("metrics.counter('c', labels=('a',)).labels(b='x')", "has the labels a"),
    ("metrics.counter('c', labels=('a',)).inc()", "has labels"),
    ("metrics.counter('c').labels('x')", "no labels"),
    ("metrics.counter('c').inc(-1)", "only grows"),
    ("metrics.counter('c'); metrics.counter('c', 'other help')", "made before"),
])
def test_a_mistake_is_a_value_error_that_says_what_is_wrong(code, words):
    ended = alone("from asya_runtime import metrics\n" + code)
    assert "ValueError: " in ended.stderr and words in ended.stderr, ended.stderr


def test_a_program_that_is_not_a_worker_counts_for_itself():
    ended = alone("from asya_runtime.metrics import counter, gauge, histogram\n"
                  "import asya_runtime.metrics\n"
                  "c = counter('c', labels=['a']); c.labels('x').inc(2); c.labels(a='x').inc()\n"
                  "assert counter('c', labels=['a']) is c and c.labels('x') is c.labels(a='x')\n"
                  "h = histogram('h', buckets=(1, 2)); h.observe(1.5); h.observe(float('nan'))\n"
                  "g = gauge('g'); g.set(4); g.dec()\n"
                  "print(c.labels('x').value, h.count, g.value)")
    assert (ended.stdout, ended.returncode) == ("3.0 2 3.0\n", 0), ended.stderr


def test_an_increment_takes_less_than_200_ns():
    ended = alone("import timeit\nfrom asya_runtime.metrics import counter, histogram\n"
                  "c = counter('c'); d = counter('d', labels=('k',)).labels('x'); h = histogram('h')\n"
                  "for code in ('c.inc()', 'd.inc(2)', 'h.observe(0.2)'):\n"
                  "    print(min(timeit.repeat(code, globals=globals(), number=20000, repeat=7)) / 20000 * 1e9)")
    assert all(float(line) < 200 * SLOWNESS for line in ended.stdout.split()), ended


