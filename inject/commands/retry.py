"""`run --retry-errors`: the lines that have errors once more, and what they give now in its place in both files.

The retry is a run of its own: its outputs and its journal lie beside those of the first, so it can be interrupted too.
Then both are merged into new files, and with them a new journal. That one is there last, and as soon as it is there the
three take the places of the old ones, if need be at the next start.
"""
import json
import os
import zlib

from . import FAILED, Refusal
from .journal import EMPTY, Journal
from .lines import BATCH_BYTES, BLANK, Batch

CUT = b',"result":'


class Paths:
    """The files of a run, and those that a retry makes beside them."""

    def __init__(self, output):
        stem = output[:-6] if output.endswith(".jsonl") else output
        self.output, self.errors, self.journal, self.log = output, stem + ".errors.jsonl", stem + ".journal", stem + ".log"
        self.stem = stem

    def of(self, word):
        return Paths("%s.%s.jsonl" % (self.stem, word))

    def take_places(self):
        """Ends a merge: to be called before the journal is opened."""
        merged = self.of("merge")
        if os.path.exists(merged.journal):
            for old, new in ((self.errors, merged.errors), (self.output, merged.output), (self.journal, merged.journal)):
                if os.path.exists(new):
                    os.rename(new, old)

    def remove(self):
        for path in (self.output, self.errors, self.journal):
            if os.path.exists(path):
                os.unlink(path)


class Listed:
    """Those lines of an input that an errors file names."""

    def __init__(self, make, errors, done):
        self.make, self.left, self.done = make, errors[done:], done

    def take(self, count):
        batch, size = None, 0
        for error in self.left[:count]:
            one = self.make(error["offset"], error["line"] - 1).take(1)
            if batch is None:
                batch = Batch(0, 0, [], [], {}, [])
                batch.offsets = []
            if 0 in one.results:
                batch.results[len(batch.payloads)] = one.results[0]
            else:
                batch.todo.append(len(batch.payloads))
            batch.raws += one.raws
            batch.payloads += one.payloads
            batch.numbers.append(error["line"])
            batch.offsets.append(error["offset"])
            size += len(one.raws[0])
            if size >= BATCH_BYTES:
                break
        if batch is not None:
            self.left = self.left[len(batch.payloads):]
            self.done += len(batch.payloads)
            batch.last = self.done
        return batch


def read_errors(path):
    with open(path, "rb") as file:
        return [json.loads(line.decode()) for line in file]


def open_journal(paths, about, errors):
    """The journal of a retry: that of another list of errors does not count."""
    about = dict(about, errors="%08x" % zlib.crc32(json.dumps(errors).encode()))
    again = paths.of("retry")
    try:
        return Journal(again.output, again.errors, again.journal, about, False)
    except Refusal as refusal:
        if refusal.code == FAILED:
            raise
        return Journal(again.output, again.errors, again.journal, about, True)


def merge(paths, source, numbered, failed, about, state):
    """Writes the merged files; `source` reads the whole input once more, to know which line a result belongs to."""
    again, merged = paths.of("retry"), paths.of("merge")
    merged.remove()
    with open(again.output, "rb") as file:
        fixed = {int(line[len(b'{"line":') : line.index(CUT)]): line for line in file}
    results = 0
    with open(paths.output, "rb") as old, open(merged.output, "wb") as new:
        while True:
            batch = source.take(1000)
            if batch is None or batch.first > state["line"]:
                break
            for index in range(len(batch.payloads)):
                number = batch.line_of(index)[0]
                if batch.results.get(index, 0) is BLANK:
                    continue
                line = fixed.get(number, b"") if number in failed else old.readline()
                if number in failed and line and not numbered:
                    line = line[line.index(CUT) + len(CUT) : -2] + b"\n"
                new.write(line)
                results += bool(line)
        new.flush()
        os.fsync(new.fileno())
    with open(again.errors, "rb") as old, open(merged.errors, "wb") as new:
        text = old.read()
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    unfinished = Paths(merged.stem + ".new.jsonl")
    unfinished.remove()
    journal = Journal(unfinished.output, unfinished.errors, unfinished.journal, about, True)
    journal.state = dict(EMPTY, **state)
    journal.state.update(out=os.path.getsize(merged.output), errors=len(text), results=results, failed=text.count(b"\n"))
    journal.finish()
    os.rename(unfinished.journal, merged.journal)
    unfinished.remove()
    paths.take_places()
    again.remove()
    return journal.state
