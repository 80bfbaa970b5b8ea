"""What surrounds the runtime fails: memory of the container, descriptors, disks, /proc (W5, W6, E3, E4, E5)."""
import contextlib
import os
import pathlib
import subprocess
import time
import uuid

import pytest

from harness import processes

pytestmark = pytest.mark.supervised

DEATH = ["(ERROR|WARNING) .*"]
EAT = "x = []\nwhile True: x.append(b'x' * (1 << 20))"
KILL = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nimport time; time.sleep(5)"
MEMORY = pathlib.Path("/sys/fs/cgroup/memory")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and control groups need root")


@pytest.fixture
def memory_group():
    """A memory control group (version 1) of 200 MiB; its folder."""
    folder = MEMORY / ("asya-test-" + uuid.uuid4().hex[:8])
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(200 << 20))
    except OSError as error:
        pytest.skip("no memory group can be made here: %s" % error)
    yield folder
    processes.eventually(lambda: not (folder / "cgroup.procs").read_text(), 5)
    with contextlib.suppress(OSError):
        folder.rmdir()


@needs_root
def test_the_kernels_oom_killer_takes_the_worker_and_the_client_is_told(runtime, memory_group):
    into = ("sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(memory_group))
    with runtime("snippets:run", wrapper=into, allow_log=DEATH) as server:
        for _ in range(int(os.environ.get("ASYA_TEST_DEATHS", 3))):
            supervisor, workers = server.pid, server.worker_pids()
            assert server.call(EAT)["error"] == "out_of_memory"
            assert server.result("return 1") == 1
            assert server.pid == supervisor and server.worker_pids() != workers
        server.wait_for_log("ERROR .*killed by the kernel for want of memory")


# what the files of a version 2 group say before and after, and what the client is told
GROUPS = {
    "its count grew": ("oom_kill 3\n", "oom_kill 4\n", "out_of_memory"),
    "its count stayed": ("oom_kill 3\n", "oom_kill 3\n", "processing_error"),
    "it has no count": ("low 0\nmax 0\n", "low 0\nmax 0\n", "processing_error"),
    "its file cannot be read": (None, None, "processing_error"),
    "its count is no number": ("oom_kill x\n", "oom_kill y\n", "processing_error"),
}


@pytest.mark.parametrize("before, after, error", GROUPS.values(), ids=GROUPS)
def test_whether_it_was_the_oom_killer_is_read_and_never_guessed(runtime, tmp_path, before, after, error):
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    events = tmp_path / "memory.events"
    if before is not None:
        events.write_text(before)
    with runtime("answers:nap", env={"ASYA_CGROUP_ROOT": str(tmp_path)}, allow_log=DEATH) as server:
        with server.connect() as connection:
            connection.send(b"20 ")
            time.sleep(0.2)
            if after is not None:
                events.write_text(after)
            os.kill(server.worker_pids()[0], 9)
            reply = connection.reply()
        assert reply["error"] == error
        assert error == "out_of_memory" or reply["type"] == "WorkerCrashed"


@needs_root
def test_a_full_disk_leaves_no_empty_ready_file(runtime, short_folder):
    """On a full disk open() still makes an empty file; it serves without a ready-file and says so."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(short_folder)], check=True)
    try:
        with contextlib.suppress(OSError), open(short_folder / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        env = {"ASYA_SOCKET_DIR": str(short_folder), "ASYA_SOCKET_PATH": None}
        with runtime("answers:echo", env=env, path=short_folder / "asya-runtime.sock",
                     expect_log=["ERROR .*ready-file"]) as server:
            assert server.result(1) == 1
            assert not (short_folder / "runtime-ready").exists()
            assert sorted(os.listdir(short_folder)) == ["asya-runtime.sock", "asya-runtime.sock.ctl", "asya-runtime.sock.ctl.lock",
                                                        "asya-runtime.sock.lock", "filler"]
    finally:
        subprocess.run(["umount", "-l", str(short_folder)], check=True)


def test_with_few_descriptors_all_are_served_in_turn(runtime):
    """More requests than descriptors: those behind wait in the backlog, and nothing spins."""
    with runtime("answers:nap", wrapper=("prlimit", "--nofile=80:80"), allow_log=["WARNING .*"]) as server:
        before = processes.cpu_seconds(server.pid)
        started = time.monotonic()
        connections = [server.connect() for _ in range(100)]
        for connection in connections:
            connection.send(b"0.01 ")
        for connection in connections:
            assert connection.reply() == {"status": "ok", "result": 0.01}
            connection.close()
        used = processes.cpu_seconds(server.pid) - before
        assert used < 0.2 * (time.monotonic() - started)


ABSENT = {
    "/proc": "mount -t tmpfs none /proc",
    "control groups": "mount -t tmpfs none /sys/fs/cgroup",
    "both": "mount -t tmpfs none /proc; mount -t tmpfs none /sys/fs/cgroup",
}


@needs_root
@pytest.mark.parametrize("mounts", ABSENT.values(), ids=ABSENT)
def test_it_serves_and_answers_for_dead_workers_without(runtime, mounts):
    wrapper = ("unshare", "-m", "sh", "-c", mounts + '; exec "$@"', "sh")
    with runtime("snippets:run", wrapper=wrapper, allow_log=DEATH) as server:
        assert server.result("return 1") == 1
        assert server.call(KILL)["type"] == "WorkerCrashed"
        assert server.result("return 2") == 2


def test_a_worker_that_cannot_be_forked_is_tried_again(runtime):
    """No process may be made for a while: clients wait and are served."""
    with runtime("answers:echo", allow_log=DEATH) as server:
        subprocess.run(["prlimit", "--pid", str(server.pid), "--nofile=3:4096"], check=True)
        os.kill(server.worker_pids()[0], 9)
        time.sleep(0.5)
        subprocess.run(["prlimit", "--pid", str(server.pid), "--nofile=1024:4096"], check=True)
        assert server.result(5) == 5
        server.wait_for_log("ERROR .*cannot start worker")
