"""tools/count_entries.py and tools/count_code.py count what they say."""
import pathlib
import sys

from harness.runtime import REPOSITORY

sys.path.insert(0, str(pathlib.Path(REPOSITORY) / "tools"))
import count_code  # noqa: E402
import count_entries  # noqa: E402

LOOP, READ, PARSE, ANSWER = ("loop", "server/server"), ("read", "server/conn"), ("parse", "wire/raw"), ("answer", "python/answer")


def records(*steps):
    """Of one thread: +1 enters a function, -1 leaves it."""
    return [(function, index, 7, entered > 0) for index, (entered, function) in enumerate(steps)]


REQUEST = [(1, READ), (1, PARSE), (-1, PARSE), (1, ("again", "server/conn")), (1, PARSE), (-1, PARSE), (-1, ("again", "server/conn")),
           (-1, READ)]


def test_an_entry_counts_when_it_comes_from_another_file():
    entries, files = count_entries.steps(records((1, LOOP), *REQUEST, (1, LOOP)), 1, 9)
    assert entries == [("server/server", "read", "server/conn"), ("server/conn", "parse", "wire/raw"),
                       ("server/conn", "parse", "wire/raw")]
    assert files == {"server/conn", "wire/raw"}


def test_threads_and_what_is_before_and_after_do_not_mix():
    other = [(ANSWER, 3, 8, True)]
    one = records((1, LOOP), *REQUEST)
    entries, files = count_entries.steps(one[:4] + other + one[4:], 2, 6)
    assert ("outside", "answer", "python/answer") in entries
    assert files == {"wire/raw", "python/answer", "server/conn"} and len(entries) == 3


def test_frames_from_before_the_fork_are_left():
    entries, _ = count_entries.steps(records((-1, LOOP), (-1, ANSWER), (1, READ)), 0, 3)
    assert entries == [("outside", "read", "server/conn")]


def test_neither_comments_nor_blank_lines_are_code():
    assert count_code.count("src/base/a.c", "/* two\n * lines */\n\nint a; /* one */\n// none\nchar *b = \"/* code */\";\n") == 2
    assert count_code.count("src/python/glue/a.py", "# a comment\n\na = 1  # one\n") == 1


def test_each_folder_is_counted_and_all_of_them():
    found = count_code.by_folder({"src/base/a.c": "int a;\n", "src/wire/b.c": "int b;\nint c;\n"})
    assert found == {"base": 1, "wire": 2, "src": 3}
