#!/usr/bin/env python3
"""Reads many random texts with asya_runtime.loads, CPython's json and Node's JSON.parse: all accept the same texts, with
the same values.

Texts are pieces of JSON put together, valid and broken by a byte or two. Numbers are compared with Node as doubles, all
it has; keys without their order, which Node changes; with json everything is compared. `make fuzz` runs it with 10^7
texts, the tests with 10^5.
"""
import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time

PIECES = [
    b"null", b"true", b"false", b"0", b"-0", b"1", b"-1", b"12", b"0.5", b"-0.0", b"1e5", b"1E-7", b"1.5e+300", b"1e400", b"-1e-400", b"123456789",
    b"9007199254740993", b"-9223372036854775808", b"18446744073709551616", b"123456789012345678901234567890", b"0.1234567890123456789012345",
    b"5e-324", b"2.2250738585072011e-308", b"1.7976931348623159e308", b'""', b'"a"', b'"key"', b'"a longer string of more than 32 characters"',
    b'"\\n\\t\\"\\\\\\/\\b\\f\\r"', b'"\\u0041\\u00e9\\u4e16"', b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\ude00x"', b'"\\uD83D\\u0041"', "\"é世\U0001f600\"".encode(),
    "\"длинная строка, больше шестнадцати\"".encode(), b"[]", b"{}", b"[[]]", b'{"a":1}', b'{"a":1,"a":2}', b'{"b":{},"a":[null]}', b" ", b"\n", b"\t\r ", b"",
]
BREAKS = [
    b",", b":", b"[", b"]", b"{", b"}", b'"', b"\\", b"\\u", b"\\x", b"-", b"+", b".", b"e", b"E", b"0", b"1", b"tru", b"nul", b"NaN", b"Infinity", b"'",
    b"\x00", b"\x1f", b"\x7f", b"\xff", b"\xc3", b"\xa9", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"/", b"/**/", b"\x0b", b"\xc2\xa0", b"\xe2\x80\xa8",
]

NODE = r"""
const decoder = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true});
const bits = new DataView(new ArrayBuffer(8));
function canon(v) {
    if (v === null) return "n";
    if (v === true) return "t";
    if (v === false) return "f";
    if (typeof v === "number") { bits.setFloat64(0, v === 0 ? 0 : v); return "#" + bits.getBigUint64(0).toString(16).padStart(16, "0"); }
    if (typeof v === "string") { let s = '"'; for (let i = 0; i < v.length; i++) s += v.charCodeAt(i).toString(16).padStart(4, "0"); return s; }
    if (Array.isArray(v)) return "[" + v.map(canon).join(",") + "]";
    return "{" + Object.keys(v).map(k => canon(k) + ":" + canon(v[k])).sort().join(",") + "}";
}
let rest = Buffer.alloc(0);
process.stdin.on("data", chunk => {
    rest = rest.length ? Buffer.concat([rest, chunk]) : chunk;
    let out = "", at = 0;
    while (rest.length - at >= 4) {
        const size = rest.readUInt32LE(at);
        if (rest.length - at - 4 < size) break;
        let answer;
        try { answer = canon(JSON.parse(decoder.decode(rest.subarray(at + 4, at + 4 + size)))); } catch (e) { answer = "!"; }
        out += answer + "\n";
        at += 4 + size;
    }
    rest = rest.subarray(at);
    process.stdout.write(out);
});
"""


def canon(value):
    """A value as Node sees it, as text; the same as canon() above."""
    if value is None:
        return "n"
    if value is True:
        return "t"
    if value is False:
        return "f"
    if type(value) is str:
        return '"' + value.encode("utf-16-be", "surrogatepass").hex()
    if type(value) is list:
        return "[" + ",".join(map(canon, value)) + "]"
    if type(value) is dict:
        return "{" + ",".join(sorted(canon(k) + ":" + canon(v) for k, v in value.items())) + "}"
    try:
        number = float(value)
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    return "#" + struct.pack(">d", number or 0.0).hex()


def text(rng, depth=0):
    """A random text, mostly JSON."""
    choice = rng.random
    if depth > 4 or choice() < 0.35:
        return rng.choice(PIECES)
    space = rng.choice((b"", b"", b" ", b"\n  "))
    if choice() < 0.5:
        return b"[" + space + (b"," + space).join(text(rng, depth + 1) for _ in range(int(choice() * 5))) + space + b"]"
    keys = [b'"k%d"' % int(choice() * 4) if choice() < 0.8 else rng.choice(PIECES) for _ in range(int(choice() * 4))]
    return b"{" + space + (b"," + space).join(key + b":" + space + text(rng, depth + 1) for key in keys) + b"}"


def texts(rng, count):
    for _ in range(count):
        data = text(rng)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            place = int(rng.random() * (len(data) + 1))
            data = data[:place] + rng.choice(BREAKS if rng.random() < 0.8 else PIECES) + data[place + int(rng.random() * 3):]
        yield data


def refuse(name):
    raise ValueError(name)


def by_json(data):
    """(accepted, value) by CPython's strict decoder and json."""
    try:
        return True, json.loads(data.decode("utf-8"), parse_constant=refuse)
    except ValueError:
        return False, None


def by_asya(loads, data):
    try:
        return True, loads(data)
    except ValueError:
        return False, None


def by_node(batch):
    """Node's answers as lines."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # a sanitizer's, for us alone
    process = subprocess.Popen(["node", "-e", NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    whole = b"".join(struct.pack("<I", len(data)) + data for data in batch)
    out, _ = process.communicate(whole)
    if process.returncode != 0:
        raise RuntimeError("node: exit code %d" % process.returncode)
    return out.decode("ascii").splitlines()


def check(loads, same, rng, count, node):
    """(texts, accepted ones); AssertionError at the first text that is read otherwise."""
    done = accepted = 0
    while done < count:
        batch = list(texts(rng, min(50000, count - done)))
        answers = []
        other = threading.Thread(target=lambda: answers.extend(by_node(batch)))
        if node:
            other.start()
        values = []
        for data in batch:
            ours, theirs = by_asya(loads, data), by_json(data)
            assert ours[0] == theirs[0] and same(ours[1], theirs[1]), "json reads %r otherwise" % data
            values.append(canon(ours[1]) if ours[0] else "!")
        if node:
            other.join()
            assert len(answers) == len(batch)
            for data, answer, value in zip(batch, answers, values):
                assert answer == value, "Node reads %r otherwise" % data
        done += len(batch)
        accepted += sum(value != "!" for value in values)
    return done, accepted


def have_node():
    return shutil.which("node") is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100000, help="texts (default %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    from asya_runtime import loads
    from documents import same

    node = have_node()
    print("seed %d" % options.seed, "" if node else "(node is not installed: json alone)", flush=True)
    begin = time.monotonic()
    done, accepted = check(loads, same, random.Random(options.seed), options.count, node)
    print("%d texts, of which %d are JSON, read alike by asya, json%s, %d s" % (done, accepted, " and Node" if node else "", time.monotonic() - begin))


if __name__ == "__main__":
    sys.exit(main())
