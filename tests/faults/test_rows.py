"""The list of rows names tests that exist."""
import pathlib
import re

import pytest

from harness import rows

TESTS = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("row", [*("W%d" % n for n in range(1, 16)), *("C%d" % n for n in range(1, 8)),
                                 *("E%d" % n for n in range(1, 14))])
def test_each_row_of_the_list_of_faults_has_its_tests(row):
    for module, beginning in rows.ROWS[row]:
        [path] = TESTS.glob("*/%s.py" % module)
        assert re.search(r"^def %s" % (beginning or "test_"), path.read_text(), re.M), (row, module, beginning)
