"""Starts that fail: each with its own exit code, the traceback, one cause line, and nothing left behind (W12)."""
import signal
import subprocess
import time

import pytest

from harness import processes
from harness.runtime import (EXIT_IMPORT_RAISED, EXIT_NEEDS_PARAMETERS, EXIT_NO_ATTRIBUTE, EXIT_NO_MODULE,
                             EXIT_NOT_CALLABLE, EXIT_OK, EXIT_STARTUP_TIMEOUT, EXIT_SYNTAX)

# what is wrong: the handler, the exit code, what the cause line names, what the traceback shows ("": there is none, since no
# code of the user's is to blame)
FAILURES = {
    "the module does not exist": ("absent", EXIT_NO_MODULE, ["absent"], ""),
    "the package has no such module": ("shop.absent", EXIT_NO_MODULE, ["shop.absent"], ""),
    "the package does not exist": ("absent.orders:price", EXIT_NO_MODULE, ["absent"], ""),
    "the parent is a module, not a package": ("answers.deeper:echo", EXIT_NO_MODULE, ["answers"], ""),
    "an import inside it is not installed":
        ("broken.needing", EXIT_NO_MODULE, ["absent_dependency", "broken.needing"], "import absent_dependency"),
    "an import of an import is not installed":
        ("broken.deeper", EXIT_NO_MODULE, ["absent_dependency", "broken.deeper"], "from broken import needing"),
    "a name it imports is not there":
        ("broken.misnamed", EXIT_IMPORT_RAISED, ["no_such_name"], "from broken import no_such_name"),
    "the function does not exist": ("answers:absent", EXIT_NO_ATTRIBUTE, ["absent", "answers"], ""),
    "process is meant but does not exist": ("answers", EXIT_NO_ATTRIBUTE, ["process", "answers"], ""),
    "the class does not exist": ("shop.orders:Absent.take", EXIT_NO_ATTRIBUTE, ["Absent"], ""),
    "the class has no such method": ("shop.orders:Till.absent", EXIT_NO_ATTRIBUTE, ["absent"], ""),
    "it is a number": ("shop.orders:number", EXIT_NOT_CALLABLE, ["number"], ""),
    "the attribute of the object is no method": ("shop.orders:Till.__doc__", EXIT_NOT_CALLABLE, ["__doc__"], ""),
    "it is a syntax error": ("broken.syntax", EXIT_SYNTAX, ["syntax.py", "4"], "def process(payload)"),
    "the import raises": ("broken.raising", EXIT_IMPORT_RAISED, ["RuntimeError", "no model"], "raise RuntimeError"),
    "the import calls sys.exit": ("broken.exiting", EXIT_IMPORT_RAISED, ["exit", "7"], "sys.exit(7)"),
    "the import ends the process": ("broken.vanishing", EXIT_IMPORT_RAISED, ["9"], ""),
    "the import ends the process with a status the runtime uses, too":
        ("broken.vanishing_as_us", EXIT_IMPORT_RAISED, ["exited with status 66"], ""),
    "the import prints 10 MB and raises":
        ("broken.chatty_and_raising", EXIT_IMPORT_RAISED, ["after much talk"], "raise RuntimeError"),
    "the constructor needs parameters":
        ("shop.orders:Demanding.take", EXIT_NEEDS_PARAMETERS, ["Demanding", "catalogue"], ""),
    "the constructor needs a parameter by name":
        ("shop.orders:Named.take", EXIT_NEEDS_PARAMETERS, ["Named", "region"], ""),
    "the constructor calls something with too few parameters":
        ("shop.orders:Clumsy.take", EXIT_IMPORT_RAISED, ["needs_two"], "needs_two(1)"),
    "the constructor raises": ("shop.orders:Fragile.take", EXIT_IMPORT_RAISED, ["the drawer is stuck"], "RuntimeError"),
}


@pytest.mark.parametrize("handler, code, causes, traceback", FAILURES.values(), ids=FAILURES)
def test_start_fails_because(refuse, handler, code, causes, traceback):
    refusal = refuse(handler)
    assert refusal.code == code, refusal.lines
    for word in causes:
        assert word in refusal.cause
    assert traceback in refusal.traceback and (traceback or not refusal.traceback), refusal.traceback
    assert "importlib" not in refusal.traceback
    assert refusal.traceback.count("Traceback (most recent call last)") <= 1
    assert refusal.seconds < 5


def test_only_parameters_without_default_count_as_required(refuse):
    cause = refuse("shop.orders:Demanding.take").cause
    assert "limit" not in cause and "self" not in cause


def test_several_workers_tell_the_cause_once(refuse):
    refusal = refuse("broken.raising", env={"ASYA_WORKERS": "3"})
    assert refusal.code == EXIT_IMPORT_RAISED
    assert "no model" in refusal.cause


def test_the_cause_line_of_a_json_log_is_one_object(refuse):
    refusal = refuse("answers:absent", env={"ASYA_LOG_FORMAT": "json"})
    assert refusal.code == EXIT_NO_ATTRIBUTE
    assert "absent" in refusal.cause


def test_an_import_that_prints_ten_megabytes_still_serves(runtime):
    with runtime("broken.chatty") as server:
        assert server.result(1) == 1
        assert server.out_file.stat().st_size == 10 << 20


def test_an_import_that_prints_into_a_pipe_nobody_reads_waits_but_can_be_stopped(runtime):
    with runtime("broken.chatty", ready=False, stdout=subprocess.PIPE) as server:
        assert processes.eventually(lambda: processes.children(server.pid))
        time.sleep(0.3)
        assert not server.reachable()
        assert server.stop() == EXIT_OK
        server.process.stdout.close()


@pytest.mark.parametrize("handler", ["broken.hanging", "broken.spinning"])
def test_a_hanging_import_ends_at_the_startup_timeout(refuse, handler):
    refusal = refuse(handler, env={"ASYA_STARTUP_TIMEOUT": "1"})
    assert refusal.code == EXIT_STARTUP_TIMEOUT
    assert "ASYA_STARTUP_TIMEOUT" in refusal.cause or "1 s" in refusal.cause
    assert 0.9 < refusal.seconds < 6


def test_without_a_startup_timeout_a_slow_import_is_waited_for(runtime):
    with runtime("broken.slow", ready=False) as server:
        time.sleep(0.3)
        assert not server.reachable(), "the socket must not be there before the function is"
        server.wait_ready()
        assert server.result(1) == 1


def test_a_startup_timeout_that_is_not_reached_has_no_effect(runtime):
    with runtime("broken.slow", env={"ASYA_STARTUP_TIMEOUT": "15"}) as server:
        assert server.result(1) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("handler", ["broken.hanging", "broken.spinning"])
def test_a_hanging_import_can_be_stopped(runtime, handler, number):
    with runtime(handler, ready=False) as server:
        assert processes.eventually(lambda: processes.children(server.pid))
        time.sleep(0.2)
        started = time.monotonic()
        assert server.stop(number) == EXIT_OK
        assert time.monotonic() - started < 10
