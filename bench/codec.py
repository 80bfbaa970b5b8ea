#!/usr/bin/env python3
"""Measures loads and dumps of the runtime's codec against json, with orjson and msgspec beside where installed.

All in one process and one run, taking turns; medians of the thread's CPU time, in which other work on the machine shows
least; every result is dropped at once; `json` with its defaults on the decoded text, everybody else on bytes. A ratio
says how many times faster than json; the last column compares the runtime with orjson, in the last tables for reading
and writing together. `make bench-codec` runs it.

"dumps" writes the same objects again and again, each codec its own. "first dumps" writes objects that were never
written before, as a server does: some codecs leave the UTF-8 of a text inside the str when they write it, and find it
there the next time.

`--ratios` instead prints how many times faster than orjson and msgspec the runtime is, for more documents: each round
goes through the codecs and back (ABBA) and gives one ratio; medians of the rounds, quartiles in brackets. Other work
on the machine hits all of a round alike, so these say more than times do on a machine that is not idle.
"""
import argparse
import base64
import decimal
import gc
import importlib
import importlib.util
import json
import os
import random
import statistics
import struct
import sys
import time

OPERATIONS = ("loads", "dumps", "first dumps", "array")
TIMED_ONCE = 1000  # a text shorter than this is written in less time than a look at the clock takes
SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "shared", "bench-data")


def envelope():
    return json.dumps({"id": "9f1c2a", "text": "Hello, me", "n": 7, "ok": True, "route": ["prep", "infer", "post"]})


def records(rng):
    return json.dumps(
        [
            {"id": i, "name": "item-%04d" % i, "score": round(rng.random(), 4), "tags": ["a", "b"], "ok": i % 2 == 0}
            for i in range(110)
        ]
    )


def sentence(rng, language):
    """A sentence of random words: real ones repeated would let the processor learn them by heart."""
    if language == 0:
        return "".join(chr(rng.randrange(0x4E00, 0x9F00)) if rng.random() < 0.9 else "，" for _ in range(40))
    letters = ("абвгдежзиклмнопрстуфхцчшщыьэюя", "abcdefghijklmnopqrstuvwxyz" * 2 + "äöüß", "abcdefghijklmnopqrstuvwxyz\U0001f600")
    return " ".join("".join(rng.choices(letters[language - 1], k=rng.randint(1, 12))) for _ in range(12))


def shared(name):
    path = os.path.join(SHARED, name)
    if not os.path.exists(path):
        print("skipped: %s is absent" % path)
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


def documents():
    """(name, text) of every document; text is None where it cannot be had."""
    rng = random.Random(1)
    yield "envelope, 93 B", envelope()
    yield "100 records, 9 KB", records(rng)
    yield "49,152 doubles, 1 MB", json.dumps([rng.uniform(-1, 1) for _ in range(49152)])
    yield "ASCII string, 9 MB", json.dumps("".join(rng.choice("abcdefgh ijklmnop") for _ in range(9000)) * 1000)
    yield "200,000 short integers", json.dumps([rng.randrange(-1000, 1000) for _ in range(200000)])
    yield "non-ASCII text, 0.5 MB", json.dumps([sentence(rng, i % 4) for i in range(4000)], ensure_ascii=False)
    image = base64.b64encode(bytes(rng.randrange(256) for _ in range(300000))).decode()
    yield "base64 image, 400 KB", json.dumps({"image": image, "format": "png"})
    for name in ("canada", "citm_catalog", "twitter"):
        yield name, shared(name + ".json")


def special_documents():
    """What ordinary documents have little of. orjson and msgspec refuse lone surrogates."""
    rng = random.Random(2)
    yield "Latin letters, aéaé", json.dumps(["aéaé" * 10 for _ in range(2000)], ensure_ascii=False)
    yield "one-character strings", json.dumps([chr(rng.choice((*range(97, 123), 0xE9, 0x4E2D))) for _ in range(5000)], ensure_ascii=False)
    yield "half-way doubles", "[%s]" % ",".join(half_way(rng) for _ in range(2000))
    yield "lone surrogates", json.dumps(["ab\ud800cd" for _ in range(2000)])
    yield "escaped non-ASCII", json.dumps([sentence(rng, i % 4) for i in range(500)])
    yield "escaped ASCII", json.dumps(["".join(rng.choices('abcdefgh\n"\\', k=50)) for _ in range(1000)])
    yield "short ASCII strings", json.dumps(["".join(rng.choices("abcdefgh ", k=rng.randrange(30))) for _ in range(5000)])
    yield "long integers", json.dumps([rng.randrange(-(1 << 62), 1 << 62) for _ in range(5000)])
    yield "short doubles", json.dumps([round(rng.uniform(-100, 100), 3) for _ in range(5000)])
    yield "nested, small", json.dumps([{"a": {"b": [i, {"c": [[], {}, None, True, False]}]}} for i in range(1000)])
    yield "true, false, null", json.dumps([rng.choice((None, True, False)) for _ in range(5000)])


def half_way(rng):
    """All digits of a number in the middle between two doubles."""
    bits = rng.getrandbits(52) | rng.randrange(1000, 1050) << 52
    low, high = (decimal.Decimal(struct.unpack("<d", struct.pack("<Q", bits + i))[0]) for i in (0, 1))
    with decimal.localcontext() as context:
        context.prec = 1000
        return str((low + high) / 2)


def load_extension(path):
    spec = importlib.util.spec_from_file_location("_asya", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def codecs(options):
    """name -> (loads, dumps, takes text)"""
    ours = load_extension(options.extension) if options.extension else importlib.import_module("asya_runtime")
    found = {"json": (json.loads, json.dumps, True), "asya": (ours.loads, ours.dumps, False)}
    for name in ("orjson", "msgspec"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            print("not installed: " + name)
            continue
        found[name] = (module.json.decode, module.json.encode, False) if name == "msgspec" else (module.loads, module.dumps, False)
    return found


def time_first(function, text):
    """One call on objects that no codec has seen."""
    fresh = json.loads(text)
    return time_calls(function, fresh, 1)


def time_calls(function, argument, count):
    clock = time.thread_time_ns
    begin = clock()
    for _ in range(count):
        function(argument)
    return (clock() - begin) / count


def measure(functions, seconds, time_one=None):
    """Median nanoseconds a call of each (function, argument), taking turns for about `seconds` in all."""
    counts, samples = [], [[] for _ in functions]
    for function, argument in functions:
        single = 1e9 if time_one else min(time_calls(function, argument, 1) for _ in range(3))
        counts.append(max(1, int(300000 / max(single, 1))))
    stop = time.perf_counter() + seconds
    while len(samples[0]) < 7 or (time.perf_counter() < stop and len(samples[0]) < 501):
        for i, (function, argument) in enumerate(functions):
            samples[i].append(time_one(function, argument) if time_one else time_calls(function, argument, counts[i]))
    return [statistics.median(values) for values in samples]


def calls(operation, found, text):
    """What each codec is asked to do with a document, on objects of its own."""
    if operation == "loads":
        return [(loads, text if is_text else text.encode()) for loads, _, is_text in found.values()]
    if operation == "first dumps":
        return [(dumps, text) for _, dumps, _ in found.values()]
    return [(dumps, json.loads(text)) for _, dumps, _ in found.values()]


def human(nanoseconds):
    return "%.2f us" % (nanoseconds / 1e3) if nanoseconds < 1e6 else "%.2f ms" % (nanoseconds / 1e6)


def heading(operation, names):
    print("\n%-24s%s" % (operation, "".join("%12s" % name for name in names)), end="")
    print("".join("%14s" % ("json/" + name) for name in names[1:]) + ("%14s" % "orjson/asya" if "orjson" in names else ""))


def row(title, names, medians):
    line = "%-24s%s" % (title, "".join("%12s" % human(value) for value in medians))
    line += "".join("%13.1fx" % (medians[0] / value) for value in medians[1:])
    if "orjson" in names:
        line += "%13.2fx" % (medians[names.index("orjson")] / medians[names.index("asya")])
    print(line, flush=True)


def report(operation, found, options):
    """Prints a table; {title: medians}."""
    names, results = list(found), {}
    heading(operation, names)
    for title, text in documents():
        if text is None or (options.only and options.only not in title) or (operation == "first dumps" and len(text) < TIMED_ONCE):
            continue
        gc.collect()
        results[title] = measure(calls(operation, found, text), options.seconds, time_first if operation == "first dumps" else None)
        row(title, names, results[title])
    return results


def report_both(found, tables):
    """loads and dumps together, from the tables before."""
    names = list(found)
    for operation in ("dumps", "first dumps"):
        if "loads" in tables and operation in tables:
            heading("loads + " + operation, names)
            for title, medians in tables[operation].items():
                row(title, names, [a + b for a, b in zip(medians, tables["loads"][title])])


def time_fresh(function, text, count):
    """Nanoseconds a call, on objects that no codec has seen."""
    objects = [json.loads(text) for _ in range(count)]
    clock = time.thread_time_ns
    begin = clock()
    for value in objects:
        function(value)
    return (clock() - begin) / count


def rounds(functions, is_fresh, count_rounds):
    """For each round the nanoseconds a call of each (function, argument): there and back, so that a drift hits all alike."""
    timed = time_fresh if is_fresh else time_calls
    counts = [max(1, min(200 if is_fresh else 10**6, int(3e6 / min(timed(*pair, 1) for _ in range(3))))) for pair in functions]
    order = [*range(len(functions)), *reversed(range(len(functions)))]
    for _ in range(count_rounds):
        sums = [0] * len(functions)
        for i in order:
            sums[i] += timed(*functions[i], counts[i])
        yield sums


def ratio_text(values):
    quarter = len(values) // 4
    values = sorted(values)
    return "%6.2f [%.2f to %.2f]" % (statistics.median(values), values[quarter], values[-1 - quarter])


def report_ratios(found, options):
    peers = [name for name in ("orjson", "msgspec") if name in found]
    asked = [found[name] for name in ("asya", *peers)]
    print("\n%-24s%-14s%s" % ("peer / asya", "", "".join("%-24s" % name for name in peers)))
    for title, text in [*documents(), *special_documents()]:
        if text is None or (options.only and options.only not in title):
            continue
        sums = {}
        for operation in ("loads", "dumps", "first dumps"):
            gc.collect()
            try:
                pairs = [(loads, text.encode()) if operation == "loads" else (dumps, text if operation == "first dumps" else json.loads(text)) for loads, dumps, _ in asked]
                sums[operation] = list(rounds(pairs, operation == "first dumps", options.rounds))
            except (ValueError, TypeError) as error:
                print("%-24s%-14s%s" % (title, operation, str(error)[:60]))
        if {"loads", "first dumps"} <= sums.keys():
            sums["both"] = [[a + b for a, b in zip(*pair)] for pair in zip(sums["loads"], sums["first dumps"])]
        for operation, samples in sums.items():
            texts = [ratio_text([sample[i + 1] / sample[0] for sample in samples]) for i in range(len(peers))]
            print("%-24s%-14s%s" % (title, operation, "".join("%-24s" % text for text in texts)), flush=True)


def report_array(found, options):
    """An embedding, which json must have as a list."""
    try:
        import numpy
    except ImportError:
        print("not installed: numpy")
        return
    array = numpy.random.default_rng(1).standard_normal((64, 768)).astype("f4")
    writers = {"json": lambda a: json.dumps(a.tolist()), "asya": found["asya"][1]}
    if "orjson" in found:
        orjson = importlib.import_module("orjson")
        writers["orjson"] = lambda a: orjson.dumps(a, option=orjson.OPT_SERIALIZE_NUMPY)
    heading("dumps of an array", list(writers))
    row("float32, 64 x 768", list(writers), measure([(write, array) for write in writers.values()], options.seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extension", help="measure this _asya.abi3.so instead of the module asya_runtime")
    parser.add_argument("--operation", choices=OPERATIONS, action="append", help="default: all")
    parser.add_argument("--only", help="documents whose name holds this")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each document and operation (default %(default)s)")
    parser.add_argument("--ratios", action="store_true", help="compare with orjson and msgspec alone, round by round")
    parser.add_argument("--rounds", type=int, default=15, help="for --ratios (default %(default)s)")
    options = parser.parse_args()
    found = codecs(options)
    versions = ["%s %s" % (name, importlib.import_module(name).__version__) for name in found if name in ("orjson", "msgspec")]
    print(", ".join(["CPython %s, %s" % (sys.version.split()[0], sys.executable), *versions]))
    if options.ratios:
        return report_ratios(found, options)
    operations = options.operation or OPERATIONS
    tables = {operation: report(operation, found, options) for operation in operations if operation != "array"}
    report_both(found, tables)
    if "array" in operations:
        report_array(found, options)


if __name__ == "__main__":
    main()
