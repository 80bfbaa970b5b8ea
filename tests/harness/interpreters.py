"""The Pythons of this machine, and those that tests/matrix/*.sh make: Debian's newest, Debian's for arm64, one built against musl."""
import functools
import glob
import os
import re
import subprocess

from .runtime import REPOSITORY

CACHE = REPOSITORY / "build" / "cache"
NEWER = ("3.14", "3.15")  # what no Debian of today has as a release
NAME = re.compile(r"(python|python[23](\.\d+)?t?d?|pypy3?(\.\d+)?)$")
PROBE = ("import sys; i = getattr(sys, 'implementation', None); "
         "sys.stdout.write('%s %d.%d.%d %d %d' % ((i.name if i else 'cpython',) + tuple(sys.version_info[:3]) + ("
         "'t' in getattr(sys, 'abiflags', ''), hasattr(sys, 'gettotalrefcount'))))")


class Interpreter:
    """One Python: its path, the words it is known by, and whether the runtime must run on it."""

    def __init__(self, path, kind, version, threaded, debug, where=""):
        self.path = path
        self.version = version
        self.fit = kind == "cpython" and version >= (3, 7) and not threaded and not debug
        words = ["CPython" if kind == "cpython" else kind, ".".join(map(str, version)), threaded and "free-threaded",
                 debug and "debug", where]
        self.name = " ".join(word for word in words if word)


def _look_at(path, where=""):
    """The Interpreter at a path, None when nothing there answers."""
    try:
        ended = subprocess.run([path, "-S", "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
        kind, version, threaded, debug = ended.stdout.split()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Interpreter(path, kind, tuple(map(int, version.split("."))), threaded == "1", debug == "1", where)


@functools.lru_cache(maxsize=None)
def found():
    """All Pythons, each version once a place: pyenv's, the system's, and the made ones where they are."""
    roots = [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")]
    patterns = [root + "/versions/*/bin/python" for root in roots if root]
    patterns += ["/opt/*/bin/python3", "/usr/local/bin/python[23]*", "/usr/local/bin/pypy3*"]
    places = [(path, "") for pattern in patterns for path in sorted(glob.glob(pattern))]
    places += [(path, "of the system") for path in sorted(glob.glob("/usr/bin/python[23]*") + glob.glob("/usr/bin/pypy3*"))]
    places += [(str(CACHE / "debug" / "bin" / "python3"), "")]
    places += [(str(CACHE / ("debian-" + version) / "bin" / "python3"), "") for version in NEWER]
    places += [(str(CACHE / "musl" / "bin" / "python3"), "on musl"), (str(CACHE / "arm64" / "python3"), "on arm64")]
    by_name, seen = {}, set()
    for path, where in places:
        real = os.path.realpath(path)
        if not NAME.match(os.path.basename(path)) or real in seen:
            continue
        seen.add(real)
        interpreter = _look_at(path, where)
        if interpreter:
            by_name.setdefault(interpreter.name, interpreter)
    return list(by_name.values())
