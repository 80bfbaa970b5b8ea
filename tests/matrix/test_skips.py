"""A skip nobody expects fails the run where CI=true: else a test could go missing without a word."""
import os
import shutil
import subprocess
import sys

import pytest

from harness.runtime import REPOSITORY

ODD = "import pytest\ndef test_odd(): pytest.skip('something odd')\n"
ODD_MODULE = "import pytest\npytest.skip('something odd', allow_module_level=True)\n"
ODD_MARK = "import pytest\n@pytest.mark.skipif(True, reason='something odd')\ndef test_odd(): pass\n"
KNOWN = "import pytest\ndef test_known(): pytest.skip('no CPython on musl on this machine')\n"

ROWS = {
    "an unexpected skip fails with CI=true": (ODD, "true", 1),
    "so does one of a mark": (ODD_MARK, "true", 1),
    "so does one of a whole file": (ODD_MODULE, "true", 1),
    "elsewhere it is only told": (ODD, "", 0),
    "an expected one never fails": (KNOWN, "true", 0),
}


def run_pytest(tmp_path, source, ci):
    """On a file of this source, with this project's conftest."""
    for name in ("conftest.py", "expected_skips.txt"):
        shutil.copy(REPOSITORY / "tests" / name, tmp_path / name)
    (tmp_path / "test_it.py").write_text("def test_passes(): pass\n")
    (tmp_path / "test_skip.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path, tmp_path],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(REPOSITORY / "tests")}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("source, ci, code", ROWS.values(), ids=ROWS)
def test_skips(tmp_path, source, ci, code):
    ended = run_pytest(tmp_path, source, ci)
    assert ended.returncode == code, ended.stdout
    assert ("UNEXPECTED SKIP" in ended.stdout) == (source is not KNOWN)


def test_a_tool_that_is_not_installed_is_named_at_the_end(tmp_path):
    source = "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_tool(n): pytest.skip('kubectl is not installed')\n"
    assert "\nleft out: kubectl is not installed, 2 tests\n" in run_pytest(tmp_path, source, "true").stdout
