#!/usr/bin/env python3
"""Asya runtime @VERSION@: serves a Python function over a Unix socket. Start: python3 asya_runtime.py [--help]

The runtime is a CPython extension written in C; this file carries it (one image per kind of processor, at the end,
compressed, in characters) and loads it. As a module it offers loads(), dumps(), main() and __version__ and starts nothing.

@DIGESTS@
"""
import sys


def _refuse(why, code=78):
    if __name__ != "__main__":
        raise ImportError("asya_runtime: " + why)
    sys.stderr.write("asya_runtime: " + why + "\n")
    sys.exit(code)


def _check_interpreter():
    """The image needs CPython's stable ABI of 3.7; anything else would crash instead of failing."""
    if sys.version_info < (3, 7):
        _refuse("needs CPython 3.7 or newer, this is %d.%d" % sys.version_info[:2])
    if sys.implementation.name != "cpython":
        _refuse("needs CPython, this is " + sys.implementation.name)
    if "t" in getattr(sys, "abiflags", ""):
        _refuse("does not support free-threaded CPython; use the ordinary build")
    # Only builds that trace references have other objects since 3.8, but all debug builds abort at their assertions.
    if hasattr(sys, "gettotalrefcount") or hasattr(sys, "getobjects"):
        _refuse("does not support debug builds of CPython; use the ordinary build")
    if sys.maxsize < 2**32 or sys.platform != "linux":
        _refuse("needs 64-bit Linux, this is %s with %d-bit pointers" % (sys.platform, sys.maxsize.bit_length() + 1))


def _memory_file(name, image):
    """A file that lives in memory only: works with a read-only root and noexec mounts. Returns its path."""
    import os

    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name, 1)  # MFD_CLOEXEC; MFD_EXEC would be refused where vm.memfd_noexec is 2
    else:  # CPython 3.7, or built against glibc before 2.27
        import _ctypes  # all of ctypes takes 2 ms and 0.3 MB more

        number = {"x86_64": 319, "aarch64": 279}[os.uname().machine]
        syscall = _ctypes.dlsym(_ctypes.dlopen(None, os.RTLD_NOW), "syscall")
        fd = _ctypes.call_function(syscall, (number, name.encode(), 1))
        if fd < 0:
            raise OSError("no memfd_create in this kernel")
    with open(fd, "wb", closefd=False) as file:
        file.writelines(image)
    return _by_number(name, fd)


def _by_number(name, fd):
    """The file's path by its descriptor, which is closed by the function that is returned as well."""
    import os

    # glibc takes two libraries of one path for the same, and the number will be used again: others write one slash here
    return "/proc/self%sfd/%d" % ("/" * len(name), fd), lambda: os.close(fd)


def _places():
    """Where the image can be loaded from, best first. ASYA_LOAD=memfd or =file takes only that way."""
    import os

    way = os.environ.get("ASYA_LOAD", "")
    if way != "file":
        yield "memfd", _memory_file
    if way != "memfd":
        for place in _seldom(_COMMON)["folders"]():
            yield place  # CPython 2 must be able to read all of this, to be refused


_DIGITS = bytes(c for c in range(33, 127) if c not in b"\"'\\<>&{}$")  # 85 that JSON, YAML and templates leave alone


def _bytes(text):
    """Five digits make four bytes; all groups at once, each a lane of one big number, as quick as base64. Two digits share
    a lane, since making numbers of bytes takes the most time. For what is read before, or without, the loader in C."""
    digits = text.encode().translate(bytes.maketrans(_DIGITS, bytes(range(85))), b"\n")
    size = len(digits) // 5 * 4
    high, low, last = bytearray(size), bytearray(size), bytearray(size)
    high[1::4], low[1::4], high[3::4], low[3::4], last[3::4] = (digits[place::5] for place in range(5))
    pairs = int.from_bytes(high, "big") * 85 + int.from_bytes(low, "big")
    right = pairs & int.from_bytes(b"\0\0\xff\xff" * (size // 4), "big")
    number = ((pairs - right >> 16) * 7225 + right) * 85 + int.from_bytes(last, "big")
    return number.to_bytes(size, "big")


def _unpack(shape, check, loader, text):
    """The parts of the image. Its stream holds `size` bytes. From byte `begin` on, behind what all streams begin with, are
    `count` numbers, three for each piece of that in the image, and then what is the image's own. There are tables: from
    which byte on, how many entries of how many bytes, first the first bytes of all; and code, from one byte to another,
    and how far behind the begin of a page it is loaded. Streams have a checksum, and so has this shape of the image (CRC-32): one
    that is put together otherwise would crash."""
    import zlib

    if zlib.crc32(repr(shape).encode()) != check:
        _refuse("its image is damaged: another checksum")
    begin, size, count, tables, code = shape
    try:
        loader = _module("_asya_loader", [zlib.decompress(_bytes(loader))])
        whole = memoryview(zlib.decompress(loader.bytes(_COMMON, text), 15, size))
        numbers = iter(whole[begin : begin + 4 * count].cast("I"))
        own = bytearray(whole[begin + 4 * count :])
        for table, rows, width in tables:
            end = table + rows * width
            columns = own[table:end]
            for i in range(width):
                own[table + i : end : width] = columns[i * rows : (i + 1) * rows]
        loader.relocate(own, *code)
    except (ValueError, OverflowError, TypeError, zlib.error) as error:
        _refuse("its image is damaged: %s" % error)
    view, at, parts = memoryview(own), 0, []
    for length, start, end in zip(numbers, numbers, numbers):
        parts += view[at : at + length], whole[start:end]
        at += length
    return parts + [view[at:]]


def _seldom(text):
    """The names of inject/seldom.py, which stands last in what all streams begin with, `text`: what few starts need."""
    import zlib

    texts = zlib.decompressobj().decompress(_bytes(text))
    names = dict(globals(), _FIRST=text, _SIZE=len(texts))
    exec(texts[texts.rfind(b"\0") + 1 :], names)
    return names


def _load():
    import os

    machine = os.uname().machine
    if machine not in _IMAGES:
        _refuse("has no image for %s, only for %s" % (machine, ", ".join(sorted(_IMAGES))))
    try:
        import zlib  # noqa: F401
    except ImportError as error:
        _refuse("needs CPython with its zlib module: %s" % error)
    return _module("_asya", _unpack(*_IMAGES[machine]))


def _module(name, image):
    """The extension whose file has these parts."""
    import _imp

    tried = []
    for where, place in _places():
        try:
            path, forget = place(name, image)
            try:
                spec = type(sys.__spec__)(name, None, origin=path)
                module = _imp.create_dynamic(spec)
            finally:
                forget()
            _imp.exec_dynamic(module)
            return module
        except (OSError, ImportError, KeyError) as error:
            if "subinterpreter" in str(error):  # the loader's, from CPython 3.12 on, or the image's
                _refuse("module _asya does not support loading in subinterpreters")
            tried.append("%s: %s" % (where, error))
    _refuse("could not load its image; tried " + "; ".join(tried))


def _commands():
    """The package of the commands that are written in Python: they lie in this file."""
    import os
    import zlib

    if not os.path.isfile(globals().get("__file__", "")):
        _refuse("this command needs its file, which was read from standard input: write it to one")
    with open(__file__, encoding="ascii") as file:
        whole = file.read()
    try:
        return _seldom(whole.split("\n_COMMON = ")[1].split('"""')[1])["commands"](whole)
    except (ValueError, zlib.error) as error:
        _refuse("its commands are damaged: %s" % error)


# @IMAGES@

_check_interpreter()
try:
    # @COMMANDS@
    # They stand in here so that a file which ends among them is a syntax error, and not one that does nothing.
    _asya = _load()
except MemoryError:
    _refuse("needs more memory (ulimit -v)", 77)
del _IMAGES, _COMMON
loads, dumps, main, __version__ = _asya.loads, _asya.dumps, _asya.main, _asya.__version__
_asya._commands = _commands
HandlerTimeout, ClientGone, ShuttingDown, context = _asya.HandlerTimeout, _asya.ClientGone, _asya.ShuttingDown, _asya.context
fly_text, fly_status = _asya.fly_text, _asya.fly_status
metrics = _asya.metrics

if __name__ == "__main__":
    sys.modules["asya_runtime"] = sys.modules["__main__"]  # the handler's `import asya_runtime` is this module
    sys.exit(main(sys.argv))
