"""The tables of docs/handlers.md: each row on every interpreter there is, without anything installed."""
import json
import os
import re
import subprocess

import pytest

from harness import interpreters
from harness.runtime import REPOSITORY, RUNTIME

from . import reading

FIT = {one.name: one for one in interpreters.found() if one.fit and not one.name.endswith((" on musl", " on arm64"))}
READING = os.path.join(os.path.dirname(__file__), "reading.py")


def cells(line):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def table(heading):
    """The rows under the line that begins a table, as [cells]."""
    lines = (REPOSITORY / "docs" / "handlers.md").read_text().splitlines()
    rows = []
    for line in lines[lines.index(heading) + 2:]:
        if not line.startswith("|"):
            break
        rows.append(cells(line))
    return rows


def plain(cell):
    return cell[1:-1] if cell.startswith("`") and cell.endswith("`") and cell.count("`") == 2 else cell


def wanted(rows, version):
    """Those for this Python: a version in the last column is the first that has what the row needs."""
    for row in rows:
        since = re.match(r"3\.\d+", row[-1])
        if not since or version >= tuple(map(int, since.group().split("."))):
            yield [plain(cell) for cell in row[:-1]]


def outcomes(interpreter, requests):
    ended = subprocess.run([interpreter.path, READING], input=json.dumps(requests), capture_output=True, text=True, timeout=120,
                           env={"PATH": os.environ["PATH"], "PYTHONPATH": str(RUNTIME.parent), "PYTHONDONTWRITEBYTECODE": "1"}, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("interpreter", FIT.values(), ids=FIT)
def test_what_a_payload_is_read_into(interpreter):
    rows = list(wanted(table("| annotation | payload | the function gets | Python |"), interpreter.version))
    assert len(rows) > 60
    found = outcomes(interpreter, [["read", annotation, payload] for annotation, payload, _ in rows])
    assert [(*row[:2], got) for row, got in zip(rows, found)] == [tuple(row) for row in rows]


LATE = '{"raw": "ab", "date": "2024-02-29", "kids": [{"raw": ""}], "by": {"1": {"v": 5, "late": {"raw": "x"}}}}'
POSTPONED = [
    ["Late", LATE, "Late(date=datetime.date(2024, 2, 29), kids=[Late(date=None, kids=[], by={})], "
     "by={1: Later(v=5, late=Late(date=None, kids=[], by={}))})"],
    ["Late", '{"raw": 5}', "error: raw: str expected, not int"],
    ["Late", '{"date": null}', "error: raw: required, but missing"],
    ["Later[date]", '{"v": "2024-02-29"}', "Later(v=datetime.date(2024, 2, 29), late=None)"],
    ["Later[date]", '{"v": 5}', "error: v: date expected, not int"],
    ["LatePoint", '["2024-02-29", ["2024-03-01"]]', "LatePoint(x=datetime.date(2024, 2, 29), y=LatePoint(x=datetime.date(2024, 3, 1), y=None))"],
]
POSTPONED_KEYS = [
    ["LateKeys", '{"a": 1}', "{'a': 1}"],
    ["LateKeys", '{"a": 1, "note": 5}', "error: note: str expected, not int"],
    ["LateKeys", '{"a": 1, "deep": {}}', "error: deep.a: required, but missing"],
    ["LooseLateKeys", '{"a": 1, "b": "2024-02-29"}', "{'a': 1, 'b': datetime.date(2024, 2, 29)}"],
    ["LooseLateKeys", '{"a": 1, "c": "2024-02-29"}', "error: b: required, but missing"],
]


@pytest.mark.parametrize("interpreter", FIT.values(), ids=FIT)
def test_annotations_that_are_text(interpreter):
    rows = POSTPONED + (POSTPONED_KEYS if interpreter.version >= (3, 11) else [])
    rows = [row for row in rows if interpreter.version >= (3, 8) or row[1] != '{"raw": 5}']  # 3.7 does not keep what an InitVar is of
    found = outcomes(interpreter, [["read", annotation, payload] for annotation, payload, _ in rows])
    assert [(*row[:2], got) for row, got in zip(rows, found)] == [tuple(row) for row in rows]


RESULTS = table("| result | what is written | needs |")


def written(interpreter, rows):
    found = outcomes(interpreter, [["write", result, ""] for result, _ in rows])
    return [(result, got) for (result, _), got in zip(rows, found)]


@pytest.mark.parametrize("interpreter", FIT.values(), ids=FIT)
def test_what_a_result_is_written_as(interpreter):
    rows = [(plain(result), plain(text)) for result, text, needs in RESULTS if not needs]
    assert len(rows) > 15
    assert written(interpreter, rows) == rows


@pytest.mark.parametrize("row", [row for row in RESULTS if row[-1]], ids=lambda row: row[0])
def test_what_is_written_for_libraries(row):
    for module in row[-1].split(", "):
        pytest.importorskip(module, minversion="2.11" if module == "pydantic" else None)
    known = {**reading.names(), **reading.libraries()}
    assert reading.write(known, plain(row[0])) == plain(row[1])
