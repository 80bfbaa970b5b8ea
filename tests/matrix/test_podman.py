"""The same file in containers of podman's, with crun and with runc."""
import functools
import shutil
import subprocess
import tempfile

import pytest

from harness.runtime import REPOSITORY

from . import smoke

SCRIPT = REPOSITORY / "tests" / "matrix" / "podman.sh"
SYSTEM = "/usr/bin/python3"  # the folders of the host are in the container; an interpreter in root's home is closed to others
RUNTIMES = ["crun", "runc"]
PLACES = ["default", "profile", "read-only", "restricted"]


@functools.lru_cache(maxsize=None)
def refusal(runtime, place):
    """What podman says where it cannot make such a container; empty where it can."""
    for tool in ("podman", runtime):
        if not shutil.which(tool):
            return tool + " is not installed"
    with tempfile.TemporaryDirectory(prefix="asya-", dir="/tmp") as home:  # the container's user may get it
        ended = subprocess.run([str(SCRIPT), runtime, place, "/bin/true"], env={"HOME": home, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                               capture_output=True, text=True, cwd=home, check=False)
    return "podman cannot run here: " + (ended.stderr.splitlines() or ["no root"])[-1] if ended.returncode else ""


@pytest.fixture
def container():
    """container(runtime, place): the words before a program that make it run in such a container."""
    def words(runtime, place):
        reason = refusal(runtime, place)
        if reason:
            pytest.skip(reason)
        return [str(SCRIPT), runtime, place]

    return words


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("oci", RUNTIMES)
def test_it_serves_in(runtime, container, oci, place):
    with runtime("snippets:run", python=SYSTEM, wrapper=container(oci, place), expect_log=["WARNING .*validation_error"],
                 allow_log=smoke.LOG) as server:
        smoke.check(server)


@pytest.mark.parametrize("oci", RUNTIMES)
def test_it_is_restricted_as_it_says(runtime, container, oci):
    with runtime("snippets:run", python=SYSTEM, wrapper=container(oci, "restricted")) as server:
        status = server.result("with open('/proc/self/status') as status: return status.read()")
        kept = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert kept["Uid"].split("\t") == ["1000650000"] * 4 and kept["Gid"].split("\t") == ["0"] * 4
        assert int(kept["CapBnd"], 16) == int(kept["CapEff"], 16) == 0
        assert kept["NoNewPrivs"] == "1" and kept["Seccomp"] == "2"
        assert "EROFS" in server.call("import errno\ntry: open('/new', 'w')\nexcept OSError as e: return errno.errorcode[e.errno]")["result"]


@pytest.mark.parametrize("oci", RUNTIMES)
def test_the_containers_memory_is_out_of_memory_and_survived(runtime, container, oci):
    with runtime("snippets:run", python=SYSTEM, wrapper=container(oci, "memory"), allow_log=["ERROR .*", "WARNING .*"]) as server:
        supervisor, workers = server.pid, server.worker_pids()
        assert server.call("kept = [b'x' * (1 << 20) for _ in range(600)]")["error"] == "out_of_memory"
        assert server.result("return 1") == 1
        assert server.pid == supervisor and server.worker_pids() != workers
        server.wait_for_log("ERROR .*killed by the kernel for want of memory")


@pytest.mark.parametrize("oci", RUNTIMES)
def test_a_share_of_the_containers_memory_is_a_limit(runtime, container, oci):
    with runtime("snippets:run", python=SYSTEM, env={"ASYA_MEMORY_LIMIT": "50%"}, wrapper=container(oci, "memory"),
                 allow_log=["ERROR .*out_of_memory"]) as server:
        workers = server.worker_pids()
        assert server.result("import resource\nreturn resource.getrlimit(resource.RLIMIT_DATA)[0]") == (256 << 20) // 100 * 50
        assert server.call("return len(bytearray(128 << 20))")["error"] == "out_of_memory"
        assert server.worker_pids() == workers
