"""The socket's file: its mode, who owns the path, what may stand in the way, what happens when it vanishes (1b, E1, E2)."""
import contextlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from harness import processes
from harness.runtime import EXIT_ALREADY_RUNNING, EXIT_SOCKET, Runtime

ECHO = "answers:echo"
LOST = ["(WARNING|ERROR|INFO) .*"]  # what happens to the file of a running server is worth a line of any level


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def bound_socket(path):
    """A socket file nobody listens on any more."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()


# -- mode ---------------------------------------------------------------------------------------------------------------

MODES = {
    "the default": (None, 0o022, 0o660), "the default under a narrow umask": (None, 0o077, 0o660),
    "the default under no umask": (None, 0o000, 0o660), "0o600": ("0o600", 0o000, 0o600), "600": ("600", 0o022, 0o600),
    "0666": ("0666", 0o077, 0o666), "0o640": ("0o640", 0o077, 0o640), "empty leaves it to the umask": ("", 0o077, 0o700),
    "empty under no umask": ("", 0o000, 0o777),
}


@pytest.mark.parametrize("chmod, umask, expected", MODES.values(), ids=MODES)
def test_mode(runtime, chmod, umask, expected):
    env = {} if chmod is None else {"ASYA_SOCKET_CHMOD": chmod}
    with runtime(ECHO, env=env, umask=umask) as server:
        assert oct(mode_of(server.path)) == oct(expected)


@contextlib.contextmanager
def watching(folder):
    """Looks at all sockets of a folder all the time; yields the set of modes seen."""
    seen, over = set(), threading.Event()

    def look():
        while not over.is_set():
            for entry in os.listdir(folder):
                with contextlib.suppress(OSError):
                    status = os.lstat(os.path.join(folder, entry))
                    if stat.S_ISSOCK(status.st_mode):
                        seen.add(stat.S_IMODE(status.st_mode))
            time.sleep(0)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_the_mode_is_never_wider_than_configured_not_for_a_moment(tmp_path):
    """Neither under the temporary name nor under the final one."""
    path = tmp_path / "app.sock"
    with watching(tmp_path) as seen:
        for _ in range(int(os.environ.get("ASYA_TEST_STARTS", 20))):
            server = Runtime(ECHO, path=path, umask=0, env={"ASYA_SOCKET_CHMOD": "0600"})
            try:
                server.launch().wait_ready()
                assert server.stop() == 0
            finally:
                server.discard()
    assert seen == {0o600}


# -- place --------------------------------------------------------------------------------------------------------------


def path_of_length(folder, length):
    name = "s" * (length - len(str(folder)) - 1)
    return folder / name


NO_CONTROL = "WARNING no control socket: ASYA_CONTROL_PATH is 111 bytes long"  # .ctl behind such a path


def test_a_path_of_107_bytes_works(runtime, short_folder):
    path = path_of_length(short_folder, 107)
    with runtime(ECHO, path=path, expect_log=[NO_CONTROL]) as server:
        assert len(server.path) == 107
        assert server.result(1) == 1


def test_a_path_of_107_bytes_with_a_short_name_works(runtime, short_folder):
    folder = path_of_length(short_folder, 105)
    folder.mkdir()
    with runtime(ECHO, path=folder / "s", expect_log=[NO_CONTROL]) as server:
        assert server.result(1) == 1


@pytest.mark.parametrize("length", [108, 109, 200, 4000])
def test_a_longer_path_is_refused(refuse, short_folder, length):
    path = str(short_folder)
    while len(path) < length - 101:
        path += "/" + "d" * 99
    path += "/" + "s" * (length - len(path) - 1)
    refusal = refuse(ECHO, path=path)
    assert refusal.code == EXIT_SOCKET
    assert "107" in refusal.cause
    assert os.listdir(short_folder) == [], "nothing may be made for a path that cannot work"


def test_missing_directories_are_made(runtime, short_folder):
    with runtime(ECHO, path=short_folder / "a" / "b" / "app.sock") as server:
        assert server.result(1) == 1
        server.clean_before = []


@pytest.mark.parametrize("umask, mode", [(0, 0o755), (0o022, 0o755), (0o077, 0o700)])
def test_directories_that_are_made_are_never_open_to_everybody(runtime, short_folder, umask, mode):
    with runtime(ECHO, path=short_folder / "a" / "b" / "app.sock", umask=umask) as server:
        server.clean_before = []
        assert [oct(mode_of(short_folder / name)) for name in ("a", "a/b")] == [oct(mode)] * 2


STRANGER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


@needs_root
@pytest.mark.parametrize("owner, mode, told", [
    (STRANGER, 0o755, ["WARNING .*{0} belongs to user 12345"]), (STRANGER, 0o1777, ["WARNING .*{0} belongs to user 12345"]),
    (0, 0o777, ["WARNING .*everybody may write to .*{0}, which has no sticky bit"]), (0, 0o1777, []), (0, 0o2770, []),
], ids=["another user's", "another user's with a sticky bit", "open", "sticky", "a group's"])
def test_a_folder_in_which_others_could_take_the_sockets_place_is_told_once(runtime, short_folder, owner, mode, told):
    folder = short_folder / "shared"
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, owner)
    with runtime(ECHO, path=folder / "app.sock", expect_log=[line.format(folder) for line in told]) as server:
        assert server.result(1) == 1
        assert len([line for line in server.logs() if not line.quiet]) == len(told)


def test_a_folder_that_is_a_link_of_ours_is_followed(runtime, short_folder):
    """As /var/run is a link to /run."""
    (short_folder / "real").mkdir()
    (short_folder / "link").symlink_to("real")
    with runtime(ECHO, path=short_folder / "link" / "deeper" / "app.sock") as server:
        assert server.result(1) == 1
        assert (short_folder / "real" / "deeper" / "app.sock").is_socket()
        server.clean_before = []


@needs_root
@pytest.mark.parametrize("path", ["link/app.sock", "link/deeper/app.sock"])
def test_a_link_that_somebody_else_has_made_is_refused(refuse, short_folder, path):
    (short_folder / "real").mkdir()
    (short_folder / "link").symlink_to("real")
    os.chown(short_folder / "link", STRANGER, STRANGER, follow_symlinks=False)
    refusal = refuse(ECHO, path=short_folder / path)
    assert refusal.code == EXIT_SOCKET
    assert "%s/link" % short_folder in refusal.cause and "12345" in refusal.cause
    assert os.listdir(short_folder / "real") == []


def test_a_relative_path_is_taken_from_the_current_directory(runtime, short_folder):
    server = Runtime(ECHO, cwd=short_folder, env={"ASYA_SOCKET_PATH": "app.sock"}, path=short_folder / "app.sock")
    try:
        server.launch().wait_ready()
        assert server.result(1) == 1
        assert server.stop() == 0
        server.check_gone()
    finally:
        server.discard()


UNUSABLE = {
    "below a file": "{0}/file/app.sock", "below /proc": "/proc/asya/app.sock", "a name without an end": "{0}/folder/",
    "the root": "/",
}


@pytest.mark.parametrize("place", UNUSABLE.values(), ids=UNUSABLE)
def test_a_place_where_no_socket_can_be_is_refused(refuse, short_folder, place):
    (short_folder / "file").write_text("kept")
    (short_folder / "folder").mkdir()
    refusal = refuse(ECHO, path=place.format(short_folder))
    assert refusal.code == EXIT_SOCKET
    assert refusal.cause
    assert (short_folder / "file").read_text() == "kept"
    assert os.listdir(short_folder / "folder") == []


# -- what stands in the way ---------------------------------------------------------------------------------------------


def test_a_stale_socket_is_replaced(runtime, short_folder):
    path = short_folder / "app.sock"
    bound_socket(path)
    before = os.lstat(path)
    server = Runtime(ECHO, path=path)
    try:
        server.launch().wait_ready()
        after = os.lstat(path)
        assert (after.st_ino, after.st_ctime_ns) != (before.st_ino, before.st_ctime_ns)
        assert server.result(1) == 1
        assert server.stop() == 0
        assert os.listdir(short_folder) == []
    finally:
        server.discard()


def test_what_a_killed_runtime_left_does_not_look_ready(runtime, short_folder):
    """Probes and sidecars test for both files: they must not be there while the next start loads its function."""
    path, ready = short_folder / "asya-runtime.sock", short_folder / "runtime-ready"
    env = {"ASYA_SOCKET_DIR": str(short_folder), "ASYA_SOCKET_PATH": None}
    first = Runtime(ECHO, env=env, path=path)
    try:
        first.launch().wait_ready()
        assert processes.eventually(ready.exists)
        first.kill(signal.SIGKILL)
        first.process.wait()
        assert path.exists() and ready.exists()
        with runtime("broken.slow", env=env, path=path, ready=False) as second:
            assert processes.eventually(lambda: not path.exists() and not ready.exists())
            assert not second.log_text().count("listening")
            second.wait_ready()
            assert second.result(1) == 1
            second.clean_before = []
    finally:
        first.discard()


def in_asyas_folder(runtime, **options):
    """A runtime whose settings name a ready-file."""
    return runtime(ECHO, env={"ASYA_SOCKET_PATH": None, "ASYA_SOCKET_DIR": options.pop("folder")}, **options)


def test_a_ready_file_that_is_removed_is_put_back(runtime, short_folder):
    """Asya's liveness probe tests for it: the container would be restarted."""
    ready = short_folder / "runtime-ready"
    with in_asyas_folder(runtime, folder=str(short_folder), path=short_folder / "asya-runtime.sock",
                         expect_log=["WARNING .*the ready-file .* was missing; it has been put back"]) as server:
        ready.unlink()
        assert processes.eventually(ready.exists) and ready.read_text() == "ready\n"
        assert server.control("/drain", "POST").status == 200
        assert not ready.exists()
        assert not processes.eventually(ready.exists, 2.5), "a drained one has none, at no check"
        assert server.control("/undrain", "POST").status == 200
        assert processes.eventually(ready.exists)


def test_a_ready_file_that_cannot_be_written_is_written_later(runtime, short_folder):
    obstacle = short_folder / "runtime-ready.new"
    obstacle.mkdir()
    with in_asyas_folder(runtime, folder=str(short_folder), path=short_folder / "asya-runtime.sock",
                         expect_log=["ERROR .*cannot write the ready-file", "WARNING .*put back"]) as server:
        server.wait_for_log("cannot write the ready-file")
        assert server.result(1) == 1
        time.sleep(2.5)  # it is tried again, and said once
        assert server.log_text().count("cannot write the ready-file") == 1
        obstacle.rmdir()
        assert processes.eventually((short_folder / "runtime-ready").exists)
        server.clean_before = []


def test_a_stale_lock_file_is_no_obstacle(runtime, short_folder):
    (short_folder / "app.sock.lock").write_text("")
    with runtime(ECHO, path=short_folder / "app.sock") as server:
        assert server.result(1) == 1
        server.clean_before = []


def obstacle_file(path):
    path.write_text("precious")


def obstacle_folder(path):
    path.mkdir()
    (path / "inside").write_text("precious")


def obstacle_fifo(path):
    os.mkfifo(path)


def obstacle_link_to_file(path):
    (path.parent / "victim").write_text("precious")
    os.chmod(path.parent / "victim", 0o640)
    path.symlink_to("victim")


def obstacle_link_to_nothing(path):
    path.symlink_to("victim")


def obstacle_link_to_socket(path):
    bound_socket(path.parent / "victim")
    path.symlink_to("victim")


def portrait(folder):
    """Everything in a folder: names, kinds, modes, inodes, contents."""
    found = {}
    for place in sorted(folder.rglob("*")):
        status = place.lstat()
        content = place.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(place)] = (status.st_mode, status.st_ino, content)
    return found


OBSTACLES = [obstacle_file, obstacle_folder, obstacle_fifo, obstacle_link_to_file, obstacle_link_to_nothing,
             obstacle_link_to_socket]


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda make: make.__name__.replace("_", " "))
def test_what_is_no_socket_is_refused_and_left_as_it_is(refuse, short_folder, obstacle):
    path = short_folder / "app.sock"
    obstacle(path)
    before = portrait(short_folder)
    refusal = refuse(ECHO, path=path)
    assert refusal.code == EXIT_SOCKET
    assert "app.sock" in refusal.cause
    assert portrait(short_folder) == before


@pytest.mark.parametrize("obstacle", [obstacle_file, obstacle_link_to_file], ids=["a file", "a link"])
def test_a_lock_that_is_no_lock_is_not_followed_or_emptied(short_folder, obstacle):
    """The lock's name in a shared directory may be somebody's trap."""
    obstacle(short_folder / "app.sock.lock")
    server = Runtime(ECHO, path=short_folder / "app.sock")
    try:
        server.launch()
        processes.eventually(lambda: not server.running or server.reachable())
        server.stop()
        victim = short_folder / "victim"
        assert not victim.exists() or victim.read_text() == "precious"
    finally:
        server.discard()


@pytest.mark.parametrize("obstacle", [obstacle_file, obstacle_link_to_file, obstacle_link_to_nothing],
                         ids=["a file", "a link to a file", "a link to nothing"])
def test_the_temporary_name_is_not_followed(short_folder, obstacle):
    obstacle(short_folder / "app.sock.new")
    server = Runtime(ECHO, path=short_folder / "app.sock")
    try:
        server.launch()
        processes.eventually(lambda: not server.running or server.reachable())
        server.stop()
        victim = short_folder / "victim"
        assert victim.exists() == (obstacle is obstacle_link_to_file)
        assert not victim.exists() or (victim.read_text(), mode_of(victim)) == ("precious", 0o640)
    finally:
        server.discard()


# -- two of them --------------------------------------------------------------------------------------------------------


def test_a_second_start_is_refused_and_the_first_is_untouched(runtime):
    with runtime(ECHO) as first:
        inode = os.lstat(first.path).st_ino
        second = Runtime(ECHO, path=first.path)
        try:
            started = time.monotonic()
            second.launch()
            assert second.wait() == EXIT_ALREADY_RUNNING
            assert time.monotonic() - started < 2
            [line] = second.logs()
            assert line.message.endswith("pid %d" % first.pid)
            assert line.level == "ERROR" and "app.sock" in line.text
        finally:
            second.discard()
        assert os.lstat(first.path).st_ino == inode
        assert first.result(1) == 1


def test_a_second_start_is_refused_before_the_first_is_ready(runtime):
    with runtime("broken.slow", ready=False) as first:
        assert processes.eventually(lambda: os.path.exists(first.path + ".lock"))
        time.sleep(0.1)
        second = Runtime(ECHO, path=first.path)
        try:
            second.launch()
            assert second.wait() == EXIT_ALREADY_RUNNING
        finally:
            second.discard()
        first.wait_ready()
        assert first.result(1) == 1


def test_of_twenty_starts_at_once_exactly_one_serves(short_folder):
    path = short_folder / "app.sock"
    starts = [Runtime(ECHO, path=path) for _ in range(20)]
    try:
        for start in starts:
            start.launch()
        assert processes.eventually(lambda: sum(start.running for start in starts) == 1, 20)
        [serving] = [start for start in starts if start.running]
        assert {start.wait() for start in starts if start is not serving} == {EXIT_ALREADY_RUNNING}
        serving.wait_ready()
        assert serving.result(1) == 1
        assert serving.stop() == 0
        assert os.listdir(short_folder) == []
    finally:
        for start in starts:
            start.discard()


def test_starts_and_stops_that_overlap_never_serve_twice(short_folder):
    """While one stops the next may already start: the lock's file must not be split into two."""
    path = short_folder / "app.sock"
    previous = Runtime(ECHO, path=path)
    try:
        previous.launch().wait_ready()
        for _ in range(5):
            previous.kill(signal.SIGTERM)
            rivals = [Runtime(ECHO, path=path) for _ in range(3)]
            try:
                for rival in rivals:
                    rival.launch()
                assert previous.wait() == 0
                assert processes.eventually(lambda: sum(rival.running for rival in rivals) <= 1)
                for rival in rivals:
                    rival.stop()
            finally:
                for rival in rivals:
                    rival.discard()
            previous.discard()
            previous = Runtime(ECHO, path=path)
            previous.launch().wait_ready()
        assert previous.stop() == 0
        assert os.listdir(short_folder) == []
    finally:
        previous.discard()


def test_the_path_never_exists_while_nobody_accepts(short_folder):
    """Published by rename when ready, removed before the end: a client sees either no file or a server."""
    path = str(short_folder / "app.sock")
    refused, reached, over = [], [], threading.Event()

    def knock():
        while not over.is_set():
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
                try:
                    client.connect(path)
                    reached.append(1)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    refused.append(error)
            time.sleep(0.0005)

    knocking = threading.Thread(target=knock)
    knocking.start()
    try:
        for _ in range(10):
            server = Runtime(ECHO, path=path)
            try:
                server.launch().wait_ready()
                assert server.stop() == 0
            finally:
                server.discard()
    finally:
        over.set()
        knocking.join()
    assert not refused
    assert reached


# -- what happens to it while running -----------------------------------------------------------------------------------


def test_a_removed_file_is_published_again(runtime):
    with runtime(ECHO, allow_log=LOST) as server:
        for _ in range(2):
            os.unlink(server.path)
            assert processes.eventually(server.reachable), "silence is wrong"
            assert oct(mode_of(server.path)) == oct(0o660)
            assert server.result(1) == 1


def test_a_removed_file_does_not_disturb_who_is_connected(runtime):
    with runtime("answers:nap", allow_log=LOST) as server:
        with server.connect() as connection:
            connection.send(b"1.5")
            connection.half_close()
            os.unlink(server.path)
            assert connection.reply()["result"] == 1.5
        assert processes.eventually(server.reachable)


def test_a_removed_directory_is_made_again_or_ends_the_runtime(runtime, short_folder):
    folder = short_folder / "inner"
    with runtime(ECHO, path=folder / "app.sock", allow_log=LOST, code=None) as server:
        shutil.rmtree(folder)
        assert processes.eventually(lambda: not server.running or server.reachable()), "silence is wrong"
        if server.running:
            assert server.result(1) == 1
        else:
            assert server.wait() != 0


def test_a_removed_file_is_put_back_once_there_is_a_descriptor_for_it(runtime):
    patience = "WARNING .*cannot be put back yet.*Too many open files"
    with runtime(ECHO, expect_log=[patience, "WARNING .*it has been put back"]) as server:
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        os.unlink(server.path)
        server.wait_for_log(patience)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        assert processes.eventually(server.reachable)
        assert server.result(1) == 1


def test_a_socket_of_its_own_that_comes_back_is_replaced(runtime, short_folder):
    """As when something was mounted over the folder for a while."""
    folder, aside = short_folder / "inner", short_folder / "aside"
    with runtime(ECHO, path=folder / "app.sock", allow_log=LOST) as server:
        server.clean_before = []
        first = os.lstat(server.path).st_ino
        os.rename(folder, aside)
        assert processes.eventually(server.reachable)
        os.rename(folder, short_folder / "mounted")
        os.rename(aside, folder)
        # a worker that has not heard of the new socket yet still accepts from the first one, whose file is back
        assert processes.eventually(lambda: os.path.exists(server.path) and os.lstat(server.path).st_ino != first)
        assert processes.eventually(server.reachable)
        assert server.result(1) == 1


# A child the runtime cannot hear of: of C's fork, which runs no hook of Python's.
HOLDER = """
import ctypes, os, time
pid = ctypes.CDLL(None).fork()
if pid == 0:
    os.setsid()
    time.sleep(30)
    os._exit(0)
return pid
"""


def test_after_kill_9_the_next_start_works_though_a_child_holds_the_socket(runtime):
    with runtime("snippets:run", code=None, worker_children=True) as first:
        child = first.result(HOLDER)
        try:
            first.kill(signal.SIGKILL)
            first.wait()
            first.connect().close()  # the child has the socket open
            second = Runtime(ECHO, path=first.path)
            try:
                second.launch()
                assert processes.eventually(lambda: any("listening" in line.text for line in second.logs()) or
                                            not second.running)
                assert second.result(1) == 1
                assert second.stop() == 0
            finally:
                second.discard()
        finally:
            os.kill(child, signal.SIGKILL)


REPLACEMENTS = {"a file": lambda path: pathlib.Path(path).write_text("other"), "another socket": bound_socket,
                "a directory": os.mkdir, "a link": lambda path: os.symlink("elsewhere", path)}


@pytest.mark.parametrize("replace", REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_a_replacement_is_left_alone_and_ends_the_runtime(runtime, replace):
    with runtime(ECHO, allow_log=LOST, code=None, leaves=["app.sock"]) as server:
        replace(server.path + ".other")
        before = os.lstat(server.path + ".other").st_ino
        if os.path.isdir(server.path + ".other"):
            os.unlink(server.path)
        os.rename(server.path + ".other", server.path)
        assert server.wait(4) != 0
        assert os.lstat(server.path).st_ino == before


@pytest.mark.parametrize("replace", REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_only_its_own_file_is_removed_at_the_stop(runtime, replace):
    """Replaced and stopped in the same moment, before anything can be noticed."""
    with runtime(ECHO, allow_log=LOST, code=None, leaves=["app.sock"]) as server:
        replace(server.path + ".other")
        before = os.lstat(server.path + ".other").st_ino
        if os.path.isdir(server.path + ".other"):
            os.unlink(server.path)
        os.rename(server.path + ".other", server.path)
        server.stop()
        assert os.lstat(server.path).st_ino == before


def test_other_files_beside_the_socket_are_left_alone(runtime, short_folder):
    for name in ("app.sock.bak", "other.sock", "app", ".hidden"):
        (short_folder / name).write_text("kept")
    with runtime(ECHO, path=short_folder / "app.sock") as server:
        assert server.result(1) == 1
    assert sorted(os.listdir(short_folder)) == [".hidden", "app", "app.sock.bak", "other.sock"]


def test_socat_can_talk_to_it(runtime):
    """A client that is not Python."""
    if not shutil.which("socat"):
        pytest.skip("socat is not installed")
    with runtime(ECHO) as server:
        ended = subprocess.run(["socat", "-t5", "-", "UNIX-CONNECT:" + server.path], input=b'{"a":1}', capture_output=True,
                               timeout=20, check=True)
        assert ended.stdout == b'{"status":"ok","result":{"a":1}}'


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("inner, told", [("", "cannot write in folder %s/ (uid 65534)"),
                                         ("missing/", "cannot open or make the socket's folder: %s/missing (uid 65534)")])
def test_a_folder_that_cannot_be_written_to_is_named_with_the_user(tmp_path, inner, told):
    folder = tmp_path / "closed"
    folder.mkdir()
    for each in [folder, *folder.parents][:-2]:
        each.chmod(0o755)
    server = Runtime(ECHO, path=folder / (inner + "app.sock"), wrapper=["setpriv", "--reuid=65534", "--clear-groups"])
    try:
        server.launch()
        assert server.wait() == 73
        assert told % folder in server.log_text()
    finally:
        server.discard()
