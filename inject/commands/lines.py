"""What `run` reads: a JSON value a line, or rows of CSV whose header has the keys; in batches, in order."""
import csv

from . import EXTENSION, Refusal

BATCH_BYTES = 1 << 16
BLANK = None  # the result of a line that has nothing in it


class Batch:
    """Lines that travel together. `payloads` and `results` go by index; a result is the JSON text of one, BLANK, or an
    error as (category, type, message)."""
    __slots__ = ("first", "offset", "raws", "payloads", "results", "todo", "tries", "not_before", "numbers", "offsets", "last", "killed")

    def __init__(self, first, offset, raws, payloads, results, numbers=None):
        self.first, self.offset, self.raws, self.payloads, self.results = first, offset, raws, payloads, results
        self.todo = list(range(len(payloads)))
        if len(results) != 0:
            self.todo = [index for index in self.todo if index not in results]
        self.tries, self.not_before, self.numbers, self.offsets = 0, 0, numbers, None

    def line_of(self, index):
        """(line number, byte in the input) of a line."""
        number = self.numbers[index] if self.numbers else self.first + index
        return number, self.offsets[index] if self.offsets else self.offset + sum(map(len, self.raws[:index]))


def error_of(payload):
    """What is wrong with a text that is not one JSON value."""
    try:
        EXTENSION.loads(payload.rstrip(b"\r\n"))
    except ValueError as error:
        category, _, text = str(error).partition(": ")
        return category, None, text
    return "invalid_json", None, "not one JSON value"


class JsonLines:
    def __init__(self, file, offset, line):
        self.file, self.offset, self.line = file, offset, line
        file.seek(offset)

    def take(self, count):
        """The next batch of at most so many lines; None at the end."""
        raws, size = [], 0
        for raw in self.file:
            raws.append(raw)
            size += len(raw)
            if len(raws) >= count or size >= BATCH_BYTES:
                break
        if not raws:
            return None
        payloads, results, single = raws, {}, EXTENSION._single_value
        if self.offset == 0 and raws[0].startswith(b"\xef\xbb\xbf"):
            payloads = [raws[0][3:]] + raws[1:]
        for index, payload in enumerate(payloads):
            if not single(payload):
                results[index] = BLANK if not payload.strip() else error_of(payload)
        batch = Batch(self.line + 1, self.offset, raws, payloads, results)
        self.offset += size
        self.line += len(raws)
        batch.last = self.line
        return batch


class CsvRows:
    """Rows may have line breaks in quotes: a row's number is that of its first line."""

    def __init__(self, file, offset, line, kinds):
        self.file, self.kinds = file, kinds
        file.seek(0)
        self.offset, self.line, self.raws = 0, 0, []
        self.reader = csv.reader(self.texts(), strict=True)
        self.header = self.row()
        if not self.header:
            raise Refusal("the file is empty: its first line has to name the columns")
        if offset:
            file.seek(offset)
            self.offset, self.line = offset, line
        else:
            self.offset, self.line = sum(map(len, self.raws)), len(self.raws)
        self.start = offset == 0 and self.raws

    def texts(self):
        while True:
            raw = self.file.readline()
            if not raw:
                return
            self.raws.append(raw)
            yield raw.decode("utf-8-sig" if self.offset == 0 and len(self.raws) == 1 else "utf-8")

    def row(self):
        """The next row; [] for a blank line, None at the end, a text if it is malformed."""
        self.raws = []
        try:
            return next(self.reader)
        except StopIteration:
            return None
        except UnicodeDecodeError as error:
            self.reader = csv.reader(self.texts(), strict=True)
            return "not UTF-8: %s" % error
        except csv.Error as error:
            self.reader = csv.reader(self.texts(), strict=True)
            return str(error)

    def take(self, count):
        raws, payloads, results, numbers, size = [], [], {}, [], 0
        first, offset = self.line, self.offset
        if self.start:  # the header is part of what was read, and has no result
            raws, payloads, results, numbers = [b"".join(self.start)], [b""], {0: BLANK}, [1]
            first, offset, self.start = 0, 0, None
        while len(payloads) < count and size < BATCH_BYTES:
            row = self.row()
            if row is None:
                break
            raw = b"".join(self.raws)
            if isinstance(row, str):
                results[len(payloads)] = ("invalid_csv", None, row)
            elif not row:
                results[len(payloads)] = BLANK
            elif len(row) != len(self.header):
                results[len(payloads)] = ("invalid_csv", None,
                                          "%d fields, where the header has %d" % (len(row), len(self.header)))
            payloads.append(b"" if len(payloads) in results else EXTENSION.dumps(
                {key: self.kinds.get(key, str)(value) for key, value in zip(self.header, row)}))
            raws.append(raw)
            numbers.append(self.line + 1)
            self.line += len(self.raws)
            size += len(raw)
        if not payloads:
            return None
        self.offset += size
        batch = Batch(first + 1, offset, raws, payloads, results, numbers)
        batch.last = self.line
        return batch
