"""What a template of workers does (ASYA_PRELOAD): says whether it can be forked, and makes its children differ.

Set from outside: try_fork(), which does what is done before a fork and in the parent, and returns why there was none;
warn(). Libraries that can be forked end their threads before it, as OpenBLAS does; a thread that is left is one that the
child would lack.
"""
import gc
import os
import sys
import time

_LIBRARIES = "libcuda.so cygrpc libgomp libomp libiomp5 polars tokenizers onnxruntime jaxlib tensorflow".split()
_HUGE, _COLLAPSE = 2 << 20, 25  # MADV_COLLAPSE, Linux 6.1
_LARGE, _TIME = 32 << 20, 5  # what is worth it; seconds for all of it
_DESCRIPTORS = 64  # of a worker: those sent to it, both ends of its fdstore's, and some for connections
_known = set()
_module = _seen = _name = None


def _open():
    """(number, what it is) of all descriptors."""
    for number in os.listdir("/proc/self/fd"):
        try:
            yield number, os.readlink("/proc/self/fd/" + number)
        except OSError:
            pass  # the list's own


def _look():
    """Of the module's file: what changes with it."""
    found = os.stat(_module.__file__)
    return found.st_mtime_ns, found.st_size, found.st_ino


def prepare(name):
    global _name
    _name = name.split(":")[0]
    _known.update(_open())


def _threads():
    """Names of all threads but this one. OpenTelemetry starts its own again in each child."""
    names = {}
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            try:
                with open("/proc/self/task/%s/comm" % task) as file:
                    names[int(task)] = file.read().strip()
            except OSError:
                pass  # it has just ended
    threading = sys.modules.get("threading")
    for thread in threading.enumerate() if threading else ():
        task = getattr(thread, "native_id", None)  # since 3.8
        if task in names:
            names[task] = thread.name
    return sorted(name for name in names.values() if not name.startswith("Otel"))


def _collapse():
    """Large memory into huge pages: what a fork takes for a GiB in pages of 4 KiB is 20 to 60 ms, and 1 ms in these. Only
    memory that is all in use, so none is added."""
    until, memory = time.monotonic() + _TIME, []
    with open("/proc/self/smaps") as file:
        for words in map(str.split, file):
            if words[0] == "Rss:":
                if area and int(words[1]) << 10 > max(_LARGE, 0.95 * (area[1] - area[0])):
                    memory.append(area)
            elif words[0][-1] != ":":
                area = words[1:2] == ["rw-p"] and words[4] == "0" and [int(word, 16) for word in words[0].split("-")]
    if memory:
        import ctypes

        libc = ctypes.CDLL(None)
        for begin, end in memory:
            begin = -(-begin // _HUGE) * _HUGE
            while begin + _HUGE <= end and time.monotonic() < until:
                size = min(_LARGE, (end - begin) // _HUGE * _HUGE)
                if libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), _COLLAPSE):
                    return
                begin += size


def settle():
    """Why this process cannot be forked; "" if it can."""
    global _module, _seen
    gc.collect()
    try:
        _collapse()
    except (ImportError, OSError, ValueError, AttributeError):
        pass  # then a fork takes longer
    refused = try_fork()
    names, until = _threads(), time.monotonic() + 0.5
    while names and time.monotonic() < until:  # one that was joined is still listed for a moment
        time.sleep(0.005)
        names = _threads()
    opened = set(_open()) - _known
    found = ["fork: " + refused] if refused else []
    limit = os.sysconf("SC_OPEN_MAX")
    if 0 <= limit < len(opened) + len(_known) + _DESCRIPTORS:
        found.append("RLIMIT_NOFILE is %d, and a worker needs %d more" % (limit, _DESCRIPTORS))
    if names:
        counts = ["%s x %d" % (name, names.count(name)) for name in dict.fromkeys(names)]
        found.append("the next process would lack its threads (%s)" % ", ".join(counts))
    found += ["CUDA is in use (%s)" % file for _, file in opened if file.startswith("/dev/nvidia")][:1]
    if found:
        with open("/proc/self/maps") as file:
            maps = file.read()
        loaded = [name for name in _LIBRARIES if name in maps]
        return "; ".join(found + ["loaded are " + ", ".join(loaded)] * bool(loaded))
    shared = ["%s %s" % pair for pair in sorted(opened) if pair[1].startswith(("socket:", "anon_inode:[eventpoll"))]
    if shared:
        warn("all workers would share what was opened while it was loaded (descriptor %s): make connections in after_fork()"
             % ", ".join(shared[:5]))
    name = _name
    while name and name not in sys.modules:
        name = name.rpartition(".")[0]
    try:
        _module = sys.modules[name]
        _seen = _look()
    except (KeyError, OSError, TypeError, AttributeError):
        _module = None
    gc.collect()
    gc.freeze()
    return ""


def is_stale():
    try:
        return _module is not None and _look() != _seen
    except OSError:  # it is being replaced, or was removed: what is loaded serves on
        return False


def renew():
    """The generators that their libraries do not seed in a child themselves, as `random` does."""
    for name in "numpy.random", "torch":
        try:
            sys.modules[name].seed()
        except Exception:
            pass
