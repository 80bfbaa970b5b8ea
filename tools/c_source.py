"""Reads C sources as far as the checks in this folder need it: code without comments, what a file defines, what it uses.

It relies on what clang-format and the compiler's warnings enforce (braces match, no local hides a global name), and is no
parser. A `unit` is the files of one name: `server/conn` is conn.c and conn.h.
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
LITERAL = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)
TOKEN = re.compile(r"[A-Za-z_]\w*|->|\S")
WORD = re.compile(r"[A-Za-z_]\w*")
# what a declaration may have before its name or behind it, in parentheses
NOISE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|_Static_assert\s*\((?:[^()]|\([^()]*\))*\)\s*;")


def without_comments(text, literals=True):
    """The text with its comments as blanks, every line where it was; strings and characters too unless `literals`."""
    def blank(match):
        if match.group(1) is not None:
            return match.group(1) if literals else match.group(1)[0] * 2
        return re.sub(r"[^\n]", " ", match.group(0))
    return LITERAL.sub(blank, text)


class Definition:
    """A function, or a variable at file scope. `uses` are the words of its body, or of its initialiser."""

    def __init__(self, name, is_static, is_function, line, end, uses):
        self.name, self.is_static, self.is_function, self.line, self.end, self.uses = name, is_static, is_function, line, end, uses


def definitions(text):
    """All definitions of a file, in order."""
    code = DIRECTIVE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), without_comments(text, literals=False))
    code = NOISE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), code)
    head, body, depth, begin = [], [], 0, 0
    line, at = 1, 0
    for match in TOKEN.finditer(code):
        token = match.group(0)
        line += code.count("\n", at, match.start())
        at = match.start()
        begin = line if not head else begin
        if token == "}":
            depth -= 1
            if depth == 0 and is_function(head):
                yield made(head, body, begin, line)
                head, body = [], []
            continue
        if token == "{":
            depth += 1
        elif depth > 0:
            body.append(token)
        elif token == ";":
            if "typedef" not in head and "extern" not in head and ("=" in head or "(" not in head):
                yield from variables(head, body, begin, line)
            head, body = [], []
        else:
            head.append(token)


def is_function(head):
    return "(" in head and "=" not in head


def made(head, body, begin, end):
    return Definition(head[head.index("(") - 1], "static" in head, True, begin, end, used(head[head.index("("):] + body))


def variables(head, body, begin, end):
    if head[0] in ("struct", "enum", "union") and len(head) < 3:
        return  # a type alone
    before = head[:head.index("=")] if "=" in head else head
    text = re.sub(r"\[.*?\]", "", " ".join(before))
    if "(" in text:  # a pointer to a function: (*name)(...)
        names = re.findall(r"\( \* (?:const )?(\w+)", text)[:1]
    else:
        names = [words[-1] for words in (WORD.findall(part) for part in text.split(",")) if words]
    for name in names:
        yield Definition(name, "static" in head, False, begin, end, used(head[len(before):] + body))


def used(tokens):
    """The words of `tokens` that may name something at file scope: neither a member nor the tag of a type."""
    before = ""
    found = set()
    for token in tokens:
        if WORD.fullmatch(token) and before not in (".", "->", "struct", "enum", "union"):
            found.add(token)
        before = token
    return found


def macros(text):
    """name -> the words of its text, for the macros a file defines."""
    found = {}
    for directive in DIRECTIVE.findall(without_comments(text, literals=False)):
        match = re.match(r"\s*#\s*define\s+(\w+)(.*)", directive, re.S)
        if match:
            found[match.group(1)] = used(TOKEN.findall(match.group(2).replace("\\\n", " ")))
    return found


def files(folder="src"):
    """name below `folder` -> text."""
    root = ROOT / folder
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.[ch]"))}
