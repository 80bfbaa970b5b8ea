"""The same file in every place that containers give: read-only, noexec, without /proc, without a user, as process 1."""
import os
import subprocess

import pytest

from harness import interpreters
from harness.runtime import EXIT_UNFIT, PYTHON, REPOSITORY, RUNTIME

from . import smoke

SCRIPT = REPOSITORY / "tests" / "matrix" / "place.sh"
PLACES = {name: [str(SCRIPT), name] for name in ("read-only", "no-proc", "user", "unknown-user", "restricted")}
PLACES.update({name: [str(SCRIPT), "--fork", name] for name in ("memfd-noexec-1", "memfd-noexec-2", "process-1")})


@pytest.fixture(scope="module")
def place_of():
    """place_of(name): the words before a program that make it run in that place."""
    ended = subprocess.run([str(SCRIPT), "--fork", "memfd-noexec-2", "true"], capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip("namespaces cannot be made here: " + (ended.stderr.splitlines() or ["no root"])[0])
    return PLACES.__getitem__


@pytest.mark.parametrize("name", PLACES)
def test_it_serves_in(runtime, place_of, name):
    with runtime("snippets:run", wrapper=place_of(name), expect_log=["WARNING .*validation_error"], allow_log=smoke.LOG) as server:
        smoke.check(server)


# The image comes from memory where there is /proc, whatever the kernel's setting; else from a file beside the socket.
LOADED_FROM = {"read-only": "memfd:_asya", "memfd-noexec-1": "memfd:_asya", "memfd-noexec-2": "memfd:_asya", "no-proc": "/s/.asya-"}


@pytest.mark.parametrize("name", LOADED_FROM)
def test_where_the_image_comes_from_in(runtime, place_of, name):
    with runtime("answers:echo", wrapper=place_of(name)) as server:
        with open("/proc/%d/maps" % server.pid) as maps:
            assert LOADED_FROM[name] in maps.read()
        assert [name for name in os.listdir(server.folder) if name.endswith(".so")] == []


def without_os_memfd_create():
    """Interpreters that must find another way to memfd_create."""
    found = {i.name: i for i in interpreters.found() if i.fit and i.version[:2] == (3, 7) and "on" not in i.name.split()}
    return list(found.values()) or [None]


@pytest.mark.parametrize("name", ["read-only", "memfd-noexec-2", "restricted"])
def test_it_needs_no_memfd_create_of_pythons_own_in(runtime, place_of, name):
    [interpreter, *_] = without_os_memfd_create()
    if interpreter is None:
        pytest.skip("no CPython 3.7 on this machine")
    with runtime("answers:echo", python=interpreter.path, wrapper=place_of(name)) as server:
        assert server.result([1]) == [1]


def test_no_place_at_all_is_a_clear_end(place_of, tmp_path):
    """ASYA_LOAD=file where nothing writable is executable: each folder that was tried, one line."""
    ended = subprocess.run(
        [*place_of("read-only"), PYTHON, str(RUNTIME)], capture_output=True, text=True, timeout=60, check=False, cwd="/",
        env={"PATH": os.environ["PATH"], "ASYA_LOAD": "file", "HOME": "/root", "ASYA_SOCKET_PATH": "/tmp/never.sock"})
    assert ended.returncode == EXIT_UNFIT, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert all(folder + ": " in ended.stderr for folder in ("/tmp", "/var/tmp", "/dev/shm", "/root"))
