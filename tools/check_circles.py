#!/usr/bin/env python3
"""Fails when files of src/ depend on each other in a circle, by what they include, call or name.

A file here is the .c and the .h of one name. json/number and json/number_inline count as one: they are one algorithm, whose
fast half is inlined. What a file calls through a pointer that it was given does not count: that is how a circle is opened.
"""
import argparse
import sys

import c_source

ONE_UNIT = {"json/number_inline": "json/number"}
# Circles that are there all the same, each as a list of the files in it. A file that leaves its circle must leave the list.
KNOWN = []


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


def knots_of(circles):
    """Circles that share a file are one knot: sets of units."""
    knots = []
    for circle in circles:
        joined = set(circle).union(*[knot for knot in knots if knot & set(circle)])
        knots = [knot for knot in knots if not knot & joined] + [joined]
    return knots


def in_words(circle, edges):
    turned = [*circle[1:], circle[0]]
    steps = ["%s -> %s (%s)" % (unit, other, edges[unit, other]) for unit, other in zip(circle, turned)]
    return " -> ".join([*circle, circle[0]]) + "".join("\n    " + step for step in steps)


def problems(edges, known):
    circles = circles_of(edges)
    for circle in circles:
        if not any(set(circle) <= set(listed) for listed in known):
            yield "a new circle: " + in_words(circle, edges)
    caught = set().union(*[set(circle) for circle in circles])
    for unit in sorted(set().union(*[set(listed) for listed in known]) - caught):
        yield "%s is in no circle any more: take it from the list in tools/check_circles.py" % unit


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="print the circles of the list too")
    options = parser.parse_args()
    files = c_source.files()
    edges = edges_of(files)
    if options.all:
        for circle in circles_of(edges):
            print(in_words(circle, edges))
    found = list(problems(edges, KNOWN))
    for problem in found:
        print("check_circles: " + problem, file=sys.stderr)
    if found:
        sys.exit(1)
    units = {unit_of(name) for name in files}
    left = ", but %d known ones with %d files" % (len(KNOWN), sum(map(len, KNOWN))) if KNOWN else ""
    print("check_circles: %d files depend on each other in no circle%s" % (len(units), left))


if __name__ == "__main__":
    main()
