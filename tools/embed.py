"""Python sources as short as they can be for those who only run them: without comments, docstrings, blank lines and spaces
that the interpreter does not need, and indented by tabs.
"""
import ast
import io
import re
import tokenize

OPERATORS = ("**", "//", "<<", ">>", "==", "<=", ">=", "!=", "+=", "-=", "*=", "/=", "->", ":=", "..")
DOCUMENTED = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def without_comments(text):
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip() + "\n"
    return "".join(lines)


def with_tabs(line):
    return re.sub("^(?:    )+", lambda spaces: "\t" * (len(spaces.group()) // 4), line)


def parts_a_word(before, token):
    """Whether these two would be one, or something else, without the space between them."""
    last, first = before.string[-1], token.string[0]
    if before.type in (tokenize.NAME, tokenize.NUMBER):
        return first.isalnum() or first in "_\"'" or before.type == tokenize.NUMBER and first == "."
    return before.type == token.type == tokenize.OP and last + first in OPERATORS


def tight(text):
    """The same without the spaces within lines that the interpreter does not need."""
    lines, gaps, depth, before = text.splitlines(keepends=True), [], 0, None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        depth += (name == "FSTRING_START") - (name == "FSTRING_END")
        one_line = before and before.end[0] == token.start[0] and before.string.strip() and token.string.strip()
        if one_line and token.start[1] > before.end[1] and not depth and not parts_a_word(before, token):
            gaps.append((token.start[0] - 1, before.end[1], token.start[1]))
        before = token
    for row, begin, end in reversed(gaps):
        lines[row] = lines[row][:begin] + lines[row][end:]
    result = "".join(lines)
    assert ast.dump(ast.parse(result)) == ast.dump(ast.parse(text))
    return result


def plain(text):
    """The lines of the source that do something; a text over several lines stays whole."""
    text = without_comments(text)
    tree = ast.parse(text)
    dropped, texts = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno > node.lineno:
            texts.update(range(node.lineno + 1, node.end_lineno + 1))
        if isinstance(node, DOCUMENTED) and len(node.body) > 1:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                dropped.update(range(first.lineno, first.end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    kept = [line if number in texts else with_tabs(line) for number, line in lines
            if number not in dropped and (number in texts or line.strip())]
    return "\n".join(kept) + "\n"


def essence(text):
    """The same with the spaces that it needs alone."""
    result = tight(plain(text))
    compile(result, "embedded", "exec")
    return result


def c_string(text):
    """One literal a line."""
    quoted = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") for line in text.splitlines())
    return "\n".join('    "%s\\n"' % line for line in quoted)
