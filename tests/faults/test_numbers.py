"""What tells workers apart: their number in the environment, their title, the lines of their start."""
import re

import pytest

import asya_runtime
from harness import processes
from harness.runtime import EXIT_OK

pytestmark = pytest.mark.supervised


def test_each_worker_knows_its_number_while_it_loads(runtime):
    """In os.environ and for C code alike, over a value that the environment brings."""
    with runtime("numbered", env={"ASYA_WORKERS": "3", "ASYA_WORKER": "77"}, allow_log=["WARNING .*ASYA_WORKER "]) as server:
        seen = set()
        assert processes.eventually(lambda: seen.add(tuple(server.result(1)[:3])) or len(seen) == 3)
        assert seen == {(str(n), str(n), "asya-worker-%d" % n) for n in range(3)}


def test_a_replacement_has_a_number_that_no_living_worker_has(runtime):
    with runtime("numbered", env={"ASYA_MAX_REQUESTS": "2"}) as server:
        seen = set()
        assert processes.eventually(lambda: seen.add(tuple(server.result(1)[:2])) or len(seen) == 2)
        assert seen == {("0", "0"), ("1", "1")}


def test_the_start_says_what_is_loaded_by_whom_and_served_by_which_version(runtime):
    with runtime("numbered:process") as server:
        [pid] = server.worker_pids()
        assert server.wait_for_log(r"INFO worker 0, pid %d, loads numbered:process$" % pid)
        assert server.wait_for_log(r"INFO listening on %s, 1 worker, numbered:process, runtime %s$" % (
            re.escape(server.path), re.escape(asya_runtime.__version__)))


def test_a_long_load_says_that_it_goes_on(runtime, tmp_path):
    (tmp_path / "large.py").write_text("import time\ntime.sleep(10.5)\ndef process(payload): return payload\n")
    with runtime("large", env={"PYTHONPATH": str(tmp_path)}, ready=False, code=EXIT_OK) as server:
        assert server.wait_for_log(r"INFO worker 0, pid \d+, is still loading large after 10 s$", timeout=40)
        server.wait_ready()
        assert server.log_text().count("still loading") == 1
