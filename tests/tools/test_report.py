"""bench/report.py: what it makes of the figures, and where it writes them. No server is started."""
import pathlib
import sys

import pytest

from harness.runtime import REPOSITORY

sys.path.insert(0, str(pathlib.Path(REPOSITORY) / "bench"))
import report  # noqa: E402

SMALL, LARGE = ("http-kept", "93 B", 8), ("http-kept", "10 MB string", 1)
FIGURES = {SMALL: {"runtime": [900.0, 1000.0, 1100.0], "floor": [2000.0], "uvicorn": [100.0], "uWSGI": [500.0]},
           LARGE: {"runtime": [8.0], "uvicorn": [10.0]}}
NAMES = ["runtime", "floor", "uvicorn", "uWSGI"]


def row(name):
    lines = report.table(FIGURES, NAMES).splitlines()
    return [cell.strip() for cell in next(line for line in lines if line.startswith("| %s |" % name)).strip("|").split("|")]


def test_a_figure_is_a_median_with_half_the_spread():
    assert row("runtime") == ["runtime", "1,000 (±10%)", "8 (±0%)"]


def test_ratios_are_to_the_fastest_peer_also_where_the_runtime_is_slower():
    assert row("runtime / fastest peer") == ["runtime / fastest peer", "**2.00**", "**0.80**"]
    assert row("runtime / floor") == ["runtime / floor", "**0.50**", ""]


def test_what_took_no_part_is_an_empty_cell():
    assert row("uWSGI") == ["uWSGI", "500 (±0%)", ""]


def test_only_what_stands_between_the_marks_of_the_page_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n" + report.BEGIN + "old\n" + report.END + "after\n")
    report.write_page(page, "new\n")
    assert page.read_text() == "before\n" + report.BEGIN + "new\n" + report.END + "after\n"


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n")
    with pytest.raises(SystemExit, match="no marks"):
        report.write_page(page, "new\n")


@pytest.mark.parametrize("name", report.PEERS)
def test_each_command_says_where_to_listen(name):
    command = " ".join(report.peer_command(report.PEERS[name][1], "/programs", 1234))
    assert ("SOCKET" in command) != ("1234" in command)
    assert "BIN" not in command and "PEERS" not in command
