#!/usr/bin/env python3
"""Writes the single file: the bootstrap template with one compressed image per kind of processor.

The images' constants (texts, tables, the Python that they embed) are nearly the same: they are carried once, and behind them
what few starts need (inject/seldom.py). This is the begin of every zlib stream; an image is the rest of one. It has what is
the image's own, with a list of the pieces that lie between. Tables whose entries resemble one another, as relocations do, stand
in columns: first the first bytes of all, then the second ones. Addresses in code are relative to its begin, not to where
they stand, so that calls of one function resemble one another. What undoes this is a small extension, _asya_loader (src/app/loader.c),
which stands before the image, in a stream of its own. zopfli makes streams 5 % smaller than zlib's own best. They are written in
base 85: five characters for four bytes, most significant first, padded with zero bytes.

The commands that are written in Python (inject/commands) are the rest of one more stream, without their
comments and with short names (shorten.py), in lines that are comments to the interpreter: a start skips them, and a
command reads them out of the file. Those of a developer's desk (DESK) are a stream of their own, which `configmap`
leaves out.

The same inputs give the same bytes: no timestamp, no path. Refuses a result of 456,000 bytes or more, and of 260,000 bytes or
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
import shorten

SIZE_LIMIT = 456_000
# With one image and without the desk's commands (`configmap --machine` takes the rest out): kubectl's annotation has 262,144 bytes for the ConfigMap as
# JSON, which is 850 bytes longer than the file, and for the names that it is given.
ALONE_LIMIT = 260_000
LINE = 1000
DESK = {"bench", "completion", "reload", "run", "columns", "feed", "journal", "lines", "retry", "desk"}  # five are run's
CONSTANTS = ".dynstr", ".rodata"
REACH = 1 << 20  # as src/app/loader.c has it
PAGE = 4096  # that adrp counts
TABLES = {".dynsym": 24, ".rela.dyn": 24, ".rela.plt": 24, ".data.rel.ro": 8}  # and the bytes of an entry
PIECE = 16  # the least of the constants that are carried once: the numbers that tell where it stands take a few bytes
MOST_PLACES = 200  # that are tried for a piece
ROOT = pathlib.Path(__file__).resolve().parent.parent
DIGITS = "".join(c for c in map(chr, range(33, 127)) if c not in "\"'\\<>&{}$")  # as inject/bootstrap.py has them
ZOPFLI = ctypes.CDLL("libzopfli.so.1")  # the command zopfli knows no dictionaries


def deflate(data, before, final):
    """A raw stream (RFC 1951) of `data` behind what stands before it; one that is not final ends at a byte."""
    whole, start = before + data, len(before)
    options = (ctypes.c_int * 6)()  # struct ZopfliOptions
    ZOPFLI.ZopfliInitOptions(options)
    bit, out, size = ctypes.c_ubyte(0), ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_size_t(0)
    dynamic_blocks = 2
    ZOPFLI.ZopfliDeflatePart(options, dynamic_blocks, int(final), whole, ctypes.c_size_t(start), ctypes.c_size_t(len(whole)),
                             ctypes.byref(bit), ctypes.byref(out), ctypes.byref(size))
    stream = ctypes.string_at(out, size.value)
    if final:
        return stream
    empty = b"\0\0\xff\xff"  # a stored block without bytes, behind its three bits of zero and those up to the byte's end
    return stream + (b"" if 0 < bit.value < 6 else b"\0") + empty


def first_of_stream(common):
    """The begin of a zlib stream (RFC 1950), a multiple of four bytes."""
    stream = struct.pack(">H", 0x78DA) + (deflate(common, b"", False) if common else b"")
    while len(stream) % 4:
        stream += b"\0\0\0\xff\xff"
    return stream


def rest_of_stream(data, common):
    return deflate(data, common, True) + struct.pack(">I", zlib.adler32(common + data))


def sections_of(image):
    """(offset, size) of the sections of a 64-bit ELF file, by name."""
    table, count, names = struct.unpack_from("<Q12xHH", image, 0x28)
    found = [struct.unpack_from("<I20xQQ", image, table + 64 * i) for i in range(count)]
    begin = found[names][1]
    named = lambda at: image[begin + at : image.index(b"\0", begin + at)].decode()
    return {named(name): (offset, size) for name, offset, size in found}


class Image:
    """`constants` are (offset, bytes), and `tables` (offset, size, bytes of an entry) have entries that resemble one another."""

    def __init__(self, machine, path):
        self.machine, self.bytes = machine, path.read_bytes()
        sections = sections_of(self.bytes)
        self.constants = [(begin, self.bytes[begin : begin + size]) for begin, size in map(sections.get, CONSTANTS)]
        self.code = sections[".text"]
        self.loader = path.with_name(path.name.replace("_asya.", "_asya_loader.")).read_bytes()
        self.tables = [(*sections[name], width) for name, width in TABLES.items() if name in sections]


def absolute_x86_64(code, _):
    """What looks like an address behind a call, jmp, mov or lea becomes relative to the begin, most significant byte first."""
    assert len(code) < REACH
    at = 0
    while at + 6 <= len(code):
        opcode = 1 if code[at] & 0xFE == 0xE8 else 2 if code[at + 1] & 0xC7 == 5 and code[at] in b"\x8b\x8d\x89\xff" else 0
        if not opcode:
            at += 1
            continue
        at += opcode
        [value] = struct.unpack_from("<i", code, at)
        following = at + 4
        if -following <= value < REACH - following:
            value += following
        elif REACH - following <= value < REACH:
            value -= REACH  # the place of what became an address
        struct.pack_into(">i", code, at, value)
        at = following


def absolute_aarch64(code, place):
    """The same for bl, and for adrp, which counts pages: the code begins `place` bytes behind the begin of one."""
    for at in range(0, len(code) - 3, 4):
        [word] = struct.unpack_from("<I", code, at)
        if word >> 26 == 0x25:
            struct.pack_into("<I", code, at, 0x94000000 | (word + at // 4) & 0x03FFFFFF)
        elif word & 0x9F000000 == 0x90000000:
            pages = (word >> 29 & 3 | word >> 3 & 0x1FFFFC) + (place + at >> 12)
            struct.pack_into("<I", code, at, word & 0x9F00001F | (pages & 3) << 29 | (pages & 0x1FFFFC) << 3)


def pieces_of(data, other):
    """What of `data` stands in `other`, too: (place in data, place there, length), as long as possible, in order."""
    places = {}
    for place in range(len(other) - PIECE + 1):
        places.setdefault(other[place : place + PIECE], []).append(place)
    found, at, expected = [], 0, 0
    while at < len(data):
        length, _, place = max(((common_length(data, at, other, place), place == expected, place)
                                for place in places.get(data[at : at + PIECE], ())[:MOST_PLACES]), default=(0, False, 0))
        if length:
            found.append((at, place, length))
            expected = place + length
        at += length or 1
    return found


def common_length(left, at, right, place):
    most = min(len(left) - at, len(right) - place)
    return next((i for i in range(most) if left[at + i] != right[place + i]), most)


def common_constants(images):
    """Those of the first image, without what no other has."""
    first, *others = (b"".join(data for _, data in image.constants) for image in images)
    for other in others:
        first = b"".join(first[at : at + length] for at, _, length in pieces_of(first, other))
    return first


def base85(data):
    data += bytes(-len(data) % 4)
    groups = (int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))
    return "".join(DIGITS[group // 85**place % 85] for group in groups for place in (4, 3, 2, 1, 0))


def literal(stream):
    text = base85(stream)
    return '"""\n%s\n"""' % "\n".join(text[i : i + LINE] for i in range(0, len(text), LINE))


def image_literal(image, common, before):
    """`before` is what all streams begin with, and begins with `common`. What the loader needs to know: the size of that and
    of all that the stream holds, how many numbers stand between, and among the image's own bytes the tables and the code. The
    numbers are, for each piece, how many own bytes stand before it, and where it begins and ends."""
    own, numbers, taken, at = b"", [], [], 0
    for begin, constants in image.constants:
        for place, there, length in pieces_of(constants, common):
            numbers += begin + place - at, there, there + length
            taken.append((begin + place, length))
            own += image.bytes[at : begin + place]
            at = begin + place + length
    own = bytearray(own + image.bytes[at:])
    moved = lambda offset: offset - sum(length for place, length in taken if place < offset)
    tables = []
    for offset, size, width in image.tables:
        table = moved(offset)
        own[table : table + size] = b"".join(own[table + i : table + size : width] for i in range(width))
        tables.append((table, size // width, width))
    start = moved(image.code[0])
    end = start + image.code[1]
    code = own[start:end]
    behind = image.code[0] % PAGE
    {"x86_64": absolute_x86_64, "aarch64": absolute_aarch64}[image.machine](code, behind)
    own[start:end] = code
    data = struct.pack("<%dI" % len(numbers), *numbers) + own
    shape = len(before), len(before) + len(data), len(numbers), tables, (start, end, behind)
    check = zlib.crc32(repr(shape).encode())
    loader = literal(first_of_stream(b"") + rest_of_stream(image.loader, b""))
    text = literal(rest_of_stream(data, before))
    return '    "%s": (%r, %d, %s, %s),' % (image.machine, shape, check, loader, text)


def comment(mark, pairs, before):
    """Sources by the names of their modules, as one stream in comments: the interpreter skips them, and keeps nothing."""
    text = base85(rest_of_stream("\0".join(part for pair in pairs for part in pair).encode(), before))
    size = LINE - len(mark)
    return "\n".join(mark + text[i : i + size] for i in range(0, len(text), size))


def commands_comments(folder, before):
    """The Python sources of the commands: those that are wanted where the runtime serves, and those of a desk."""
    paths = sorted(folder.glob("*.py"))
    sources = shorten.shorten([embed.essence(path.read_text(encoding="ascii")) for path in paths])
    pairs = [(path.stem in DESK, ("asya_commands." + path.stem).replace(".__init__", ""), source)
             for path, source in zip(paths, sources)]
    return [comment(mark, [pair[1:] for pair in pairs if pair[0] == desk], before) for mark, desk in (("#'", False), ('#"', True))]


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
    """The text of the file, and how much of it are the desk's commands."""
    digests = "\n".join("sha256 of the %s image: %s" % (image.machine, hashlib.sha256(image.bytes).hexdigest()) for image in images)
    common = common_constants(images)
    before = common + b"\0" + embed.essence(options.seldom.read_text(encoding="ascii")).encode()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        literals = list(pool.map(lambda image: image_literal(image, common, before), images))
    assigned = "_COMMON = %s\n_IMAGES = {\n%s\n}" % (literal(first_of_stream(before)), "\n".join(literals))
    text = template(options.template).replace("@VERSION@", options.version).replace("@DIGESTS@", digests)
    serving, desk = commands_comments(options.commands, before)
    print("bundle: the commands in Python take %d bytes, those of a desk %d" % (len(serving), len(desk)))
    return text.replace("# @IMAGES@", assigned).replace(" # @COMMANDS@", serving + "\n" + desk), len(desk) + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", type=pathlib.Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--image", action="append", required=True, metavar="MACHINE=FILE", help="the extension")
    for name, path, meaning in (("commands", "inject/commands", "the folder of the commands in Python"),
                                ("seldom", "inject/seldom.py", "what few starts need")):
        parser.add_argument("--" + name, type=pathlib.Path, default=ROOT / path, help=meaning)
    parser.add_argument("--output", required=True)
    parser.add_argument("--any-size", action="store_true", help="not to be shipped: another compiler's image may be larger")
    options = parser.parse_args()
    pairs = (item.split("=", 1) for item in sorted(options.image))
    images = [Image(machine, pathlib.Path(path)) for machine, path in pairs]
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
