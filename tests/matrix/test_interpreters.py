"""The same file on every interpreter there is: those the runtime supports serve, all others refuse in one line.

`make matrix` runs the whole contract on each and makes those that can be made."""
import os
import subprocess

import pytest

from harness import interpreters
from harness.runtime import EXIT_NO_MODULE, EXIT_UNFIT, RUNTIME

from . import smoke

FIT = {interpreter.name: interpreter for interpreter in interpreters.found() if interpreter.fit}
UNFIT = {interpreter.name: interpreter for interpreter in interpreters.found() if not interpreter.fit}



def of(found, what):
    """Parametrizes with these interpreters; if there is none, one skip that says so."""
    absent = pytest.param(None, marks=pytest.mark.skip(reason="no %s on this machine" % what), id="none")
    return pytest.mark.parametrize("interpreter", [pytest.param(found[name], id=name) for name in found] or [absent])


# What the promise names; an absent one is a skip that says so.
PROMISED = {"CPython 3.%d" % minor: lambda i, minor=minor: i.version[:2] == (3, minor) for minor in range(7, 16)}
PROMISED["CPython on musl"] = lambda i: i.name.endswith("on musl")
PROMISED["CPython on arm64"] = lambda i: i.name.endswith("on arm64")


@pytest.mark.parametrize("name", PROMISED)
def test_there_is_a(name):
    if not any(PROMISED[name](interpreter) for interpreter in FIT.values()):
        pytest.skip("no %s on this machine" % name)


@pytest.mark.parametrize("interpreter", FIT.values(), ids=FIT)
def test_it_serves_on(runtime, interpreter):
    with runtime("snippets:run", python=interpreter.path, expect_log=["WARNING .*validation_error"], allow_log=smoke.LOG) as server:
        smoke.check(server)


@pytest.mark.parametrize("interpreter", FIT.values(), ids=FIT)
def test_it_fails_clearly_to_start_on(refuse, interpreter):
    refusal = refuse("broken.needing", python=interpreter.path)
    assert refusal.code == EXIT_NO_MODULE
    assert "absent_dependency" in refusal.cause


@of(UNFIT, "interpreter to be refused")
def test_it_refuses_to_run_on(interpreter):
    ended = subprocess.run([interpreter.path, RUNTIME], env={"PATH": os.environ["PATH"]}, cwd="/", stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == EXIT_UNFIT, ended.stderr
    assert ended.stdout == "" and len(ended.stderr.splitlines()) == 1
    assert "asya_runtime" in ended.stderr and "CPython" in ended.stderr


DEBUG = {name: interpreter for name, interpreter in UNFIT.items() if "debug" in name.split()}
REFUSAL = '_refuse("does not support debug builds of CPython; use the ordinary build")'


@of(DEBUG, "debug build of CPython")
def test_what_a_debug_build_asserts_holds_on(runtime, interpreter, tmp_path):
    """With the refusal taken out: for example, that no code of Python runs while an exception is set."""
    whole = RUNTIME.read_text()
    assert whole.count(REFUSAL) == 1
    (tmp_path / "asya_runtime.py").write_text(whole.replace(REFUSAL, "pass"))
    with runtime("snippets:run", python=interpreter.path, program=tmp_path / "asya_runtime.py",
                 expect_log=["WARNING .*validation_error"], allow_log=smoke.LOG) as server:
        smoke.check(server)


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
import sys
sys.path.insert(0, %r)
try:
    import asya_runtime
except ImportError as error:
    print(error)
'''
inner = interpreters.create()
getattr(interpreters, "exec", interpreters.run_string)(inner, code)
interpreters.destroy(inner)
sys.path.insert(0, %r)
import asya_runtime
print(asya_runtime.dumps([1]))
"""
WITH_SUBINTERPRETERS = {name: interpreter for name, interpreter in FIT.items() if interpreter.version >= (3, 8)}


@pytest.mark.parametrize("interpreter", WITH_SUBINTERPRETERS.values(), ids=WITH_SUBINTERPRETERS)
def test_a_subinterpreter_cannot_import_it_and_the_main_one_can(interpreter):
    folder = str(RUNTIME.parent)
    ended = subprocess.run([interpreter.path, "-c", SUBINTERPRETER % (folder, folder)], capture_output=True, text=True,
                           timeout=60, check=False)
    assert ended.stdout == ("asya_runtime: module _asya does not support loading in subinterpreters\nb'[1]'\n"), ended.stderr
