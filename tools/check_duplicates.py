#!/usr/bin/env python3
"""Fails when src/ says something twice: six or more equal lines of code in a row outside tables, or a static name in two files.

A name that stands in one file only is found by grep. A table is the initialiser of a variable at file scope; its rows may be
alike. Includes, comments, blank lines and lines without a word (`}`) do not count.
"""
import re
import sys

import c_source

LEAST = 6


def code_lines(name, text):
    """(line number, its code with blanks folded) for what counts."""
    tables = [range(one.line, one.end + 1) for one in c_source.definitions(text) if not one.is_function]
    found = []
    for number, line in enumerate(c_source.without_comments(text).splitlines(), 1):
        folded = " ".join(line.split())
        counts = re.search(r"\w", folded) and not folded.startswith("#include")
        if counts and not any(number in table for table in tables):
            found.append((number, folded))
    return found


def equal_runs(files):
    """(file, first line, last line, other file, first line, last line) for each run of equal lines, as long as it goes."""
    lines = {name: code_lines(name, text) for name, text in files.items()}
    places, runs, reached = {}, [], {}
    for name in sorted(lines):
        for at in range(len(lines[name]) - LEAST + 1):
            window = tuple(code for _, code in lines[name][at:at + LEAST])
            for other, begin in places.get(window, ()):
                if other == name and at - begin < LEAST:
                    continue  # lines that repeat themselves
                if reached.get((name, other, at - begin), -1) >= at:
                    continue  # inside the run before
                size = LEAST
                while (lines[name][at + size:at + size + 1] and lines[other][begin + size:begin + size + 1]
                       and lines[name][at + size][1] == lines[other][begin + size][1]):
                    size += 1
                reached[name, other, at - begin] = at + size - LEAST
                runs.append((other, lines[other][begin][0], lines[other][begin + size - 1][0],
                             name, lines[name][at][0], lines[name][at + size - 1][0]))
            places.setdefault(window, []).append((name, at))
    return runs


def static_names(files):
    """name -> the files in which it is a static function, for those in more than one."""
    found = {}
    for name, text in files.items():
        for one in c_source.definitions(text):
            if one.is_static and one.is_function and name not in found.setdefault(one.name, []):
                found[one.name].append(name)
    return {name: where for name, where in found.items() if len(where) > 1}


def problems(files):
    for run in equal_runs(files):
        yield "the same lines in %s:%d-%d and %s:%d-%d" % run
    names = static_names(files)
    for name in sorted(names):
        yield "the static function %s stands in %s" % (name, " and ".join(names[name]))


def main():
    files = c_source.files()
    found = list(problems(files))
    for problem in found:
        print("check_duplicates: " + problem, file=sys.stderr)
    if found or not files:
        sys.exit(1)
    print("check_duplicates: no %d lines and no static name twice in %d files" % (LEAST, len(files)))


if __name__ == "__main__":
    main()
