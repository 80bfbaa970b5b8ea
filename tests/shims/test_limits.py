"""ASYA_MEMORY_LIMIT where the system takes a limit and does not enforce it: another one takes its place, or a line says so."""
import pytest

from harness import shims
from harness.runtime import EXIT_IMPORT_RAISED

LIMIT = 256 << 20
OUT_OF_MEMORY = "ERROR .*out_of_memory"
INSTEAD = r"INFO .*ASYA_MEMORY_LIMIT counts all that is mapped, files too \(RLIMIT_AS\)"
NO_EFFECT = "WARNING .*ASYA_MEMORY_LIMIT has no effect: this system does not enforce it"
MAPS = "with open('/proc/self/maps') as maps: return maps.read()"


def limited(ignored):
    return {"ASYA_MEMORY_LIMIT": str(LIMIT), **shims.preloaded("limits", SHIM_LIMITS=ignored)}


@pytest.mark.parametrize("ignored", ["none", "data"])
def test_beyond_the_limit_is_out_of_memory(runtime, ignored):
    expected = [INSTEAD] if ignored == "data" else []
    with runtime("snippets:run", env=limited(ignored), expect_log=expected, allow_log=[OUT_OF_MEMORY]) as server:
        assert server.result("return len(bytearray(%d))" % (LIMIT // 2)) == LIMIT // 2, "what it leaves is there"
        for _ in range(2):
            assert server.call("return len(bytearray(%d))" % LIMIT)["error"] == "out_of_memory"
        if not expected:
            assert "RLIMIT" not in server.log_text()


@pytest.mark.parametrize("ignored", ["none", "data"])
def test_a_load_that_needs_more_names_what_was_set(refuse, tmp_path, ignored):
    (tmp_path / "hungry.py").write_text("x = bytearray(%d)\ndef process(payload): return payload\n" % LIMIT)
    refusal = refuse("hungry", env={**limited(ignored), "PYTHONPATH": str(tmp_path)})
    assert refusal.code == EXIT_IMPORT_RAISED
    assert "ASYA_MEMORY_LIMIT is %d bytes" % LIMIT in refusal.cause, refusal.cause


@pytest.mark.parametrize("ignored", ["none", "data"])
def test_programs_and_threads_are_as_with_any_limit(runtime, ignored):
    program = "import subprocess, sys\nreturn subprocess.run([sys.executable, '-c', 'bytearray(%d)']).returncode" % LIMIT
    threads = ("import threading, time\nfor _ in range(60):\n    threading.Thread(target=time.sleep, args=(0.5,)).start()\n"
               "return threading.active_count()")
    with runtime("snippets:run", env=limited(ignored), allow_log=[OUT_OF_MEMORY], worker_children=True,
                 worker_descriptors=True) as server:
        assert server.result(program) == 0
        assert server.call("return len(bytearray(%d))" % LIMIT)["error"] == "out_of_memory", "the worker keeps its limit"
        reply = server.call(threads)
        assert reply["error"] == "out_of_memory" and "ASYA_MEMORY_LIMIT" in reply["message"]


def test_where_none_is_enforced_one_line_says_so(runtime):
    with runtime("snippets:run", env=limited("data as"), expect_log=[NO_EFFECT]) as server:
        assert server.result("return len(bytearray(%d))" % LIMIT) == LIMIT
        told = [line for line in server.logs() if "ASYA_MEMORY_LIMIT" in line.text]
        assert len(told) == 1, told


@pytest.mark.parametrize("ignored", ["none", "data", "data as"])
def test_what_is_tried_leaves_nothing_mapped(runtime, ignored):
    with runtime("snippets:run", env=limited(ignored), allow_log=["INFO", NO_EFFECT]) as server:
        for line in server.result(MAPS).splitlines():
            begin, end = (int(number, 16) for number in line.split()[0].split("-"))
            assert end - begin < LIMIT or "rw-p" not in line, line
