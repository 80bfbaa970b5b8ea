"""Shared by all tests that run the built runtime: ASYA_RUNTIME names the file, ASYA_TEST_PYTHON the interpreter."""
import os
import pathlib
import random
import shutil
import sys
import tempfile

import pytest

from harness import runtime as harness

sys.setrecursionlimit(5000)  # messages of the greatest allowed depth are compared with json, pytest is deep itself


@pytest.fixture(scope="session")
def runtime():
    """runtime(handler=..., env=..., expect_log=[...]): a block with a serving runtime, inspected when it ends."""
    return harness.serve


@pytest.fixture(scope="session")
def refuse():
    """refuse(handler=..., env=...): a start that must fail; returns how it went."""
    return harness.refuse


@pytest.fixture
def dice():
    """A random source whose seed is printed (shown when the test fails) and set by ASYA_TEST_SEED."""
    seed = int(os.environ.get("ASYA_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print("ASYA_TEST_SEED=%d" % seed)
    return random.Random(seed)


@pytest.fixture
def short_folder():
    """A folder with a short name: pytest's own is too long for a socket."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="asya-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
