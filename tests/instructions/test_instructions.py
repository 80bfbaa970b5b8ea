"""The instructions of a request and of loads() and dumps(), against the numbers that bench/instructions.json keeps."""
import sys

import pytest

from harness.runtime import PYTHON, REPOSITORY, RUNTIME, WRAPPER

sys.path.insert(0, str(REPOSITORY / "bench"))

import instructions  # noqa: E402

RENEW = "if that is meant to be, `make instructions` keeps the new numbers"


@pytest.fixture(scope="module")
def verdict():
    """(the entry that was compared with, this toolchain, what instructions.judge() says)"""
    if WRAPPER:
        pytest.skip("instructions are not counted in other places")
    try:
        found = instructions.facts(RUNTIME, PYTHON)
    except instructions.Unable as why:
        pytest.skip(str(why))
    entry = instructions.nearest(instructions.read_kept(), found)

    def judge(counted):
        return instructions.judge(entry, found, counted)

    counted = instructions.count_best(RUNTIME, PYTHON, lambda counts: not any(judge(counts)))
    assert counted.keys() == entry["counts"].keys(), "other rows than those that are kept: `make instructions` renews them"
    return entry, found, judge(counted)


def test_the_image_takes_no_more_instructions(verdict):
    """With the compiler and the CPython that numbers are kept for by 3 % at most, with others by 10 % and 30 %."""
    entry, found, (image, _) = verdict
    assert not image, "%s (%s)" % (RENEW, "; ".join(instructions.differences(entry, found)) or "the same toolchain")


def test_the_process_takes_no_more_instructions(verdict):
    """What it calls in CPython and libc is counted too, so this says something only where these are the same."""
    entry, found, (_, process) = verdict
    if process is None:
        pytest.skip("no instruction counts of a process are kept for this toolchain: " + "; ".join(instructions.differences(entry, found)))
    assert not process, RENEW
