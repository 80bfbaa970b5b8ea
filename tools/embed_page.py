#!/usr/bin/env python3
"""Writes an HTML page as C strings: `PAGE_text`, without comments, blank lines and indentation, and `PAGE_type`, the value
of Content-Type and behind it a Content-Security-Policy by which a browser runs the page's own script alone, and lets it
ask the page's own server alone.
"""
import argparse
import base64
import hashlib
import pathlib
import re

import embed

POLICY = "default-src 'none';connect-src 'self';script-src 'sha256-%s';style-src 'unsafe-inline'"


def essence(text):
    """Nothing in it depends on its indentation."""
    lines = (line.strip() for line in re.sub(r"<!--.*?-->|/\*.*?\*/", "", text, flags=re.DOTALL).splitlines())
    return "".join(line + "\n" for line in lines if line and not line.startswith("//"))


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
