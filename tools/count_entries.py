#!/usr/bin/env python3
"""How far a request travels: counts the files of src/ that a worker enters for one bare-JSON message on a connection of its own.

Builds a checkout with -finstrument-functions in its build/entries, starts it on a function that returns its payload, and
records every entry with tests/shims/entries.c. Inline functions of headers do not count, and a .c and .h of one name are one file.
Prints the number of files, and how many times a function was entered from another file; the same again for server/, wire/ and
python/ alone, where the way of a message is decided. With --list it prints each entry from another file.
"""
import argparse
import collections
import mmap
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = "-finstrument-functions -finstrument-functions-exclude-file-list=.h"
RECORD = struct.Struct("=QII")
SIZE = 64 << 20
EXCHANGES = 20  # the most frequent way counts
PATIENCE, QUIET = 30.0, 0.1  # seconds
PATH = ("server", "wire", "python")  # where a message's way is decided; base/, json/ and codec/ are what it uses
MESSAGE = b'{"text": "hello"}'


def build(sources):
    """The extension, instrumented, and the recorder."""
    subprocess.run(["tools/build.sh", "build/entries", "-Dfreestanding=false", "-Doptimization=1", "-Ddebug=true",
                    "-Dc_args=" + FLAGS], cwd=sources, check=True)
    recorder = ROOT / "build" / "entries.so"
    recorder.parent.mkdir(exist_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", recorder, ROOT / "tests/shims/entries.c"], check=True)
    return sources / "build/entries/src/_asya.abi3.so", recorder


def functions_of(extension):
    """address -> (function, the file it is in, without its ending)."""
    symbols = subprocess.run(["nm", "--line-numbers", "--defined-only", extension], capture_output=True, text=True, check=True)
    found = re.findall(r"^([0-9a-f]+) [tT] (\S+)\t.*/src/(\w+/\w+)\.[ch]:\d+$", symbols.stdout, re.MULTILINE)
    return {int(address, 16): (name, file) for address, name, file in found}


def eventually(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit("count_entries: waited for %s seconds in vain" % PATIENCE)
        time.sleep(0.02)


class Trace:
    """What the recorder has written."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            file.truncate(SIZE)
            self._map = mmap.mmap(file.fileno(), SIZE)

    def count(self):
        return struct.unpack_from("=Q", self._map)[0]

    def settle(self):
        """The number of records once nothing has been added for a while."""
        before, since = self.count(), time.monotonic()
        while time.monotonic() - since < QUIET:
            time.sleep(0.02)
            if self.count() != before:
                before, since = self.count(), time.monotonic()
        return before

    def records(self, process, end):
        """(address, index, thread, entered) of a process, in order."""
        if 8 + end * RECORD.size > SIZE:
            sys.exit("count_entries: more records than the file holds")
        for index in range(end):
            address, pid, thread = RECORD.unpack_from(self._map, 8 + index * RECORD.size)
            if pid == process:
                yield address, index, thread >> 1, thread & 1


def worker_of(supervisor):
    with open("/proc/%d/task/%d/children" % (supervisor, supervisor), encoding="utf-8") as children:
        return int(children.read().split()[0])


def exchange(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(path)
        client.sendall(MESSAGE)
        reply = b""
        while chunk := client.recv(65536):
            reply += chunk
    if not reply.startswith(b'{"status":"ok"'):
        sys.exit("count_entries: the reply is %r" % reply)


def base_of(process, extension):
    """Where the extension is loaded."""
    with open("/proc/%d/maps" % process, encoding="utf-8") as maps:
        return min(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(str(extension)))


def steps(records, begin, end):
    """(from, function, file) for each entry from another file between two indexes; and all files entered there."""
    stacks = collections.defaultdict(list)
    found, files = [], set()
    for function, index, thread, entered in records:
        stack = stacks[thread]
        if not entered:
            while stack and stack.pop() != function:  # frames from before the fork are left without having been entered
                pass
            continue
        name, file = function
        before = stack[-1][1] if stack else "outside"
        stack.append(function)
        if begin <= index < end:
            files.add(file)
            if before != file:
                found.append((before, name, file))
    return found, files


def measure(extension, recorder, folder):
    path, trace_file = os.path.join(folder, "s", "app.sock"), os.path.join(folder, "trace")
    os.mkdir(os.path.dirname(path))
    pathlib.Path(folder, "echo.py").write_text("def process(payload):\n    return payload\n", encoding="utf-8")
    pathlib.Path(trace_file).touch()
    trace = Trace(trace_file)
    env = {"PATH": os.environ["PATH"], "HOME": folder, "LD_PRELOAD": str(recorder), "SHIM_ENTRIES": trace_file,
           "ASYA_EXTENSION": str(extension), "PYTHONPATH": "%s:%s" % (ROOT / "tests/sanitize", folder),
           "ASYA_PROCESS_MODULE": "echo", "ASYA_SOCKET_PATH": path, "ASYA_LOG_LEVEL": "ERROR", "PYTHONHASHSEED": "0"}
    # One processor, and a worker that does not interrupt who wakes it: then the message is there when it accepts.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    runtime = subprocess.Popen([sys.executable, "-c", "import sys, asya_runtime; sys.exit(asya_runtime.main(sys.argv))"], env=env)
    try:
        eventually(lambda: runtime.poll() is not None or os.path.exists(path))
        worker = worker_of(runtime.pid)
        os.sched_setscheduler(worker, os.SCHED_BATCH, os.sched_param(0))
        exchange(path)  # after this, what is done once is done
        marks = [trace.settle()]
        for _ in range(EXCHANGES):
            exchange(path)
            marks.append(trace.settle())
        functions, base = functions_of(extension), base_of(worker, extension)
        records = [(functions[address - base], *rest) for address, *rest in trace.records(worker, marks[-1])]
        ways = [steps(records, begin, end) for begin, end in zip(marks, marks[1:])]
        lengths = collections.Counter(len(entries) for entries, _ in ways)
        return next(way for way in ways if len(way[0]) == lengths.most_common(1)[0][0])
    finally:
        runtime.send_signal(signal.SIGTERM)
        runtime.wait(PATIENCE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=pathlib.Path, default=ROOT, help="another checkout, such as a git worktree")
    parser.add_argument("--list", action="store_true", help="print each entry from another file")
    options = parser.parse_args()
    extension, recorder = build(options.sources.resolve())
    with tempfile.TemporaryDirectory(prefix="asya-entries-") as folder:
        entries, files = measure(extension, recorder, folder)
    if options.list:
        for before, name, file in entries:
            print("%-24s -> %s: %s" % (before, file, name))
    print("%d files entered, %d entries from another file" % (len(files), len(entries)))
    inner = [file for _, _, file in entries if file.split("/")[0] in PATH]
    print("of these in %s: %d and %d" % (", ".join(PATH), len({file for file in files if file.split("/")[0] in PATH}), len(inner)))


if __name__ == "__main__":
    main()
