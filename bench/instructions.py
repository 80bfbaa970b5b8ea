#!/usr/bin/env python3
"""Counts the instructions of one request of each protocol, and of loads() and dumps() of a few documents.

Times on a machine with other work say little; what valgrind's callgrind counts is the same in each run, to a few in ten
thousand. Each row has two numbers: the instructions of the image alone, and those of the whole process, so with what it
calls in CPython and libc. Waits, system calls and cache misses are not in them: `make bench` measures those.

instructions.json keeps the numbers of a few toolchains: the compiler of the image, CPython, libc, valgrind, and whether the
processor has AVX2, which decides what libc's memcpy() is. tests/instructions compares, as judge() says.

  bench/instructions.py            measures and prints, beside what is kept
  bench/instructions.py --keep     puts what was measured into instructions.json: `make instructions`
"""
import argparse
import concurrent.futures
import glob
import json
import os
import pathlib
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
KEPT = HERE / "instructions.json"
RUNTIME = HERE.parent / "dist/asya_runtime.py"
SHIM = HERE.parent / "build/release/tests/shims/asya-shim-repeatable.so"
IMAGE = re.compile(r"\?\?\?$|.*/\.asya-")  # valgrind has no name for what is loaded from a file that is deleted, or its old name
FEW, MANY = 4, 54  # requests between two marks: the difference is that of fifty
BOUND = 1.03
# For the whole process. Where the arenas of CPython's allocator lie makes 3.2 % of reading a list of integers.
BOUND_PROCESS = 1.05
# For the image's instructions alone. CPython 3.7 to 3.13 lead to 0.96 to 1.07 of those with 3.11 (there are two layouts of an
# int), and gcc 14.2 makes 0.90 to 1.22 of those of gcc 12.2 (the most for text that is not ASCII).
BOUND_OTHER_PYTHON = 1.1
BOUND_OTHER_COMPILER = 1.3

# callgrind writes and clears its counts whenever tzset() is called, which nobody else does.
SHIFT = """
import mmap, os, time

shift = int(os.environ["COUNT_SHIFT"])
hole = mmap.mmap(-1, 4096 * (1 + 97 * shift))
strings = [chr(c) * 40 for c in range(97, 97 + 25 * shift)]
"""
HANDLER = """
def process(payload):
    if payload == "mark":
        time.tzset()
    return payload
"""
CODEC = """
import gc, json, sys

import asya_runtime as codec

gc.disable()
for name, times in json.loads(sys.argv[1]):
    with open(name, "rb") as file:
        text = file.read()
    for again in range(2):
        value = codec.loads(text)
        codec.dumps(value)
    time.tzset()
    for again in range(times):
        codec.loads(text)
    time.tzset()
    for again in range(times):
        codec.dumps(value)
    time.tzset()
"""


# What the numbers are for, printed as JSON. The image is in a file only while it is loaded.
FACTS = """
import _imp, json, platform, re

make = _imp.create_dynamic
image = b""

def keep(spec, *more):
    global image
    if spec.name == "_asya":
        with open(spec.origin, "rb") as file:
            image = file.read()
    return make(spec, *more)

_imp.create_dynamic = keep
import asya_runtime

compiler = re.search(rb"GCC: [ -~]+|[ -~]*clang version [ -~]+", image)
print(json.dumps({
    "image": compiler.group().decode() if compiler else "unknown",
    "python": "%s, %s" % (platform.python_version(), platform.python_compiler()),
    "libc": " ".join(platform.libc_ver()),
}))
"""


class Failure(Exception):
    """What kept this from being measured."""


class Unable(Exception):
    """This machine cannot measure it."""


def words(chance, letters, count):
    return " ".join("".join(chance.choice(letters) for _ in range(chance.randint(1, 12))) for _ in range(count))


def documents():
    """name -> value: the same ones in each run and with each version of Python."""
    chance = random.Random(20240229)
    message = {"id": "9f1c2a", "text": "Hello, me", "n": 7, "ok": True, "route": ["prep", "infer", "post"]}
    records = [
        {"id": i, "name": "item-%04d" % i, "score": round(chance.random(), 4), "tags": ["a", "b"], "ok": i % 2 == 0}
        for i in range(110)
    ]
    latin = "abcdefghijklmnopqrstuvwxyz"
    return {
        "message": message,
        "records": records,
        "doubles": [chance.uniform(-1, 1) for _ in range(5000)],
        "short doubles": [round(chance.uniform(-100, 100), 3) for _ in range(5000)],
        "integers": [chance.randrange(-1000, 1000) for _ in range(20000)],
        "long integers": [chance.randrange(-(1 << 62), 1 << 62) for _ in range(5000)],
        "long ASCII": words(chance, latin, 20000),
        "escaped": words(chance, latin + "\n\"\\", 5000),
        "ASCII strings": [words(chance, latin, 2) for _ in range(5000)],
        "Cyrillic": [words(chance, "абвгдежзиклмнопрстуфхцчшщыьэюя", 12) for _ in range(200)],
        "Chinese": [words(chance, "的一是不了人我在有他这中大来上国", 12) for _ in range(200)],
        "accents, emoji": [words(chance, latin + "äöüé\U0001f600", 12) for _ in range(200)],
        "nested": [{"a": {"b": [i, {"c": [[], {}, None, True, False]}]}} for i in range(1000)],
    }


# ---- valgrind ----------------------------------------------------------------------------------------------------------


def callgrind(folder, *command):
    """The command, counted. It dumps its counts into `folder`."""
    options = ["--tool=callgrind", "--quiet", "--dump-before=tzset", "--callgrind-out-file=%s/counts.%%p" % folder]
    return ["valgrind", *options, *map(str, command)]


def environment(runtime, folder, shift=0):
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "%s/modules:%s" % (folder, pathlib.Path(runtime).parent),
        "ASYA_LOAD": "file", "LD_PRELOAD": str(SHIM), "COUNT_SHIFT": str(shift),
    }  # fmt: skip


def read_counts(path):
    """[instructions of the image, of the whole process] in one dump of callgrind."""
    names, counts, in_image, is_call = {}, [0, 0], False, False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("ob=", "cob=")):
                key, _, name = line.partition("=")[2].strip().partition(" ")
                names.setdefault(key, name)
                if line.startswith("ob="):
                    in_image = bool(IMAGE.match(names[key]))
            elif line.startswith("calls="):
                is_call = True  # the next line is what was called, which has lines of its own
            elif line[0] in "+-*0123456789":
                if not is_call:
                    cost = int(line.split()[1])
                    counts[0] += cost * in_image
                    counts[1] += cost
                is_call = False
    return counts


def read_parts(folder):
    """The counts between each two marks, of the process that made any."""
    files = glob.glob(folder + "/counts.*.*")
    parts = sorted(files, key=lambda path: int(path.rpartition(".")[2]))
    return [read_counts(path) for path in parts[1:]]  # the first is the start


# ---- what is measured ---------------------------------------------------------------------------------------------------


def count_codec(runtime, python, shift):
    """name -> counts, of loads() and dumps() of each document."""
    rows, names, plan = {}, [], []
    with tempfile.TemporaryDirectory(prefix="asya-count-") as folder:
        for number, (name, value) in enumerate(documents().items()):
            text = json.dumps(value, ensure_ascii=False).encode()
            path = os.path.join(folder, "%d.json" % number)
            pathlib.Path(path).write_bytes(text)
            names.append(name)
            plan.append((path, 50 if len(text) < 1000 else 1))
        command = callgrind(folder, python, "-c", SHIFT + CODEC, json.dumps(plan))
        done = subprocess.run(command, env=environment(runtime, folder, shift), stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        parts = read_parts(folder)
        if done.returncode != 0 or len(parts) != 3 * len(names) - 1:
            raise Failure("valgrind ended with status %d and %d counts: %s" % (done.returncode, len(parts), done.stderr[-2000:]))
        for number, (name, (_, times)) in enumerate(zip(names, plan)):
            for operation, counts in zip(("loads", "dumps"), parts[3 * number :]):
                rows["%s, %s" % (operation, name)] = [round(count / times) for count in counts]
    return rows


class Served:
    """A runtime under callgrind, with one worker."""

    def __init__(self, runtime, python, folder, shift):
        self.path = folder + "/s"
        # In a folder of its own: the import system lists it, and where objects lie should not depend on what it finds.
        os.mkdir(folder + "/modules")
        pathlib.Path(folder, "modules", "counted.py").write_text(SHIFT + HANDLER)
        settings = {"ASYA_SOCKET_PATH": self.path, "ASYA_PROCESS_MODULE": "counted", "ASYA_LOG_LEVEL": "ERROR"}
        with open(folder + "/log", "wb") as self.log:
            command = callgrind(folder, python, runtime)
            self.process = subprocess.Popen(command, env={**environment(runtime, folder, shift), **settings}, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 120
        while not os.path.exists(self.path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Failure("the runtime did not start under valgrind: " + pathlib.Path(folder, "log").read_text()[-2000:])
            time.sleep(0.02)
        pid = self.process.pid
        self.worker = int(pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()[0])

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def wait_until_idle(self):
        """So that no request finds the worker at the end of the one before: it would take fewer instructions."""
        asleep = 0
        while asleep < 2:
            time.sleep(0.0005)
            state = pathlib.Path("/proc/%d/stat" % self.worker).read_text().rpartition(") ")[2][0]
            asleep = asleep + 1 if state == "S" else 0

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(self.path)
        return connection

    def exchange(self, connection, request, is_whole=lambda reply: False):
        """The reply, to its end or that of the connection."""
        self.wait_until_idle()
        connection.sendall(request)
        reply = b""
        while not is_whole(reply):
            got = connection.recv(1 << 20)
            if not got:
                break
            reply += got
        return reply

    def exchange_new(self, request):
        """The reply to the request on a connection of its own, which the worker has accepted and found empty."""
        self.wait_until_idle()
        with self.connect() as connection:
            time.sleep(0.002)
            return self.exchange(connection, request)

    def mark(self):
        assert self.exchange_new(b'"mark"') == b'{"status":"ok","result":"mark"}'


def http(body, last=True):
    head = b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return head + (b"Connection: close\r\n" if last else b"") + b"\r\n" + body


def requests():
    """name -> (the request, whether the connection is kept)"""
    def body(value):
        return json.dumps(value, separators=(",", ":")).encode()

    envelope = {"id": "5f3c9a1e", "route": {"prev": [], "curr": "embed", "next": []}, "payload": {"text": "a cat."}}
    framed = body({"id": "5f3c9a1e", "route": {"actors": ["embed"], "current": 0}, "payload": {"text": "a cat."}})
    return {
        "request, raw JSON": (body(envelope), False),
        "request, raw JSON, 9 KB": (body(documents()["records"]), False),
        "request, framed": (len(framed).to_bytes(4, "big") + framed, False),
        "request, HTTP, new": (http(body(envelope)), False),
        "request, HTTP, kept": (http(body(envelope), last=False), True),
    }


def ends_chunk(reply):
    head, separator, rest = reply.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: *([0-9]+)", head)
    return bool(separator) and found is not None and len(rest) >= int(found.group(1))


def count_requests(runtime, python, shift):
    """name -> counts, of one request of each protocol."""
    rows = {}
    with tempfile.TemporaryDirectory(prefix="asya-count-") as folder:
        served = Served(runtime, python, folder, shift)
        try:
            for request, is_kept in requests().values():
                for count in (10, FEW, MANY):
                    if is_kept:
                        with served.connect() as connection:
                            for _ in range(count):
                                assert b"200 OK" in served.exchange(connection, request, ends_chunk)
                    else:
                        for _ in range(count):
                            assert len(served.exchange_new(request)) > 20
                    served.mark()
        finally:
            served.stop()
        parts = read_parts(folder)
        if len(parts) != 3 * len(requests()) - 1:
            raise Failure("valgrind made %d counts" % len(parts))
        for number, name in enumerate(requests()):
            few, many = parts[3 * number : 3 * number + 2]
            rows[name] = [round((many[i] - few[i]) / (MANY - FEW)) for i in range(2)]
    return rows


def count(runtime, python, shift=0):
    """name -> [instructions of the image, of the whole process]"""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        both = [threads.submit(function, runtime, python, shift) for function in (count_codec, count_requests)]
        return {**both[1].result(), **both[0].result()}


# ---- what the numbers are for -------------------------------------------------------------------------------------------


def facts(runtime, python):
    """The toolchain as a dict of texts. Unable: nothing can be measured on this machine."""
    if platform.machine() != "x86_64":
        raise Unable("instruction counts are kept for x86_64")
    if shutil.which("valgrind") is None:
        raise Unable("valgrind is not installed")
    with tempfile.TemporaryDirectory(prefix="asya-count-") as folder:
        def output(*command):
            done = subprocess.run(list(map(str, command)), env=environment(runtime, folder), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Unable("valgrind does not run this Python here: status %d, %s" % (done.returncode, done.stderr[-300:].strip()))
            return done.stdout.strip()

        found = json.loads(output("valgrind", "--tool=none", "--quiet", python, "-c", FACTS))
        if not found["libc"].startswith("glibc"):
            raise Unable("instruction counts are kept for glibc")
        words = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
        return {**found, "valgrind": output("valgrind", "--version"), "AVX2": "yes" if "avx2" in words else "no"}


def nearest(kept, found):
    """The entry of instructions.json that has most in common with this toolchain, the image's compiler first."""
    def likeness(entry):
        same = [entry["facts"][name] == found[name] for name in found]
        return entry["facts"]["image"] == found["image"], sum(same)

    return max(kept, key=likeness)


def differences(entry, found):
    return ["%s: %s here, %s there" % (name, found[name], entry["facts"][name]) for name in found if entry["facts"][name] != found[name]]


def bound_of(entry, found):
    """How many times as many instructions the image may take as there."""
    if entry["facts"]["image"] != found["image"]:
        return BOUND_OTHER_COMPILER
    versions = [facts["python"].split(".")[:2] for facts in (entry["facts"], found)]
    return BOUND if versions[0] == versions[1] else BOUND_OTHER_PYTHON


def judge(entry, found, counted):
    """(rows over their bound in the image, rows over it in the whole process or None if that says nothing here)

    What has moved into the image from CPython is no loss, so where both numbers say something the image may take more if the
    process takes less."""
    is_same = not differences(entry, found)
    bounds = bound_of(entry, found), BOUND_PROCESS
    over = [], []
    for name, counts in counted.items():
        kept = entry["counts"][name]
        for i in range(2):
            if counts[i] > bounds[i] * kept[i] and not (is_same and counts[1] < kept[1]):
                over[i].append("%s: %d instructions, %.3f times the %d that are kept" % (name, counts[i], counts[i] / kept[i], kept[i]))
    return over[0], over[1] if is_same else None


def count_best(runtime, python, is_good):
    """Counts, and where that is not good up to twice more with objects at other addresses, and takes the smallest numbers: by
    its address CPython's allocator finds an object's arena (3 % of a list of integers), and the codec a key it has
    written (codec/keytext.h)."""
    counted = count(runtime, python)
    for shift in (1, 2):
        if not is_good(counted):
            again = count(runtime, python, shift)
            counted = {name: [min(pair) for pair in zip(counts, again[name])] for name, counts in counted.items()}
    return counted


def read_kept():
    return json.loads(KEPT.read_text(encoding="utf-8"))


def write_kept(kept):
    """One row a line."""
    entries = []
    for entry in kept:
        rows = ",\n".join("    %s: %s" % (json.dumps(name), json.dumps(counts)) for name, counts in entry["counts"].items())
        entries.append('  {"facts": %s,\n   "counts": {\n%s}}' % (json.dumps(entry["facts"]), rows))
    KEPT.write_text("[\n%s\n]\n" % ",\n".join(entries), encoding="utf-8")


def show(entry, counted):
    print("%-28s%12s%8s%12s%8s" % ("", "image", "x kept", "process", "x kept"))
    for name, counts in counted.items():
        before = entry["counts"].get(name) if entry else None
        ratios = ["%.3f" % (now / then) for now, then in zip(counts, before)] if before else ["-", "-"]
        print("%-28s%12d%8s%12d%8s" % (name, counts[0], ratios[0], counts[1], ratios[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", type=pathlib.Path, default=RUNTIME, help="the one file")
    parser.add_argument("--python", default=sys.executable, help="the interpreter")
    parser.add_argument("--keep", action="store_true", help="write the numbers into instructions.json")
    arguments = parser.parse_args()
    try:
        found = facts(arguments.runtime, arguments.python)
        counted = count_best(arguments.runtime, arguments.python, lambda counts: not arguments.keep)
    except (Unable, Failure) as error:
        sys.exit("instructions: %s" % error)
    kept = read_kept() if KEPT.exists() else []
    entry = nearest(kept, found) if kept else None
    show(entry, counted)
    print("\n%s" % ", ".join("%s: %s" % pair for pair in found.items()))
    if entry and differences(entry, found):
        print("compared with numbers for another toolchain: %s" % "; ".join(differences(entry, found)))
    if arguments.keep:
        write_kept([entry for entry in kept if entry["facts"] != found] + [{"facts": found, "counts": counted}])


if __name__ == "__main__":
    main()
