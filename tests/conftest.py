"""Shared by all tests that run the built runtime: ASYA_RUNTIME names the file, ASYA_TEST_PYTHON the interpreter,
ASYA_TEST_WRAPPER the words before it that make it run elsewhere (tests/matrix). With CI=true a skip that
tests/expected_skips.txt does not name fails the run."""
import collections
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile

import pytest

from harness import rows
from harness import runtime as harness

sys.path.append(str(harness.RUNTIME.parent))  # `import asya_runtime`; PYTHONPATH comes first
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup; what inherits that does not obey it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
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
def tmp_path(tmp_path):
    """pytest's, open to the user that a runtime of tests/matrix may have."""
    tmp_path.parent.chmod(0o755)
    tmp_path.chmod(0o1777)
    return tmp_path


@pytest.fixture
def short_folder():
    """A folder with a short name: pytest's own is too long for a socket."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="asya-", dir="/tmp"))
    folder.chmod(0o1777)  # as tmp_path
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


# -- skips --------------------------------------------------------------------------------------------------------------

EXPECTED_SKIPS = [re.compile(line) for line in (pathlib.Path(__file__).parent / "expected_skips.txt").read_text().splitlines()
                  if line and not line.startswith("#")]
NOT_INSTALLED = re.compile(r"(\S+ is not installed|could not import '(?!_testcapi)[^']+')")
_unexpected_skips = {}
_not_installed = collections.Counter()


def _note_skip(report):
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].split("Skipped: ", 1)[-1]
        missing = NOT_INSTALLED.match(reason)
        if missing:
            _not_installed[missing.group()] += 1
        if not any(pattern.fullmatch(reason) for pattern in EXPECTED_SKIPS):
            _unexpected_skips[report.nodeid] = reason


def pytest_runtest_logreport(report):
    _note_skip(report)


def pytest_collectreport(report):
    _note_skip(report)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Of several processes each collects all tests, and tells here what it has skipped as it did so. What is skipped as
    a test is reported to this process anyway."""
    unexpected, missing = getattr(node, "workeroutput", {}).get("skipped", ({}, {}))
    _unexpected_skips.update(unexpected)
    for reason, count in missing.items():
        _not_installed[reason] = max(_not_installed[reason], count)


def pytest_collection_finish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["skipped"] = dict(_unexpected_skips), dict(_not_installed)


def pytest_sessionfinish(session, exitstatus):
    if _unexpected_skips and exitstatus == pytest.ExitCode.OK and os.environ.get("CI") == "true":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    for test, reason in _unexpected_skips.items():
        terminalreporter.write_line("UNEXPECTED SKIP %s: %s" % (test, reason))
    for reason, count in _not_installed.items():  # tools/test.sh repeats these lines at its end
        terminalreporter.write_line("left out: %s, %d test%s" % (reason, count, "s" * (count > 1)))


def pytest_collection_modifyitems(items):
    """Lets `-k W7` find the tests of that row of the list of faults."""
    for item in items:
        item.extra_keyword_matches.update(rows.rows_of(item.path.stem, item.name))
