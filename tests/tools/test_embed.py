"""tools/embed.py: the same program without what only its readers need."""
import ast
import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

import embed  # noqa: E402

SOURCE = '''"""What this is."""
LIMIT = 3  # so many at most


def f(text):
    """What it does."""
    if text == "# no comment":  # one
        return """a text
    of  # several
        lines"""
    return [text,
            LIMIT]
'''

SHORTER = '''LIMIT=3
def f(text):
\tif text=="# no comment":
\t\treturn """a text
    of  # several
        lines"""
\treturn[text,
\t\t\tLIMIT]
'''


def test_comments_docstrings_and_blank_lines_go():
    assert embed.essence(SOURCE) == SHORTER


@pytest.mark.parametrize("path", sorted((REPOSITORY / "src/python/glue").glob("*.py")), ids=lambda path: path.stem)
def test_what_the_image_embeds_means_the_same(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, embed.DOCUMENTED) and len(node.body) > 1 and ast.get_docstring(node) is not None:
            del node.body[0]
    assert ast.dump(tree) == ast.dump(ast.parse(embed.essence(path.read_text())))
