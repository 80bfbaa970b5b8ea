#!/usr/bin/env python3
"""Writes a Python source of src/python/glue as a C string, for code that the extension compiles when it first needs it.

Usage: embed_glue.py SOURCE.py --output FILE.c defines `const char glue_SOURCE[]`. Comments, docstrings, blank lines and
spaces that the interpreter does not need are left out (embed.py), and tabs indent; the numbers of the lines that remain are
not needed by anybody. It is not aligned: it is text.
"""
import argparse
import pathlib

import embed
import shorten

# Of these the variables get names of one letter, too: 1.4 KB of the file. Not of the others: users give parameters of
# metrics by name, and stacks looks for variables of the loop.
SHORTENED = ("leftovers", "log", "readers", "results", "spans", "template", "typed")


def texts(folder):
    """What the image has of each source in the folder, by name."""
    found = {path.stem: embed.essence(path.read_text(encoding="ascii")) for path in sorted(folder.glob("*.py"))}
    names = [name for name in found if name in SHORTENED]
    found.update(zip(names, map(embed.essence, shorten.shorten([found[name] for name in names]))))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    name = arguments.source.stem
    arguments.output.write_text('#include "python/glue.h"\n\nconst char __attribute__((aligned(1))) glue_%s[] =\n%s;\n' %
                                (name, embed.c_string(texts(arguments.source.parent)[name])))


if __name__ == "__main__":
    main()
