#!/usr/bin/env python3
"""Writes an HTML page as C strings: `PAGE_text`, without comments, blank lines and indentation and with short names in its
script, and `PAGE_type`, the value of Content-Type and behind it a Content-Security-Policy by which a browser runs the page's own script alone, and lets it
ask the page's own server alone.
"""
import argparse
import base64
import hashlib
import pathlib
import re
import string

import embed

TEXT = re.compile(r"""("[^"\n]*"|'[^'\n]*'|(?<=\()/(?:\\.|[^/\n])+/[gm]*)""")
POLICY = "default-src 'none';connect-src 'self';script-src 'sha256-%s';style-src 'unsafe-inline'"


def essence(text):
    """Nothing in it depends on its indentation."""
    lines = (line.strip() for line in re.sub(r"<!--.*?-->|/\*.*?\*/", "", text, flags=re.DOTALL).splitlines())
    page = "".join(line + "\n" for line in lines if line and not line.startswith("//"))
    return re.sub(r"(?<=<script>).*?(?=</script>)", lambda script: tight(script[0]), page, flags=re.DOTALL)


def declared(code):
    """The names of constants, variables and parameters. Not those that are a property's as well."""
    names = set(re.findall(r"(?:\b(?:const|let) |, )(\w+)(?= = |\n)", code)) | set(re.findall(r"\b(\w+) =>", code))
    for group in re.findall(r"\(?\[?([\w, ]+)\]?\)? (?:=>|of )", code):
        names |= set(re.findall(r"\w+", group))
    return {name for name in names - {"const", "async", "return"} if not re.search(r"[{,] ?%s:" % name, code)}


def tight(script):
    """The same script with names of one or two letters, and no spaces around what is no word. Texts and patterns stay."""
    pieces = TEXT.split(script)
    code = "\0".join(pieces[::2])
    words = set(re.findall(r"\w+", code))
    letters = string.ascii_letters
    free = [name for name in list(letters) + [a + b for a in letters for b in letters] if name not in words]
    names = sorted((name for name in declared(code) if len(name) > 1), key=lambda name: (-len(re.findall(r"\b%s\b" % name, code)), name))
    short = dict(zip(names, free))
    code = re.sub(r"(?<![\w.])[A-Za-z]\w*|\.\.\.[A-Za-z]\w*", lambda found: "." * found[0].count(".") + short.get(found[0].lstrip("."), found[0].lstrip(".")), code)
    code = re.sub(r" (?!\+[+\w]) *(?=[^\w\s])|(?<=[^\w\s+]) +|(?<=\+) (?!\+)", "", code)
    return "".join(piece for pair in zip(code.split("\0"), pieces[1::2] + [""]) for piece in pair)


def policy(page):
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return POLICY % base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    name, page = arguments.page.stem, essence(arguments.page.read_text(encoding="ascii"))
    arguments.output.write_text(
        '#include "supervisor/%s.h"\n\nconst char %s_type[] = "text/html\\r\\nContent-Security-Policy: %s";\n'
        'const char __attribute__((aligned(1))) %s_text[] =\n%s;\n' % (name, name, policy(page), name, embed.c_string(page)))


if __name__ == "__main__":
    main()
