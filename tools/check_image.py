#!/usr/bin/env python3
"""Fails unless the freestanding image keeps its promises.

No DT_NEEDED and no symbol versions, so that the same bytes load under glibc and musl; every undefined name stands in
tools/image_symbols.txt; exactly one name is exported. Hardened as far as a module without libraries can be: nothing is
writable and executable at once, the stack is not executable, addresses are resolved at the load and read-only afterwards,
indirect jumps land on marked places only (IBT and shadow stack on x86_64, BTI and PAC on aarch64).
"""
import argparse
import os
import re
import subprocess
import sys


def readelf(option, path):
    return subprocess.run(
        ["readelf", "-W", option, path], check=True, stdout=subprocess.PIPE, universal_newlines=True, env=dict(os.environ, LC_ALL="C")
    ).stdout


def allowed_names(path):
    with open(path, encoding="ascii") as file:
        return {line.split("#")[0].strip() for line in file} - {""}


# What the machine's loaders need: ELF's name of it, the largest page it is run with, and the marks of a module whose
# indirect jumps the processor may check.
MACHINES = {
    "x86_64": ("Advanced Micro Devices X86-64", 0x1000, ("IBT", "SHSTK")),
    "aarch64": ("AArch64", 0x10000, ("BTI", "PAC")),
}


def symbol_problems(symbols, module, allowed):
    """`symbols` is what readelf --dyn-syms prints."""
    undefined, exported = set(), set()
    for line in symbols.splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit() or fields[4] == "LOCAL":
            continue
        name = fields[7]
        if "@" in name:
            yield "versioned symbol: " + name
        if fields[6] == "UND":
            undefined.add(name)
        else:
            exported.add(name)
    for name in sorted(undefined - allowed):
        yield "undefined name that is not in tools/image_symbols.txt: " + name
    if exported != {"PyInit_" + module}:
        yield "exports %s, should export PyInit_%s only" % (sorted(exported), module)


def dynamic_problems(dynamic):
    """`dynamic` is what readelf -d prints."""
    for tag in ("NEEDED", "TEXTREL", "RPATH", "RUNPATH", "VERNEED"):
        if "(%s)" % tag in dynamic:
            yield "has DT_" + tag
    if "(RELR)" in dynamic or "(GNU_HASH)" not in dynamic:
        yield "has relocations or a symbol table that old loaders cannot read"
    if not any("(FLAGS" in line and "NOW" in line for line in dynamic.splitlines()):
        yield "is not linked with -z now"


def segment_problems(segments, sections, page):
    """`segments` is what readelf -l prints, `sections` what -S does; no page of the machine is larger than `page`."""
    found = [line.split() for line in segments.splitlines()]
    for fields in found:
        if fields[:1] == ["LOAD"]:
            flags = "".join(fields[6:-1])
            if "W" in flags and "E" in flags:
                yield "has a segment that is writable and executable"
            if int(fields[-1], 16) < page:
                yield "has a segment aligned to %s, less than a page of %#x" % (fields[-1], page)
    stack = [fields for fields in found if fields[:1] == ["GNU_STACK"]]
    if not stack or "E" in "".join(stack[0][6:-1]):
        yield "has an executable stack"
    relro = [fields for fields in found if fields[:1] == ["GNU_RELRO"]]
    begin, size = (int(relro[0][2], 16), int(relro[0][5], 16)) if relro else (0, 0)
    for line in sections.splitlines():
        match = re.match(r"\s*\[ *\d+\] (\.got|\.data\.rel\.ro|\.dynamic) +\w+ +([0-9a-f]+)", line)
        if match and not begin <= int(match.group(2), 16) < begin + size:
            yield "%s stays writable (-z relro)" % match.group(1)


def problems(image, module, machine, allowed):
    """Sentences about what is wrong with the file `image`, the extension `module` built for `machine`."""
    name, page, marks = MACHINES[machine]
    if name not in readelf("-h", image):
        yield "is not built for " + machine
        return
    yield from symbol_problems(readelf("--dyn-syms", image), module, allowed)
    yield from dynamic_problems(readelf("-d", image))
    yield from segment_problems(readelf("-l", image), readelf("-S", image), page)
    notes = [line for line in readelf("-n", image).splitlines() if "feature:" in line]
    for mark in marks:
        if not any(mark in line for line in notes):
            yield "does not mark where indirect jumps may land (%s)" % mark


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--module", default="_asya", help="its name in Python")
    parser.add_argument("--machine", required=True, choices=sorted(MACHINES))
    parser.add_argument("--stamp", help="file to write when all is well")
    options = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    found = list(problems(options.image, options.module, options.machine, allowed_names(os.path.join(here, "image_symbols.txt"))))
    for problem in found:
        print("check_image: %s: %s" % (options.image, problem), file=sys.stderr)
    if found:
        sys.exit(1)
    if options.stamp:
        with open(options.stamp, "w", encoding="ascii") as file:
            file.write("ok\n")


if __name__ == "__main__":
    main()
