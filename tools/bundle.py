#!/usr/bin/env python3
"""Writes the single file: the bootstrap template with one compressed image per kind of processor.

The texts that all images hold (messages, help, embedded Python) are carried once, as a zlib stream. An image is a zlib
stream with these texts as its preset dictionary; it holds the image rotated to begin with its constants, since a stream
looks no further back than 32 KB. zopfli makes streams 5 % smaller than zlib's own best. They are written in base 85: five
characters for four bytes, most significant first, padded with zero bytes.

The commands that are written in Python (inject/commands) are one more stream with the same dictionary, without their
comments and with short names (shorten.py), in lines that are comments to the interpreter: a start skips them, and a
command reads them out of the file.

The same inputs give the same bytes: no timestamp, no path. Refuses a result of 480 KB or more, and of 260,000 bytes or
more with one image: `kubectl apply` copies a ConfigMap into an annotation limited to 262,144 bytes in total.
"""
import argparse
import concurrent.futures
import ctypes
import hashlib
import pathlib
import re
import struct
import sys
import zlib

import embed
import shorten

SIZE_LIMIT = 480 * 1024
# With one image (`configmap --machine` takes the others out): kubectl's annotation has 262,144 bytes for the ConfigMap as
# JSON, which is 850 bytes longer than the file, and for the names that it is given.
ALONE_LIMIT = 260_000
LINE = 1000
# A stream looks back 32 KB (RFC 1951), and from a text to its copy in the dictionary it is the whole dictionary and those
# constants before it that are none. With all 33 KB of texts no copy was in reach, and the streams were 6 % larger.
REACH = 28 * 1024
TEXT = re.compile(rb"[\n\t -~]{8,}\0")
DIGITS = "".join(c for c in map(chr, range(33, 127)) if c not in "\"'\\<>&{}$")  # as inject/bootstrap.py has them
ZOPFLI = ctypes.CDLL("libzopfli.so.1")  # the command zopfli knows no dictionaries


def deflate(data, dictionary):
    """A raw stream (RFC 1951) of `data`, for a reader that has the dictionary."""
    whole, start = dictionary + data, len(dictionary)
    options = (ctypes.c_int * 6)()  # struct ZopfliOptions
    ZOPFLI.ZopfliInitOptions(options)
    bit, out, size = ctypes.c_ubyte(0), ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_size_t(0)
    dynamic_blocks, final = 2, 1
    ZOPFLI.ZopfliDeflatePart(options, dynamic_blocks, final, whole, ctypes.c_size_t(start), ctypes.c_size_t(len(whole)),
                             ctypes.byref(bit), ctypes.byref(out), ctypes.byref(size))
    return ctypes.string_at(out, size.value)


def zlib_stream(data, dictionary=b""):
    """RFC 1950: a header with the sum of the dictionary if there is one, the raw stream, the sum of the data."""
    header = struct.pack(">HI", 0x78F9, zlib.adler32(dictionary)) if dictionary else struct.pack(">H", 0x78DA)
    return header + deflate(data, dictionary) + struct.pack(">I", zlib.adler32(data))


def constants_of(image):
    """Where .rodata begins and ends in a 64-bit ELF file."""
    table, count, names = struct.unpack_from("<Q12xHH", image, 0x28)
    sections = [struct.unpack_from("<I20xQQ", image, table + 64 * i) for i in range(count)]
    [found] = [(offset, offset + size) for name, offset, size in sections
               if image.startswith(b".rodata\0", sections[names][1] + name)]
    return found


def texts_of(images):
    """The constant texts that every image holds, once each, in the order of the first."""
    begin, end = constants_of(images[0])
    found = [text for text in TEXT.findall(images[0], begin, end) if all(text in image for image in images)]
    return b"".join(dict.fromkeys(found))[:REACH]


def base85(data):
    data += bytes(-len(data) % 4)
    groups = (int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))
    return "".join(DIGITS[group // 85**place % 85] for group in groups for place in (4, 3, 2, 1, 0))


def literal(stream):
    text = base85(stream)
    return '"""\n%s\n"""' % "\n".join(text[i : i + LINE] for i in range(0, len(text), LINE))


def image_literal(machine, image, texts):
    begin, _ = constants_of(image)
    return '    "%s": (%d, %s),' % (machine, begin, literal(zlib_stream(image[begin:] + image[:begin], texts)))


def commands_comment(folder, texts):
    """The Python sources of the commands in one stream, as comments: the interpreter skips them, and keeps nothing."""
    paths = sorted(folder.glob("*.py"))
    names = ["asya_commands" if path.stem == "__init__" else "asya_commands." + path.stem for path in paths]
    sources = shorten.shorten([embed.essence(path.read_text(encoding="ascii")) for path in paths])
    text = base85(zlib_stream("\0".join(part for pair in zip(names, sources) for part in pair).encode(), texts))
    size = LINE - 2
    return "\n".join("#'" + text[i : i + size] for i in range(0, len(text), size))


def bundle(template, version, images, commands):
    """The text of the file; `images` are pairs of a machine and its image, `commands` the folder of their sources."""
    digests = "\n".join("sha256 of the %s image: %s" % (m, hashlib.sha256(image).hexdigest()) for m, image in images)
    texts = texts_of([image for _, image in images])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        literals = list(pool.map(lambda pair: image_literal(*pair, texts), images))
    assigned = "_TEXTS = %s\n_IMAGES = {\n%s\n}" % (literal(zlib_stream(texts)), "\n".join(literals))
    text = template.replace("@VERSION@", version).replace("@DIGESTS@", digests)
    comment = commands_comment(commands, texts)
    print("bundle: the commands in Python take %d bytes" % len(comment))
    return text.replace("# @IMAGES@", assigned).replace("# @COMMANDS@", comment)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--image", action="append", required=True, metavar="MACHINE=FILE", help="the extension")
    parser.add_argument("--commands", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "inject" / "commands",
                        help="the folder of the commands in Python")
    parser.add_argument("--output", required=True)
    parser.add_argument("--any-size", action="store_true", help="not to be shipped: another compiler's image may be larger")
    options = parser.parse_args()
    images = []
    for item in sorted(options.image):
        machine, path = item.split("=", 1)
        with open(path, "rb") as file:
            images.append((machine, file.read()))
    with open(options.template, encoding="utf-8") as file:
        text = bundle(file.read(), options.version, images, options.commands)
    data = text.encode("ascii")
    limit = ALONE_LIMIT if len(images) == 1 else SIZE_LIMIT
    if len(data) >= limit and not options.any_size:
        sys.exit("bundle: %d bytes, the limit is %d" % (len(data), limit))
    with open(options.output, "wb") as file:
        file.write(data)
    print("bundle: %s, %d bytes, sha256 %s" % (options.output, len(data), hashlib.sha256(data).hexdigest()))


if __name__ == "__main__":
    main()
