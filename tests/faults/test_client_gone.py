"""The client went away while its function runs: the function is cancelled softly, the worker goes on (C2)."""
import time

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

TOLD = ["(WARNING|ERROR) .*"]
MARKED = "import time\ntry:\n    for _ in range(%d): time.sleep(0.01)\n    KEPT['end'] = 'completed'\n" \
         "except BaseException as e:\n    KEPT['end'] = 'cancelled'\n    raise"


def send(connection, code):
    import json
    connection.send(json.dumps(code).encode())


def test_the_function_is_cancelled_and_the_worker_lives(runtime):
    with runtime("snippets:run", allow_log=TOLD) as server:
        workers = server.worker_pids()
        with server.connect() as connection:
            send(connection, MARKED % 3000)
            time.sleep(0.3)
        started = time.monotonic()
        assert server.result("return KEPT.get('end')") == "cancelled"
        assert time.monotonic() - started < 5
        assert server.worker_pids() == workers


def test_a_pure_loop_is_cancelled_too(runtime):
    with runtime("snippets:run", allow_log=TOLD) as server:
        workers = server.worker_pids()
        with server.connect() as connection:
            send(connection, "while True: pass")
            time.sleep(0.3)
        assert server.result("return 1") == 1
        assert server.worker_pids() == workers


def test_a_half_closed_client_is_not_gone(runtime):
    with runtime("snippets:run", allow_log=TOLD) as server:
        with server.connect() as connection:
            send(connection, MARKED % 80)
            connection.half_close()
            assert connection.reply()["status"] == "ok"
        assert server.result("return KEPT.get('end')") == "completed"


def test_it_can_be_switched_off(runtime):
    with runtime("snippets:run", env={"ASYA_CANCEL_ON_DISCONNECT": "false"}, allow_log=TOLD) as server:
        with server.connect() as connection:
            send(connection, MARKED % 80)
            time.sleep(0.2)
        assert server.result("return KEPT.get('end')") == "completed"


def test_many_clients_that_give_up_do_not_cost_the_worker(runtime):
    with runtime("answers:nap", allow_log=TOLD) as server:
        workers = server.worker_pids()
        for _ in range(20):
            with server.connect() as connection:
                connection.send(b"0.02 ")
                time.sleep(0.005)
        assert server.result(0) == 0
        assert server.worker_pids() == workers


def test_a_cancelled_function_leaves_nobody_else_cancelled(runtime):
    """The exception must not arrive late, in the request of another client."""
    with runtime("answers:nap", allow_log=TOLD) as server:
        for _ in range(60):
            with server.connect() as connection:
                connection.send(b"0.11 ")
                time.sleep(0.105)
            assert server.result(0.001) == 0.001
        assert processes.alive(server.pid)
