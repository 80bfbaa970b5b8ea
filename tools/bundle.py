#!/usr/bin/env python3
"""Writes the single file: the bootstrap template with one compressed image per kind of processor.

The same inputs give the same bytes: no timestamp, no path, fixed compression level. Refuses a result of 240 KB or
more, since `kubectl apply` copies a ConfigMap into an annotation limited to 262,144 bytes in total.
"""
import argparse
import base64
import hashlib
import sys
import zlib

SIZE_LIMIT = 240 * 1024
LINE = 1000


def image_literal(machine, image):
    text = base64.b64encode(zlib.compress(image, 9)).decode("ascii")
    lines = [text[i : i + LINE] for i in range(0, len(text), LINE)]
    return '    "%s": """\n%s\n""",' % (machine, "\n".join(lines))


def bundle(template, version, images):
    digests = "\n".join("sha256 of the %s image: %s" % (m, hashlib.sha256(i).hexdigest()) for m, i in images)
    literals = "_IMAGES = {\n%s\n}" % "\n".join(image_literal(m, i) for m, i in images)
    text = template.replace("@VERSION@", version).replace("@DIGESTS@", digests)
    return text.replace("# @IMAGES@", literals)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--image", action="append", required=True, metavar="MACHINE=FILE")
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
