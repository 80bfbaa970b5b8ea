"""The log of the runtime: one event a line, and what a test says about the lines it expects."""
import json
import re

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) (.*)$", re.DOTALL)
FURTHER = "    "  # a further line of a record in text: its stack
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")


# What log_pass in base/log.h says instead of the lines it does not let through. They come up to a second later.
LEFT_OUT = re.compile(r"^[^:]+: (\d+) more lines? like this w(?:as|ere) left out$")


class LogLine:
    """One record of the log, with the lines of its stack, or another line of standard error. `level` is None when it is no record
    of the log (what the function prints, a warning of Python)."""

    def __init__(self, text):
        self.text = text
        self.level, self.message = self._parse(text)

    @staticmethod
    def _parse(text):
        match = LINE.match(text)
        if match:
            return match.group(1), match.group(2)
        if text.startswith("{"):
            try:
                record = json.loads(text)
                if TIME.match(record["time"]):
                    return record["level"], record["message"]
            except (ValueError, KeyError, TypeError):
                pass
        return None, text

    def __repr__(self):
        return "%s %s" % (self.level, self.text[:2000])

    @property
    def quiet(self):
        """Lines nobody needs to declare: the log's INFO and DEBUG, and how many more there were of lines that were judged."""
        return self.level in ("INFO", "DEBUG") or bool(self.level and LEFT_OUT.match(self.message))


def split(data):
    """The records and lines of what was written so far; only complete lines."""
    records = []
    for line in data.decode("utf-8", "backslashreplace").split("\n")[:-1]:
        if line.startswith(FURTHER) and records and LINE.match(records[-1]):
            records[-1] += "\n" + line
        else:
            records.append(line)
    return [LogLine(record) for record in records]


def tally(lines, kind):
    """How many lines "KIND: ..." there are, with those that were left out."""
    found = [line.message for line in lines if line.message.startswith(kind + ": ")]
    left_out = [LEFT_OUT.match(message) for message in found]
    return sum(int(match.group(1)) if match else 1 for match in left_out)


def judge(lines, expect, allow):
    """Raises unless every line that is not quiet was declared, and every expected one came.

    A declaration is a regular expression searched in the whole line ("ERROR .*ZeroDivisionError")."""
    declared = [re.compile(pattern, re.DOTALL) for pattern in (*expect, *allow)]
    unexpected = [line for line in lines if not line.quiet and not any(p.search(line.text) for p in declared)]
    assert not unexpected, "unexpected lines in the log: %r" % unexpected
    missing = [pattern for pattern in expect if not any(re.search(pattern, line.text, re.DOTALL) for line in lines)]
    assert not missing, "never logged: %r, but: %r" % (missing, lines)
    dirty = [line for line in lines if line.level and CONTROL.search(line.text.replace("\n", ""))]
    assert not dirty, "control characters in the log: %r" % dirty
