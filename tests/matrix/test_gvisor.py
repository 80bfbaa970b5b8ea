"""The runtime in gVisor, its clients outside of it, as a sidecar in another sandbox is (--host-uds): there a connection
has no name. `make matrix` runs the contract with both inside."""
import pytest

from . import gvisor, smoke

SYSTEM = "/usr/bin/python3"
LIMIT = 256 << 20
INSTEAD = r"INFO .*ASYA_MEMORY_LIMIT counts all that is mapped, files too \(RLIMIT_AS\)"


@pytest.fixture
def sandboxed(runtime):
    """runtime() with the program in gVisor. Its processes have no number out here, so the runtime is asked for them."""
    if gvisor.refusal():
        pytest.skip(gvisor.refusal())

    def start(*arguments, env=None, **options):
        return runtime(*arguments, python=SYSTEM, wrapper=[gvisor.INSIDE], env={"INSIDE_FLAGS": "--host-uds=all", **(env or {})},
                       ready=False, **options)

    return start


def ready(server):
    server.wait_ready()
    server.worker_pids = lambda: [worker["pid"] for worker in server.status()["workers"] if "pid" in worker]
    return server


def test_it_serves_clients_outside(sandboxed):
    with sandboxed("snippets:run", expect_log=["WARNING .*validation_error"], allow_log=smoke.LOG) as server:
        smoke.check(ready(server))


def test_a_long_call_is_not_taken_for_a_replaced_connection(sandboxed):
    """After a long call the worker asks whether the connection is still its own (conn_check)."""
    with sandboxed("snippets:run") as server:
        [worker] = ready(server).worker_pids()
        for _ in range(3):
            assert server.result("import time\ntime.sleep(0.1)\nreturn 1") == 1
        assert server.worker_pids() == [worker]


def test_a_memory_limit_is_found_to_be_none_and_another_one_is_set(sandboxed):
    with sandboxed("snippets:run", env={"ASYA_MEMORY_LIMIT": LIMIT}, expect_log=[INSTEAD], allow_log=["ERROR .*out_of_memory"]) as server:
        [worker] = ready(server).worker_pids()
        assert server.result("return len(bytearray(%d))" % (LIMIT // 2)) == LIMIT // 2
        assert server.call("return len(bytearray(%d))" % LIMIT)["error"] == "out_of_memory"
        assert server.result("return 1") == 1
        assert server.worker_pids() == [worker]
