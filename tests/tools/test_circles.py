"""tools/check_circles.py finds the circles that it is there to find, and no others."""
import pathlib
import sys

import pytest

from harness.runtime import REPOSITORY

sys.path.insert(0, str(pathlib.Path(REPOSITORY) / "tools"))
import check_circles  # noqa: E402

LOWER = {"base/low.h": "void low(void);\n", "base/low.c": '#include "base/low.h"\n\nvoid low(void) {}\n'}
UPPER = {"base/high.h": "void high(void);\n",
         "base/high.c": '#include "base/high.h"\n\n#include "base/low.h"\n\nvoid high(void) { low(); }\n'}
CIRCLES = {
    "a call back": {"base/low.c": "void low(void) { high(); }\n"},
    "a function that is named, to be called later": {"base/low.c": "void low(void) { later(high); }\n"},
    "a function named in a table": {"base/low.c": "static void (*const table[])(void) = {high};\n\nvoid low(void) {}\n"},
    "an inline function of a header": {"base/low.h": "void low(void);\nstatic inline void ground(void)\n{\n    high();\n}\n"},
    "a macro": {"base/low.h": "void low(void);\n#define GROUND() \\\n    high()\n"},
    "an include": {"base/low.h": '#include "base/high.h"\nvoid low(void);\n'},
    "a variable": {"base/high.c": UPPER["base/high.c"] + "int height = 3;\n", "base/low.c": "int low(void) { return height; }\n"},
    "a third file between": {"base/low.c": "void low(void) { middle(); }\n", "base/middle.c": "void middle(void) { high(); }\n"},
}


@pytest.mark.parametrize("name", CIRCLES)
def test_a_circle_is_found(name):
    files = {**LOWER, **UPPER, **CIRCLES[name]}
    [circle] = check_circles.circles_of(check_circles.edges_of(files))
    assert circle[:2] == ("base/high", "base/low")


STRAIGHT = {
    "a call downwards": {},
    "a member of that name": {"base/low.c": "void low(struct step *s) { s->high(); s->with.high = (struct step){.high = 0}; }\n"},
    "a type of that name": {"base/low.c": "void low(void) { struct high here; enum high there; }\n"},
    "a comment or a string": {"base/low.c": '/* high() */\nvoid low(void) { puts("high"); /* high */ }\n'},
    "its own static function of that name": {"base/low.c": "static void high(void) {}\n\nvoid low(void) { high(); }\n"},
    "an inline function of a header that it does not include":
        {"base/other.h": '#include "base/low.h"\nstatic inline void other(void) { low(); }\n', "base/low.c": "void low(int other) {}\n"},
    "the two files of a number": {"json/number.c": '#include "json/number_inline.h"\nint number(void) { return 1; }\n',
                                  "json/number_inline.h": "static inline int fast(void) { return number(); }\n"},
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_no_circle_is_found_where_none_is(name):
    assert not check_circles.circles_of(check_circles.edges_of({**LOWER, **UPPER, **STRAIGHT[name]}))


def test_each_step_of_a_circle_is_shown_with_what_makes_it():
    edges = check_circles.edges_of({**LOWER, **UPPER, **CIRCLES["a call back"]})
    [circle] = check_circles.circles_of(edges)
    assert check_circles.in_words(circle, edges).splitlines() == [
        "base/high -> base/low -> base/high", "    base/high -> base/low (high names low)", "    base/low -> base/high (low names high)"]
