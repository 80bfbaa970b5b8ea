#!/usr/bin/env python3
"""Reads and writes many doubles with asya_runtime and compares with CPython's float() and repr().

Read: random bit patterns as their shortest text and with 17 digits, random decimal texts of 1 to 25 digits, the middles
between neighbouring doubles and texts a hair beside them; then, once, all powers of ten and of two, subnormals and the
cases known to be hard: every bit as float() gives it. Written: the same patterns, decimals and hard cases, every
character as repr() gives it. `--count` is the number of random bit patterns; the rest is in proportion. `make
check-doubles` runs it with 10^7.
"""
import argparse
import random
import struct
import sys
import time
from fractions import Fraction

HARD = """
0.0 -0.0 0e0 0e99999999999999999999 -0.0e-99999999999999999999 1e-99999999999999999999 1e99999999999999999999 -1e309
1.7976931348623157e308 1.7976931348623158e308 1.7976931348623159e308 1.797693134862315807e308 1.797693134862315808e308
2.2250738585072014e-308 2.2250738585072011e-308 2.2250738585072012e-308 4.9406564584124654e-324 5e-324 4.9e-324
2.4703282292062327e-324 2.4703282292062328e-324 2.47032822920623272088284396434110686182e-324
2.4703282292062327208828439643411e-324 2.4703282292062327208828439643412e-324 7.4109846876186982e-324
9007199254740993.0 9007199254740993.00000000000000000000000000000001 9007199254740992.9999999999999999999999999999999
1.00000000000000011102230246251565404236316680908203125 1.00000000000000011102230246251565404236316680908203124
1.00000000000000011102230246251565404236316680908203126 1.00000000000000033306690738754696212708950042724609375
6.631236846766476e-316 3.2378839133029012895883524125015321748630e-310 5.386379163185535e-309 6929495644600919.5
3.7455744005952583e15 1448997445238699.0 -2402844368454405395.2 1090544144181609419040633126912.0 72057594037927945.0
9223372036854776833.0 18446744073709553665.0 8.41e21 9.109e-31 5e-20 1e23 123456789012345678901234567890.5e-10
""".split()


def middle(bits):
    """The exact decimal text of the middle between a double and the next one up."""
    low, high = struct.unpack("<2d", struct.pack("<2Q", bits, bits + 1))
    value = (Fraction(low) + Fraction(high)) / 2
    exponent = value.denominator.bit_length() - 1  # the denominator is a power of two
    return "%de-%d" % (value.numerator * 5**exponent, exponent) if exponent else "%d.0" % value.numerator


def random_texts(rng, count):
    for _ in range(count):
        bits = rng.getrandbits(64)
        (value,) = struct.unpack("<d", struct.pack("<Q", bits))
        if value - value == 0:
            yield repr(value)
            yield "%.16e" % value
    for _ in range(count // 4):
        digits = rng.randint(1, 25)
        yield "%s%d.%de%d" % (rng.choice(("", "-")), rng.randrange(10), rng.randrange(10**digits), rng.randint(-340, 320))
        yield "%.*f" % (rng.randint(1, 18), rng.uniform(-1000, 1000))
    for _ in range(count // 50):
        text = middle(rng.randrange(0x7FE0000000000000))
        mantissa, _, exponent = text.partition("e")
        yield text
        if exponent:
            yield "%d1e%d" % (int(mantissa), int(exponent) - 1)
            yield "%d9e%d" % (int(mantissa) - 1, int(exponent) - 1)


def fixed_texts():
    yield from HARD
    for exponent in range(-400, 401):
        yield "1e%d" % exponent
        yield "-9.999999999999999999e%d" % exponent
    for exponent in range(-1074, 1024):
        value = 2.0**exponent
        yield from (repr(value), "%.16e" % value, "%.25e" % value)
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        for near in (bits - 1, bits, bits + 1):
            yield repr(struct.unpack("<d", struct.pack("<Q", near))[0])
            yield middle(near)
    for bits in range(2000):
        yield repr(struct.unpack("<d", struct.pack("<Q", bits))[0])
    for digits in range(1, 30):
        yield "0." + "9" * digits
        yield "1" + "0" * digits + ".0"
        yield "0." + "0" * digits + "1"
        yield "1.0000000000000000" + "0" * digits + "1"


def double_of(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def random_doubles(rng, count):
    """Finite doubles: random bit patterns, and numbers as people write them, which have few digits."""
    for _ in range(count):
        value = double_of(rng.getrandbits(64))
        if value - value == 0:
            yield value
    for _ in range(count // 8):
        yield rng.randrange(10 ** rng.randint(1, 17)) / 10 ** rng.randint(0, 22)
        yield rng.uniform(-1, 1)
        yield float(rng.getrandbits(rng.randint(1, 70)))
        yield rng.randrange(10 ** rng.randint(1, 17)) * 10.0 ** rng.randint(0, 290)


def fixed_doubles():
    """Finite doubles at the borders: neighbours of all powers of two and ten, subnormals, the hard cases."""
    for text in HARD:
        value = float(text)
        if value - value == 0:
            yield from (value, -value)
    powers = [2.0**exponent for exponent in range(-1074, 1024)] + [float("1e%d" % exponent) for exponent in range(-323, 309)]
    for value in powers:
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        for near in range(max(bits - 3, 0), bits + 4):
            if near < 0x7FF0000000000000:
                yield double_of(near)
    for bits in range(5000):
        yield double_of(bits)
        yield double_of(0x0010000000000000 + bits)  # the smallest normal numbers
        yield double_of(0x7FEFFFFFFFFFFFFF - bits)
    for digits in range(1, 23):
        for value in (10**digits, 10**digits - 1, 10**digits + 1):
            for below in range(0, 25):
                yield value / 10**below
    for value in range(1, 1000):
        yield from (value / 1000, value * 1e13, value * 1e-7, 9007199254740992.0 + value, 9007199254740992.0 - value, value / 3)


def batches(items, size=20000):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def check(loads, texts):
    """The number of texts read; AssertionError at the first that differs."""
    done = 0
    for batch in batches(text if "." in text or "e" in text else text + ".0" for text in texts):
        read = loads(("[" + ",".join(batch) + "]").encode())
        expected = [float(text) for text in batch]
        form = "<%dd" % len(batch)
        if struct.pack(form, *read) != struct.pack(form, *expected):
            for text, got, right in zip(batch, read, expected):
                assert struct.pack("<d", got) == struct.pack("<d", right), "%s: %r, not %r" % (text, got, right)
        done += len(batch)
    return done


def check_written(dumps, numbers):
    """The number of doubles written; AssertionError at the first that differs."""
    done = 0
    for batch in batches(numbers):
        expected = list(map(repr, batch))
        if dumps(batch).decode() != "[" + ",".join(expected) + "]":
            for value, right in zip(batch, expected):
                assert dumps(value).decode() == right, "%s: %s" % (right, dumps(value))
            raise AssertionError("alone they are right")
        done += len(batch)
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100000, help="random bit patterns (default %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    from asya_runtime import dumps, loads

    print("seed %d" % options.seed, flush=True)
    begin = time.monotonic()
    read = check(loads, fixed_texts()) + check(loads, random_texts(random.Random(options.seed), options.count))
    print("read: %d texts agree with float(), %d s" % (read, time.monotonic() - begin), flush=True)
    written = check_written(dumps, fixed_doubles()) + check_written(dumps, random_doubles(random.Random(options.seed), options.count))
    print("written: %d doubles agree with repr(), %d s" % (written, time.monotonic() - begin))


if __name__ == "__main__":
    sys.exit(main())
