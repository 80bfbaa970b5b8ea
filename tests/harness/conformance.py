"""The conformance data beside the repository, as cases; tests skip with a message where it is absent."""
import json
import os
import pathlib

import pytest

from .runtime import REPOSITORY

FOLDER = pathlib.Path(os.environ.get("ASYA_CONFORMANCE", REPOSITORY.parent / "shared" / "conformance"))
CHUNK_SIZES = [*range(1, 32), 4096, 65536]


def _rows(name):
    """The rows of a table, without comments."""
    if not (FOLDER / name).exists():
        pytest.skip("no conformance data at %s" % FOLDER)
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


class Case:
    """One file of JSONTestSuite: its bytes and the categories that answer it."""

    def __init__(self, name, label, expected):
        self.name, self.label = name, label
        self.data = (FOLDER / "jsontestsuite" / name).read_bytes()
        # docs/protocol.md calls a message of white space empty; the table knows no such category
        self.allowed = set(expected.split("|")) if self.data.strip(b" \t\r\n") else {"empty_message"}

    @property
    def complete_before_its_end(self):
        """Whether a beginning of it is a whole value: sent in pieces, that may be answered before the rest arrives."""
        return ends_early(self.data)


def ends_early(data):
    """Whether some proper beginning of the bytes is a whole JSON value that the contract answers."""
    text = data.decode("utf-8", "replace").lstrip(" \t\r\n")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return end < len(text) and (text[end] in " \t\r\n" or not text[0] in "-0123456789")


def seems_to_end_early(data):
    """Whether, for a reader that only looks for the end, a value ends before the end of the bytes: the outermost bracket
    or string is closed, be it by one of the wrong kind or around rubbish, or white space follows what began like a number."""
    text = data.lstrip(b" \t\r\n")
    if text[:1] in b"-0123456789":
        return len(text.split(None, 1)) > 1
    depth, in_string, escaped = 0, False, False
    for place, byte in enumerate(data):
        if in_string:
            in_string = escaped or byte != ord('"')
            escaped = byte == ord("\\") and not escaped
            if not in_string and not depth:
                return place + 1 < len(data)
        elif byte == ord('"'):
            in_string = True
        elif byte in b"[{":
            depth += 1
        elif byte in b"]}" and depth:
            depth -= 1
            if not depth:
                return place + 1 < len(data)
    return False


def json_suite():
    """All files of JSONTestSuite."""
    return [Case(*row[:3]) for row in _rows("jsontestsuite-expect.tsv") if row[0] != "file"]


def utf8_cases():
    """Byte sequences: (bytes, whether they are well-formed UTF-8, what they are)."""
    return [(b"" if row[0] == "-" else bytes.fromhex(row[0]), row[1] == "valid", row[2])
            for row in _rows("utf8-cases.tsv")]
