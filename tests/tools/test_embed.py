"""tools/embed.py and embed_glue.py: the same program without what only its readers need."""
import ast
import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

import embed  # noqa: E402
import embed_glue  # noqa: E402

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


def names_for_others(text):
    """What a source offers or wants from elsewhere: names of its own level, of methods and of attributes, and keywords."""
    tree = ast.parse(text)
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    level = [node for node in ast.walk(ast.Module([one for one in tree.body if isinstance(one, ast.Assign)], []))]
    return names | {node.id for node in level if isinstance(node, ast.Name)}


@pytest.mark.parametrize("name", embed_glue.SHORTENED)
def test_shorter_names_are_those_that_nobody_else_uses(name):
    text = (REPOSITORY / "src/python/glue" / (name + ".py")).read_text()
    shorter = embed_glue.texts(REPOSITORY / "src/python/glue")[name]
    assert len(shorter) < len(embed.essence(text))
    assert names_for_others(shorter) == names_for_others(text)


def test_parameters_that_users_give_by_name_stay():
    text = embed_glue.texts(REPOSITORY / "src/python/glue")["metrics"]
    assert 'def counter(name,help="",labels=()):' in text
