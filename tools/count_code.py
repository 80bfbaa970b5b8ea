#!/usr/bin/env python3
"""Counts the lines of src/ that are neither blank nor comment, for each folder: count_code.py [--before COMMIT].

With --before the same of a commit, from git's store, and the difference. Docstrings of src/python/glue/ count as code.
"""
import argparse
import collections
import pathlib
import subprocess

import c_source

ENDINGS = (".c", ".h", ".def", ".py")


def count(name, text):
    if name.endswith(".py"):
        return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return sum(1 for line in c_source.without_comments(text).splitlines() if line.strip())


def now():
    paths = (path for path in (c_source.ROOT / "src").rglob("*") if path.suffix in ENDINGS)
    return {path.relative_to(c_source.ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def at(commit):
    def git(*words):
        return subprocess.run(["git", *words], cwd=c_source.ROOT, capture_output=True, text=True, check=True).stdout
    names = git("ls-tree", "-r", "--name-only", commit, "src").splitlines()
    return {name: git("show", "%s:%s" % (commit, name)) for name in names if pathlib.PurePath(name).suffix in ENDINGS}


def by_folder(files):
    """folder -> lines of code, and of all of them."""
    found = collections.Counter()
    for name, text in files.items():
        lines = count(name, text)
        found[name.split("/")[1]] += lines
        found["src"] += lines
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="COMMIT")
    options = parser.parse_args()
    new = by_folder(now())
    old = by_folder(at(options.before)) if options.before else None
    for folder in sorted(new, key=lambda folder: (folder == "src", folder)):
        if old is None:
            print("%-12s %6d" % (folder, new[folder]))
        else:
            print("%-12s %6d -> %6d  %+5d" % (folder, old[folder], new[folder], new[folder] - old[folder]))


if __name__ == "__main__":
    main()
