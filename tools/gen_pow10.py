#!/usr/bin/env python3
"""Writes what the table of src/json/pow10.h must hold, for its unit test: 128 significant bits of each power of ten, cut off.

The reader (Eisel-Lemire) and the writer (Schubfach) of doubles share it; src/json/pow10.h says how each corrects it.
"""
import argparse

FIRST, LAST = -342, 324  # what the reader needs at the low end and the writer at the high end
EXACT_LAST = 55  # 5**55 is the last power of five that fits into 128 bits


def significand(k):
    """floor(10**k / 2**e) with e such that 2**127 <= result < 2**128; only whole-number arithmetic."""
    if k >= 0:
        power = 5**k
        excess = power.bit_length() - 128
        return power >> excess if excess > 0 else power << -excess
    power = 5**-k
    return (1 << (power.bit_length() + 127)) // power


def check(k, value):
    assert 1 << 127 <= value < 1 << 128
    # The header's formula for the binary exponent, and room for the correction by one in the low word.
    exponent = ((k * 217706) >> 16) - 127
    numerator, denominator = (10**k, 1) if k >= 0 else (1, 10**-k)
    if exponent >= 0:
        denominator <<= exponent
    else:
        numerator <<= -exponent
    assert value * denominator <= numerator < (value + 1) * denominator
    assert (value * denominator == numerator) == (0 <= k <= EXACT_LAST)
    assert value & 0xFFFFFFFFFFFFFFFF != 0xFFFFFFFFFFFFFFFF


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True)
    with open(parser.parse_args().output, "w", encoding="ascii") as file:
        file.write("/* Made by tools/gen_pow10.py. */\n#include \"json/pow10.h\"\n\n")
        file.write("_Static_assert(POW10_FIRST == %d && POW10_LAST == %d, \"generator and header agree\");\n" % (FIRST, LAST))
        file.write("_Static_assert(POW10_EXACT_LAST == %d, \"generator and header agree\");\n\n" % EXACT_LAST)
        file.write("extern const struct pow10 pow10_exact[];\nconst struct pow10 pow10_exact[POW10_LAST - POW10_FIRST + 1] = {\n")
        for k in range(FIRST, LAST + 1):
            value = significand(k)
            check(k, value)
            file.write("    {0x%016xu, 0x%016xu}, /* %d */\n" % (value >> 64, value & 0xFFFFFFFFFFFFFFFF, k))
        file.write("};\n")


if __name__ == "__main__":
    main()
