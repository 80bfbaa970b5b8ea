#!/usr/bin/env python3
"""Fails when files of src/ depend on each other in a circle, by what they include, call or name.

A file here is the .c and the .h of one name. json/number and json/number_inline count as one: they are one algorithm, whose
fast half is inlined. What a file calls through a pointer that it was given does not count: that is how a circle is opened.
"""
import sys

import c_source

SHOWN = 5  # the shortest circles; one dependency too many can close dozens
ONE_UNIT = {"json/number_inline": "json/number"}


def unit_of(name):
    stem = name.rsplit(".", 1)[0]
    return ONE_UNIT.get(stem, stem)


def headers_seen(name, files):
    """The headers that a file includes, and those that they include."""
    seen, left = set(), [name]
    while left:
        for target in c_source.INCLUDE.findall(files.get(left.pop(), "")):
            if target not in seen:
                seen.add(target)
                left.append(target)
    return seen


def edges_of(files):
    """(unit, other unit) -> what makes the first depend on the second, in words; a call rather than an include."""
    parsed = {name: list(c_source.definitions(text)) for name, text in files.items()}
    home = {}  # a name that other files may use -> the file that defines it
    for name, found in parsed.items():
        home.update((one.name, name) for one in found if not one.is_static or name.endswith(".h"))
    edges = {}
    for name, text in files.items():
        own = {one.name for one in parsed[name]}
        headers = headers_seen(name, files)
        by = [(one.name, one.uses) for one in parsed[name]] + list(c_source.macros(text).items())
        for user, words in by:
            for word in sorted((words - own) & home.keys()):
                other = home[word]
                is_seen = not other.endswith(".h") or other in headers
                if is_seen and unit_of(other) != unit_of(name):
                    edges.setdefault((unit_of(name), unit_of(other)), "%s names %s" % (user, word))
    for name, text in files.items():
        for target in c_source.INCLUDE.findall(text):
            if unit_of(target) != unit_of(name):
                edges.setdefault((unit_of(name), unit_of(target)), "includes %s" % target)
    return edges


def path_between(graph, start, goal):
    """A shortest path, as a list of units, or None."""
    before, queue = {start: None}, [start]
    while queue:
        here = queue.pop(0)
        if here == goal:
            path = []
            while here is not None:
                path.append(here)
                here = before[here]
            return path[::-1]
        for following in sorted(graph.get(here, ())):
            if following not in before:
                before[following] = here
                queue.append(following)
    return None


def circles_of(edges):
    """A shortest circle through each dependency that is in one, each once: lists of units, the smallest name first."""
    graph = {}
    for unit, other in edges:
        graph.setdefault(unit, set()).add(other)
    found = set()
    for unit, other in sorted(edges):
        back = path_between(graph, other, unit)
        if back is not None:
            least = back.index(min(back))
            found.add(tuple(back[least:] + back[:least]))
    return sorted(found, key=lambda circle: (len(circle), circle))


def in_words(circle, edges):
    turned = [*circle[1:], circle[0]]
    steps = ["%s -> %s (%s)" % (unit, other, edges[unit, other]) for unit, other in zip(circle, turned)]
    return " -> ".join([*circle, circle[0]]) + "".join("\n    " + step for step in steps)


def main():
    files = c_source.files()
    edges = edges_of(files)
    circles = circles_of(edges)
    for circle in circles[:SHOWN]:
        print("check_circles: " + in_words(circle, edges), file=sys.stderr)
    if len(circles) > SHOWN:
        print("check_circles: and %d longer ones" % (len(circles) - SHOWN), file=sys.stderr)
    if circles or not files:
        sys.exit(1)
    print("check_circles: %d files depend on each other in no circle" % len({unit_of(name) for name in files}))


if __name__ == "__main__":
    main()
