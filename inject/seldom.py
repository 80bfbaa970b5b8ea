"""What few starts of the single file need: other places for the image than memory, and the commands in Python.

bootstrap.py executes this with its own names when it comes to that; tools/bundle.py puts it behind the images' constants,
where it costs a start nothing but its bytes.
"""
import os
import stat
import sys
import zlib


def check_folder(folder, by_path):
    """What stands in a folder is whatever those want who may write to it or to one above it: for code that shall be
    root and we alone. The top of a mount (a pod's volume) may be open to others where nothing is loaded by its path."""
    above = os.stat("/")
    ours = (0, os.geteuid(), above.st_uid)  # who owns / is root here: in a user namespace 0 may be somebody else
    path = ""
    for name in folder.split("/"):
        path += name + "/"
        found = os.stat(path)
        if found.st_uid not in ours:
            raise OSError("%s belongs to user %d, whose code it could become" % (path, found.st_uid))
        mounted = found.st_dev != above.st_dev and not by_path
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX and not mounted:
            raise OSError("others may write to %s, which has no sticky bit" % path)
        above = found


def named_file(folder):
    """A file in `folder`, for where there is no memfd or no /proc. Returns a function like bootstrap's _memory_file."""

    def place(name, image):
        by_path = not os.path.exists("/proc/self/fd")
        real = os.path.realpath(folder)
        check_folder(real, by_path)
        path = os.path.join(real, ".asya-%d-%s.so" % (os.getpid(), os.urandom(8).hex()))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        try:
            os.fchmod(fd, 0o700)
            with open(fd, "wb", closefd=False) as file:
                file.writelines(image)
            if not by_path:
                os.unlink(path)
                return _by_number(name, fd)
            written, found = os.fstat(fd), os.lstat(path)
            if written != found or found.st_uid != os.geteuid():
                raise OSError("%s was replaced while it was written" % path)
        except OSError:
            os.close(fd)
            if os.path.lexists(path):
                os.unlink(path)
            raise
        os.close(fd)
        return path, lambda: os.unlink(path)

    return place


def folders():
    """Where a file can be loaded from, best first."""
    socket = os.path.dirname(os.environ.get("ASYA_SOCKET_PATH", ""))
    for folder in (socket, os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm", os.environ.get("HOME")):
        if folder:
            yield folder, named_file(folder)


def commands(whole):
    """The package of the commands from the text of the single file: they lie in lines that begin as no other line does,
    since a quote is none of the digits. The second stream is missing in what the command configmap has printed."""
    import importlib.abc
    import importlib.util

    sources = {}
    for mark in "#'", '#"':
        text = "".join(line[2:] for line in whole.splitlines() if line.startswith(mark))
        if text:
            parts = zlib.decompress(_bytes(_FIRST + text))[_SIZE:].decode().split("\0")
            sources.update(zip(parts[::2], parts[1::2]))

    class Sources(importlib.abc.InspectLoader):
        def find_spec(self, name, path=None, target=None):
            return importlib.util.spec_from_loader(name, self) if name in sources else None

        def is_package(self, name):
            return name == "asya_commands"

        def get_source(self, name):
            return sources[name]

    sys.meta_path.append(Sources())
    package = importlib.import_module("asya_commands")
    package.START = [sys.executable, os.path.abspath(__file__)]
    return package
