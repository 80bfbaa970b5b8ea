#!/usr/bin/env python3
"""Writes the single file: the bootstrap template with one compressed image per kind of processor.

An image is a zlib stream in base 85: five characters for four bytes, most significant first, padded with zero bytes. The
same inputs give the same bytes: no timestamp, no path. Refuses a result of 240 KB or more, since `kubectl apply` copies a
ConfigMap into an annotation limited to 262,144 bytes in total.
"""
import argparse
import hashlib
import sys
import zlib

SIZE_LIMIT = 240 * 1024
LINE = 1000
DIGITS = "".join(c for c in map(chr, range(33, 127)) if c not in "\"'\\<>&{}$")  # as inject/bootstrap.py has them


def base85(data):
    data += bytes(-len(data) % 4)
    groups = (int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))
    return "".join(DIGITS[group // 85**place % 85] for group in groups for place in (4, 3, 2, 1, 0))


def image_literal(machine, stream):
    text = base85(stream)
    lines = [text[i : i + LINE] for i in range(0, len(text), LINE)]
    return '    "%s": """\n%s\n""",' % (machine, "\n".join(lines))


def bundle(template, version, images):
    """The text of the file; `images` are (machine, zlib stream)."""
    digests = "\n".join(
        "sha256 of the %s image: %s" % (m, hashlib.sha256(zlib.decompress(stream)).hexdigest()) for m, stream in images
    )
    literals = "_IMAGES = {\n%s\n}" % "\n".join(image_literal(m, stream) for m, stream in images)
    text = template.replace("@VERSION@", version).replace("@DIGESTS@", digests)
    return text.replace("# @IMAGES@", literals)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--image", action="append", required=True, metavar="MACHINE=FILE", help="a zlib stream")
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    images = []
    for item in sorted(options.image):
        machine, path = item.split("=", 1)
        with open(path, "rb") as file:
            images.append((machine, file.read()))
    with open(options.template, encoding="utf-8") as file:
        text = bundle(file.read(), options.version, images)
    data = text.encode("ascii")
    if len(data) >= SIZE_LIMIT:
        sys.exit("bundle: %d bytes, the limit is %d" % (len(data), SIZE_LIMIT))
    with open(options.output, "wb") as file:
        file.write(data)
    print("bundle: %s, %d bytes, sha256 %s" % (options.output, len(data), hashlib.sha256(data).hexdigest()))


if __name__ == "__main__":
    main()
