"""tools/check_duplicates.py finds what is said twice."""
import pathlib
import sys

from harness.runtime import REPOSITORY

sys.path.insert(0, str(pathlib.Path(REPOSITORY) / "tools"))
import check_duplicates  # noqa: E402

SIX = ["    a = %d;" % n for n in range(6)]


def function(name, lines):
    return "void %s(void)\n{\n%s\n}\n" % (name, "\n".join(lines))


def found_in(**files):
    files = {name + ".c": text for name, text in files.items()}
    return list(check_duplicates.problems(files))


def test_six_equal_lines_are_found():
    assert found_in(one=function("one", SIX), two=function("two", ["    int a;", *SIX])) == \
        ["the same lines in one.c:3-8 and two.c:4-9"]
    assert len(found_in(one=function("one", SIX) + function("other", SIX))) == 1


def test_comments_and_blanks_and_braces_do_not_tell_lines_apart():
    spaced = ["    /* why */", "", *[line + " /* why */" for line in SIX], "}"]
    assert len(found_in(one=function("one", SIX), two=function("two", spaced))) == 1


def test_fewer_lines_and_tables_and_includes_may_be_equal():
    assert not found_in(one=function("one", SIX[:5]), two=function("two", SIX[:5]))
    table = "static const int table[] = {\n" + "    1,\n    2,\n" * 10 + "};\n"
    assert not found_in(one=table, two=table)
    includes = "".join('#include "base/%s.h"\n' % name for name in "abcdefgh")
    assert not found_in(one=includes, two=includes)


def test_a_static_name_in_two_files_is_found():
    static = "static int twice(void)\n{\n    return 1;\n}\n"
    assert found_in(one=static, two=static) == ["the static function twice stands in one.c and two.c"]
    assert not found_in(one=static, two="static int once(void);\nint other(void) { return twice; }\n")
