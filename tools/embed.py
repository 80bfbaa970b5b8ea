#!/usr/bin/env python3
"""Writes a Python source as a C string, for code that the extension compiles when it first needs it.

Usage: embed.py SOURCE.py --name NAME --output FILE.c defines `const char NAME[]`. Comments, docstrings and blank lines
are left out; the names of the lines that remain are not needed by anybody.
"""
import argparse
import ast
import pathlib


def without_docstrings(text):
    """The lines of the source that do something; a text over several lines stays whole."""
    tree = ast.parse(text)
    dropped, texts = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno > node.lineno:
            texts.update(range(node.lineno, node.end_lineno + 1))
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and len(node.body) > 1:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                dropped.update(range(first.lineno, first.end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    kept = [line for number, line in lines
            if number not in dropped and (number in texts or line.strip() and line.strip()[0] != "#")]
    result = "\n".join(kept) + "\n"
    compile(result, "embedded", "exec")
    return result


def c_string(text):
    """One literal a line."""
    quoted = (line.replace("\\", "\\\\").replace('"', '\\"') for line in text.splitlines())
    return "\n".join('    "%s\\n"' % line for line in quoted)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    text = without_docstrings(arguments.source.read_text(encoding="utf-8"))
    if not text.isascii():
        parser.error("only ASCII")
    arguments.output.write_text('#include "python/glue.h"\n\nconst char %s[] =\n%s;\n' % (arguments.name, c_string(text)))


if __name__ == "__main__":
    main()
