#!/usr/bin/env python3
"""Writes the pyconfig.h that CPython's headers want when compiling for another kind of 64-bit processor.

Debian's Python.h includes <TRIPLET/python3.X/pyconfig.h> of the processor compiled for, which comes in that
architecture's own package only. What the limited API takes from it is the sizes of C types, and these are the same on
every 64-bit Linux: so this forwards to the build machine's pyconfig.h and lets the compiler check each size. Interpreters
that keep a plain pyconfig.h beside Python.h do not look at it.
"""
import argparse
import os
import re
import sys
import sysconfig

TYPES = {
    "SHORT": "short", "INT": "int", "LONG": "long", "LONG_LONG": "long long", "VOID_P": "void *", "SIZE_T": "size_t",
    "UINTPTR_T": "uintptr_t", "OFF_T": "off_t", "PID_T": "pid_t", "TIME_T": "time_t", "WCHAR_T": "wchar_t",
    "FLOAT": "float", "DOUBLE": "double", "_BOOL": "_Bool",
}


def real_header():
    """The build machine's pyconfig.h: Debian's beside Python.h only includes it."""
    name = "python%d.%d" % sys.version_info[:2]
    multiarch = os.path.join("/usr/include", sysconfig.get_config_var("MULTIARCH") or "", name, "pyconfig.h")
    return multiarch if os.path.exists(multiarch) else sysconfig.get_config_h_filename()


def forwarding(header):
    """The text of the header: `header`, and one check a size."""
    with open(header, encoding="utf-8") as file:
        defined = set(re.findall(r"^#define SIZEOF_(\w+) ", file.read(), re.MULTILINE))
    lines = ['#include "%s"' % header, "#include <stddef.h>", "#include <stdint.h>", "#include <sys/types.h>"]
    lines += ['_Static_assert(SIZEOF_%s == sizeof(%s), "%s");' % (name, TYPES[name], TYPES[name])
              for name in sorted(TYPES) if name in defined]
    lines += ["#ifdef WORDS_BIGENDIAN", "#error only little-endian", "#endif"]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", required=True, help="x86_64 or aarch64")
    parser.add_argument("--output", required=True, help="the folder to put on the include path")
    options = parser.parse_args()
    folder = os.path.join(options.output, options.machine + "-linux-gnu", "python%d.%d" % sys.version_info[:2])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "pyconfig.h"), "w", encoding="utf-8") as file:
        file.write(forwarding(real_header()))


if __name__ == "__main__":
    main()
