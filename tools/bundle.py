#!/usr/bin/env python3
"""Writes the single file: the bootstrap template with one compressed image per kind of processor.

Each image has the same texts among its constants, the Python that it embeds. They are carried once, as a zlib stream, and
behind them what few starts need (inject/seldom.py), which is none of the images'. An image is a zlib stream of what
stands behind these texts in it and then of what stands before them, with the texts as its preset dictionary. The relocations,
which resemble one another, stand in columns: first the first bytes of all, then the second ones. zopfli makes
streams 5 % smaller than zlib's own best. They are written in base 85: five characters for four bytes, most significant
first, padded with zero bytes.

The commands that are written in Python (inject/commands) are one more stream with the same dictionary, without their
comments and with short names (shorten.py), in lines that are comments to the interpreter: a start skips them, and a
command reads them out of the file. Those of a developer's desk (DESK) are a stream of their own, which `configmap`
leaves out.

The same inputs give the same bytes: no timestamp, no path. Refuses a result of 480 KB or more, and of 260,000 bytes or
more with one image and without the desk's commands: `kubectl apply` copies a ConfigMap into an annotation limited to
262,144 bytes in total.
"""
import argparse
import concurrent.futures
import ctypes
import hashlib
import pathlib
import struct
import sys
import zlib

import embed
import embed_glue
import shorten

SIZE_LIMIT = 480 * 1024
# With one image and without the desk's commands (`configmap --machine` takes the rest out): kubectl's annotation has 262,144 bytes for the ConfigMap as
# JSON, which is 850 bytes longer than the file, and for the names that it is given.
ALONE_LIMIT = 260_000
LINE = 1000
DESK = {"bench", "completion", "reload", "run", "columns", "feed", "journal", "lines", "retry"}  # the last five are run's
SHT_RELA, RELOCATION = 4, 24  # of a section, and the size of one
ROOT = pathlib.Path(__file__).resolve().parent.parent
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


def relocations_of(image):
    """Where the table of relocations begins in a 64-bit ELF file, and how many it has."""
    table, count = struct.unpack_from("<Q12xH", image, 0x28)
    sections = [struct.unpack_from("<4xI16xQQ", image, table + 64 * i) for i in range(count)]
    found = [(offset, size // RELOCATION) for kind, offset, size in sections if kind == SHT_RELA]
    return max(found, key=lambda pair: pair[1], default=(0, 0))


def shared_texts(folder, images):
    """The Python that the images embed, as they have it: one source behind the other, each ended by a zero byte."""
    texts = "".join(text + "\0" for text in embed_glue.texts(folder).values()).encode()
    if not all(texts in image for image in images):
        sys.exit("bundle: an image does not have the sources of %s in one piece" % folder)
    return texts


def base85(data):
    data += bytes(-len(data) % 4)
    groups = (int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))
    return "".join(DIGITS[group // 85**place % 85] for group in groups for place in (4, 3, 2, 1, 0))


def literal(stream):
    text = base85(stream)
    return '"""\n%s\n"""' % "\n".join(text[i : i + LINE] for i in range(0, len(text), LINE))


def image_literal(machine, image, shared, texts):
    """`shared` stands in the image, and `texts` begins with it."""
    begin = image.index(shared)
    table, count = relocations_of(image)
    end = table + count * RELOCATION
    columns = b"".join(image[table + i : end : RELOCATION] for i in range(RELOCATION))
    stream = zlib_stream(image[begin + len(shared) :] + image[:table] + columns + image[end:begin], texts)
    return '    "%s": (%d, %d, %d, %s),' % (machine, begin, table, count, literal(stream))


def comment(mark, pairs, texts):
    """Sources by the names of their modules, as one stream in comments: the interpreter skips them, and keeps nothing."""
    text = base85(zlib_stream("\0".join(part for pair in pairs for part in pair).encode(), texts))
    size = LINE - len(mark)
    return "\n".join(mark + text[i : i + size] for i in range(0, len(text), size))


def commands_comments(folder, texts):
    """The Python sources of the commands: those that are wanted where the runtime serves, and those of a desk."""
    paths = sorted(folder.glob("*.py"))
    sources = shorten.shorten([embed.essence(path.read_text(encoding="ascii")) for path in paths])
    pairs = [(path.stem in DESK, ("asya_commands." + path.stem).replace(".__init__", ""), source)
             for path, source in zip(paths, sources)]
    return [comment(mark, [pair[1:] for pair in pairs if pair[0] == desk], texts) for mark, desk in (("#'", False), ('#"', True))]


def template(path):
    """The bootstrap without what only those read who change it; its first lines, for everybody, and the places stay."""
    head, end, code = path.read_text(encoding="ascii").partition('\n"""\n')
    for place in ("IMAGES", "COMMANDS"):
        code = code.replace("# @%s@" % place, "_AT_" + place)
    code = embed.plain(code).replace("\t", " ")  # a tab would be one more thing that YAML has its own view of
    for place in ("IMAGES", "COMMANDS"):
        code = code.replace("_AT_" + place, "# @%s@" % place)
    return head + end + code


def bundle(options, images):
    """The text of the file, and how much of it are the desk's commands; `images` are pairs of a machine and its image."""
    digests = "\n".join("sha256 of the %s image: %s" % (m, hashlib.sha256(image).hexdigest()) for m, image in images)
    shared = shared_texts(options.embedded, [image for _, image in images])
    texts = shared + embed.essence(options.seldom.read_text(encoding="ascii")).encode()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        literals = list(pool.map(lambda pair: image_literal(*pair, shared, texts), images))
    assigned = "_TEXTS = %s\n_IMAGES = {\n%s\n}" % (literal(zlib_stream(texts)), "\n".join(literals))
    text = template(options.template).replace("@VERSION@", options.version).replace("@DIGESTS@", digests)
    serving, desk = commands_comments(options.commands, texts)
    print("bundle: the commands in Python take %d bytes, those of a desk %d" % (len(serving), len(desk)))
    return text.replace("# @IMAGES@", assigned).replace("# @COMMANDS@", serving + "\n" + desk), len(desk) + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", type=pathlib.Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--image", action="append", required=True, metavar="MACHINE=FILE", help="the extension")
    for name, path, meaning in (("commands", "inject/commands", "the folder of the commands in Python"),
                                ("embedded", "src/python/glue", "the folder of the Python that the images embed"),
                                ("seldom", "inject/seldom.py", "what few starts need")):
        parser.add_argument("--" + name, type=pathlib.Path, default=ROOT / path, help=meaning)
    parser.add_argument("--output", required=True)
    parser.add_argument("--any-size", action="store_true", help="not to be shipped: another compiler's image may be larger")
    options = parser.parse_args()
    images = []
    for item in sorted(options.image):
        machine, path = item.split("=", 1)
        with open(path, "rb") as file:
            images.append((machine, file.read()))
    text, desk = bundle(options, images)
    data = text.encode("ascii")
    limit = ALONE_LIMIT + desk if len(images) == 1 else SIZE_LIMIT
    if len(data) >= limit and not options.any_size:
        sys.exit("bundle: %d bytes, the limit is %d" % (len(data), limit))
    with open(options.output, "wb") as file:
        file.write(data)
    print("bundle: %s, %d bytes, sha256 %s" % (options.output, len(data), hashlib.sha256(data).hexdigest()))


if __name__ == "__main__":
    main()
