"""Libraries that stand before libc in the runtime under test (tests/shims)."""
import mmap
import struct

from .runtime import REPOSITORY

FOLDER = REPOSITORY / "build/release/tests/shims"


def preloaded(name, **settings):
    """The environment that puts the shim of this name before libc."""
    library = FOLDER / ("asya-shim-%s.so" % name)
    assert library.exists(), "not built: %s" % library
    return {"LD_PRELOAD": library, **settings}


class Shared:
    """Numbers of eight bytes that a shim sees change: `shared[0] = 5`."""

    def __init__(self, path, count):
        self.path = path
        path.write_bytes(bytes(8 * count))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * count)

    def __getitem__(self, index):
        return struct.unpack_from("=q", self._map, 8 * index)[0]

    def __setitem__(self, index, value):
        struct.pack_into("=q", self._map, 8 * index, value)
