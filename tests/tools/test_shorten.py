"""tools/shorten.py: the same program with shorter names."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

import embed  # noqa: E402
import shorten  # noqa: E402

SOURCE = '''
import json
LIMIT = 3

def given(named, other=LIMIT):
    return named * other

class Thing:
    size = 2

    def __init__(self, width, size=size):
        self.width, self.size = width, size

    def area(self):
        width = self.width
        def inner():
            nonlocal width
            width += 1
            return width
        return inner() * self.size

def result(rows):
    found, text = [], "a\\n    b"
    for row in rows:
        try:
            value = given(named=row)
        except TypeError as error:
            value = str(error.args)
        found.append({index: value for index in range(1)})
    list_of = lambda item: [item for item in found if item]
    return json.dumps([found, list_of(0), Thing(2).area(), text, f"{value:>3}"])
'''


def test_the_shorter_program_gives_the_same():
    results = []
    for source in (SOURCE, *shorten.shorten([SOURCE])):
        scope = {}
        exec(compile(source, "sample", "exec"), scope)
        results.append(scope["result"]([1, 2, "x"]))
    assert results[0] == results[1]


def test_names_that_others_may_use_stay_and_the_rest_gets_short():
    [text] = shorten.shorten([SOURCE])
    assert len(text) < 0.8 * len(SOURCE)
    for kept in ("def given(named,", "class Thing", "self.width" if "self.width" in text else ".width", "LIMIT", "import json"):
        assert kept in text
    assert "found" not in text and "rows" not in text and "\n\tfor " in text


def test_spaces_that_the_interpreter_needs_stay():
    text = "a = 1 if b else - 2\nc = not(a) or 'x' in b'y' and 3 .real\nd = f'{a + 1:>{ c }} {b}' + 'two  spaces'\nfrom . import e\nf = lambda x, * y: x ** - 1\n"
    assert embed.tight(text) == ("a=1 if b else-2\nc=not(a)or 'x'in b'y'and 3 .real\nd=f'{a + 1:>{ c }} {b}'+'two  spaces'\n"
                                 "from.import e\nf=lambda x,*y:x**-1\n")
