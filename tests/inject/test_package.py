"""The package of the wheel in an interpreter its image must not be loaded into. What is tested has no image, so whoever loads
one first fails in another way."""
import subprocess

import pytest

from harness.runtime import EXIT_UNFIT, PYTHON, REPOSITORY

PACKAGE = REPOSITORY / "inject" / "package"
PRETENCES = {"a free-threaded build": ("sys.abiflags = 't'", "free-threaded CPython"),
             "a debug build": ("sys.gettotalrefcount = int", "debug builds of CPython")}
IMPORTS = "import asya_runtime"
STARTS = {
    "-m": "import runpy\nsys.argv = ['-m']\nrunpy.run_module('asya_runtime', run_name='__main__')",
    "asya-runtime": "sys.argv = ['/usr/bin/asya-runtime']\nfrom asya_runtime.__main__ import command",
}


def run(pretence, code):
    start = "import sys\nsys.path.insert(0, %r)\n%s\n%s" % (str(PACKAGE), pretence, code)
    return subprocess.run([PYTHON, "-c", start], capture_output=True, text=True, timeout=60, check=False, env={})


@pytest.mark.parametrize("pretence, words", PRETENCES.values(), ids=PRETENCES)
def test_an_import_is_refused(pretence, words):
    ended = run(pretence, IMPORTS)
    assert ended.stderr.splitlines()[-1] == "ImportError: asya_runtime: does not support %s; use the ordinary build" % words


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("pretence, words", PRETENCES.values(), ids=PRETENCES)
def test_a_start_is_refused_with_one_line(pretence, words, start):
    ended = run(pretence, start)
    assert ended.returncode == EXIT_UNFIT
    assert ended.stderr == "asya_runtime: does not support %s; use the ordinary build\n" % words


def test_an_ordinary_build_goes_on_to_the_image():
    assert "cannot import name '_asya'" in run("", IMPORTS).stderr
