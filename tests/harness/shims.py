"""Libraries that stand before libc in the runtime under test (tests/shims)."""
import mmap
import os
import signal
import struct
import threading

from . import processes
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


BEFORE_SEND, BEHIND_SEND, BEFORE_READ, BEHIND_READ, BEHIND_EMPTY_READ, BEHIND_ACCEPT, BEHIND_PEEK, BEHIND_WAIT, BEHIND_TAKE, BEFORE_EVENTFD = range(1, 11)


class Moments:
    """A process under the shim of this name stands still at a moment of the test's choice, and is killed there."""

    def __init__(self, path):
        self._shared = Shared(path, 3)
        self.env = preloaded("moments", SHIM_MOMENTS=path)

    def stop_at(self, kind, count=1):
        """From now on: at the moment of this kind, the first or a later one."""
        self._shared[2] = 0
        self._shared[1] = kind
        self._shared[0] = count

    def wait(self):
        """Until it stands there."""
        assert processes.eventually(lambda: self._shared[2]), "nobody came to that moment"

    def go_on(self):
        self._shared[2] = 0

    def kill(self):
        """Once it stands there."""
        self.wait()
        os.kill(self._shared[2], signal.SIGKILL)

    def kill_behind(self):
        """The same while the test does something else."""
        threading.Thread(target=self.kill, daemon=True).start()
