"""How far a `run` came: its outputs, and a journal that says how much of them counts.

Results are appended to the output in the order of the input, and errors likewise to a file of their own. After each such
write a record goes into the journal: so many lines and bytes of the input are done, and so many bytes of both files belong
to them. A run that was killed cuts both files to what the last record says and goes on from there: nothing is missing
and nothing is twice. Two places for records take turns, and each record has a sum, so a torn one leaves the one before.
Records behind which both files are synced have places of their own: after a crash of the machine, which /proc tells by
its boot_id, only these count.
"""
import fcntl
import hashlib
import json
import os
import time
import zlib

from . import FAILED, Refusal

RECORDS_AT, RECORD_SIZE, SYNC_EVERY = 4096, 512, 5
EMPTY = {"sequence": 0, "line": 0, "offset": 0, "out": 0, "errors": 0, "results": 0, "failed": 0, "digest": "", "done": False}
AGAIN = "; --restart begins anew and overwrites what is there"


def boot_id():
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


class Journal:
    def __init__(self, output, errors, path, about, restart):
        """Opens the three files at the state that was reached. `about` says what is run: it must be the same again."""
        self.paths = output, errors, path
        self.path, self.boot, self.digest = path, boot_id(), hashlib.blake2b(digest_size=16)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refusal("another run writes %s now: wait for it, or name another output" % output, FAILED) from None
        before = os.pread(self.fd, RECORDS_AT, 0)
        fresh = restart or not before
        if fresh and not restart and os.path.exists(output) and os.path.getsize(output):
            os.unlink(path)
            raise Refusal("%s is there already, and is not an output of `run`: name another file" % output + AGAIN, FAILED)
        if fresh:
            os.ftruncate(self.fd, 0)
        else:
            self.compare(before, about, output)
        self.out = os.open(output, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.errors = os.open(errors, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.state = EMPTY.copy() if fresh else self.last_record()
        for fd, size in ((self.out, self.state["out"]), (self.errors, self.state["errors"])):
            os.ftruncate(fd, size)
            os.lseek(fd, size, os.SEEK_SET)
        if fresh:
            write_all(self.fd, json.dumps(about).encode().ljust(RECORDS_AT - 1) + b"\n")
        self.synced = time.monotonic()

    def compare(self, before, about, output):
        try:
            was = json.loads(before.decode())
        except ValueError:
            raise Refusal("%s is not a journal of `run`: name another output" % self.path + AGAIN, FAILED) from None
        for key, value in about.items():
            if was.get(key) != value:
                raise Refusal("%s was started with %s %s, not %s: use the same value" % (output, key, was.get(key), value) + AGAIN)

    def last_record(self):
        found, sizes = EMPTY.copy(), (os.fstat(self.out).st_size, os.fstat(self.errors).st_size)
        for place in range(4):
            text = os.pread(self.fd, RECORD_SIZE, RECORDS_AT + place * RECORD_SIZE).rstrip()
            if text[:8] != b"%08x" % zlib.crc32(text[8:]):
                continue
            record = json.loads(text[8:].decode())
            holds = place >= 2 or record["boot"] == self.boot
            if holds and record["out"] <= sizes[0] and record["errors"] <= sizes[1] and record["sequence"] > found["sequence"]:
                found = record
        return found

    def check_input(self, file, name):
        """The part of the input that is done must be what it was. Leaves its digest, to go on with."""
        left = self.state["offset"]
        while left > 0:
            data = file.read(min(left, 1 << 20))
            if not data:
                break
            self.digest.update(data)
            left -= len(data)
        torn = left == 0 and self.state["offset"] and data[-1:] != b"\n" and file.read(1).strip(b"\r\n")
        if left or torn or self.state["offset"] and self.digest.hexdigest() != self.state["digest"]:
            raise Refusal("%s has changed in the %d lines that are done: restore it, or name another output"
                          % (name, self.state["line"]) + AGAIN, FAILED)

    def commit(self, line, offset, raw, out, errors, results, failed):
        """Appends what belongs to the lines up to this one; `raw` are their bytes in the input."""
        if out:
            write_all(self.out, out)
        if errors:
            write_all(self.errors, errors)
        self.digest.update(raw)
        state = self.state
        state.update(sequence=state["sequence"] + 1, line=line, offset=offset, out=state["out"] + len(out), done=False,
                     errors=state["errors"] + len(errors), results=state["results"] + results,
                     failed=state["failed"] + failed, digest=self.digest.hexdigest(), boot=self.boot)
        self.record(state["sequence"] % 2)
        if time.monotonic() > self.synced + SYNC_EVERY:
            self.sync()

    def record(self, place):
        text = json.dumps(self.state).encode()
        os.pwrite(self.fd, (b"%08x" % zlib.crc32(text) + text).ljust(RECORD_SIZE - 1) + b"\n", RECORDS_AT + place * RECORD_SIZE)

    def sync(self):
        os.fdatasync(self.out)
        os.fdatasync(self.errors)
        self.record(2 + self.state["sequence"] % 2)
        os.fdatasync(self.fd)
        self.synced = time.monotonic()

    def forget(self):
        """The run could not begin: leaves nothing of it behind."""
        if self.state["sequence"] == 0:
            for path in self.paths:
                os.unlink(path)

    def finish(self):
        self.state.update(done=True, sequence=self.state["sequence"] + 1, boot=self.boot)
        self.record(self.state["sequence"] % 2)
        self.sync()
