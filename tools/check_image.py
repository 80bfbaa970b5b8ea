#!/usr/bin/env python3
"""Fails unless the freestanding image keeps its promises.

No DT_NEEDED and no symbol versions, so that the same bytes load under glibc and musl; every undefined name stands in
tools/image_symbols.txt; exactly one name is exported; the stack is not executable; relocations are read-only.
"""
import argparse
import os
import subprocess
import sys


def readelf(option, path):
    return subprocess.run(
        ["readelf", "-W", option, path], check=True, stdout=subprocess.PIPE, universal_newlines=True, env=dict(os.environ, LC_ALL="C")
    ).stdout


def allowed_names(path):
    with open(path, encoding="ascii") as file:
        return {line.split("#")[0].strip() for line in file} - {""}


def problems(image, allowed):
    undefined, exported = set(), set()
    for line in readelf("--dyn-syms", image).splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
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
    if exported != {"PyInit__asya"}:
        yield "exports %s, should export PyInit__asya only" % sorted(exported)
    dynamic = readelf("-d", image)
    for tag in ("NEEDED", "TEXTREL", "RPATH", "RUNPATH"):
        if "(%s)" % tag in dynamic:
            yield "has DT_" + tag
    if "BIND_NOW" not in dynamic and "NOW" not in dynamic:
        yield "is not linked with -z now"
    segments = readelf("-l", image)
    if "GNU_RELRO" not in segments:
        yield "has no read-only relocations (-z relro)"
    stack = [line for line in segments.splitlines() if "GNU_STACK" in line]
    if not stack or "E" in stack[0].split()[-2]:
        yield "has an executable stack"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--stamp", help="file to write when all is well")
    options = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    found = list(problems(options.image, allowed_names(os.path.join(here, "image_symbols.txt"))))
    for problem in found:
        print("check_image: %s: %s" % (options.image, problem), file=sys.stderr)
    if found:
        sys.exit(1)
    if options.stamp:
        with open(options.stamp, "w", encoding="ascii") as file:
            file.write("ok\n")


if __name__ == "__main__":
    main()
