"""Several workers: all of them used, none slowed by another's trouble."""
import concurrent.futures
import os
import signal
import time

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

WHO = "import os, time\ntime.sleep(0.02)\nreturn os.getpid()"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_there_are_as_many_as_asked_for(runtime, count):
    with runtime("answers:echo", env={"ASYA_WORKERS": str(count)}) as server:
        assert processes.eventually(lambda: len(server.worker_pids()) == count)
        assert server.result(1) == 1


def test_all_of_them_serve(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "3"}) as server:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            served = list(pool.map(lambda _: server.result(WHO), range(90)))
        assert set(served) == set(server.worker_pids())
        assert min(served.count(pid) for pid in set(served)) >= 10


def test_requests_run_at_the_same_time(runtime):
    with runtime("answers:nap", env={"ASYA_WORKERS": "4"}) as server:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            started = time.monotonic()
            assert list(pool.map(server.result, [1] * 4)) == [1] * 4
            assert time.monotonic() - started < 1.9, "two waited for the same worker while another was free"


def test_a_busy_worker_does_not_hold_others_requests(runtime):
    """Neither before it has read them nor after: whoever comes is served by the one that is free."""
    with runtime("answers:nap", env={"ASYA_WORKERS": "2"}) as server:
        with server.connect() as busy:
            busy.send(b"3 ")
            time.sleep(0.1)
            started = time.monotonic()
            for _ in range(50):
                assert server.result(0) == 0
            assert time.monotonic() - started < 2
            assert busy.reply()["result"] == 3


def test_a_stopped_worker_does_not_slow_the_other(runtime):
    with runtime("answers:echo", env={"ASYA_WORKERS": "2"}) as server:
        stopped = server.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            for number in range(50):
                assert server.result(number) == number
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_one_that_dies_does_not_disturb_the_other(runtime):
    with runtime("snippets:run", env={"ASYA_WORKERS": "2"}, allow_log=["ERROR .*worker"]) as server:
        with server.connect() as dying:
            dying.send(b'"import os, time\\ntime.sleep(0.5)\\nos._exit(1)"')
            time.sleep(0.1)
            with server.connect() as living:
                living.send(b'"import time\\ntime.sleep(1)\\nreturn 1"')
                assert dying.reply()["type"] == "WorkerExited"
                assert living.reply() == {"status": "ok", "result": 1}


def test_a_stop_answers_the_requests_of_all(runtime):
    with runtime("answers:nap", env={"ASYA_WORKERS": "3"}) as server:
        connections = [server.connect() for _ in range(9)]
        for connection in connections:
            connection.send(b"0.2 ")
        time.sleep(0.1)
        server.kill(signal.SIGTERM)
        for connection in connections:
            assert connection.reply()["result"] == 0.2
            connection.close()
        assert server.wait() == 0


def test_libraries_are_told_how_many_processors_a_worker_has(runtime):
    """Set from the quota divided by the workers, unless the user has set them."""
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    code = "import os\nreturn [os.environ.get(n) for n in %r]" % names
    with runtime("snippets:run", env={"OMP_NUM_THREADS": "7"}) as server:
        own, mkl, openblas = server.result(code)
        assert own == "7"
        assert mkl is None or int(mkl) >= 1
        assert openblas == mkl
