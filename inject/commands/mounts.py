"""State mounts (docs/mounts.md): files below some paths live behind a connector that speaks HTTP/1.1 on a Unix socket.

No command: src/python/mounts.c loads this where ASYA_STATE_PROXY_MOUNTS is set, before the function's module is imported. What
is replaced are attributes of builtins, io and os, so only Python code that opens files by these names finds the mounts.

Rules: nothing that was meant for a mount ends on the local disk; a connector that cannot be reached is never "no such
file"; a write that fails raises in write() or close(), or is logged where nobody calls close().
"""
import builtins
import contextlib
import errno
import functools
import glob
import http.client
import io
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import tempfile
import urllib.parse

SPOOL = 4 << 20  # bytes of a file in memory; beyond that it is a temporary one
CHUNK = 1 << 16
SILENCE = 300  # seconds without a byte from the connector, which may be waiting for its storage
ERRORS = {503: errno.ECONNREFUSED, 403: errno.EACCES, 404: errno.ENOENT, 409: errno.EEXIST, 412: errno.EEXIST, 413: errno.EFBIG, 504: errno.ETIMEDOUT}
XATTR = "user.asya."
disk_open = open
mounts = []


class Link(http.client.HTTPConnection):
    """A connection to a connector."""

    def __init__(self, path):
        http.client.HTTPConnection.__init__(self, "localhost")
        self.path = path

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(SILENCE)
        with contextlib.ExitStack() as failed:
            failed.push(sock)  # closed at once, not when the traceback is forgotten
            sock.connect(self.path)
            failed.pop_all()
        self.sock = sock


class Mount:
    """One entry of the variable."""

    def __init__(self, entry, folder):
        parts = re.fullmatch(r"([^:/]+):(/[^:]*[^:/][^:]*):([^:]*)", entry)
        ways = re.findall(r"\bwrite\s*=\s*(\w*)", parts.group(3)) if parts else ["?"]
        if set(ways) - {"buffered", "passthrough"}:
            raise ValueError("ASYA_STATE_PROXY_MOUNTS has '%s', should be name:/path:write=buffered or =passthrough" % entry)
        self.name, self.path, self.streams = parts.group(1), plain(parts.group(2)), "passthrough" in ways
        self.socket = "%s/%s.sock" % (folder, self.name)

    @contextlib.contextmanager
    def talking(self, path):
        """Whatever goes wrong between us and the connector says nothing about the file."""
        try:
            yield
        except (OSError, ValueError, http.client.HTTPException) as error:
            kind, number = (TimeoutError, 504) if isinstance(error, socket.timeout) else (ConnectionError, 503)
            raise kind(ERRORS[number], "the connector of '%s': %r" % (self.name, error), path) from error

    def send(self, path, act, link):
        """Calls act(). A connector that closes the connection meanwhile may have said why before."""
        try:
            with self.talking(path):
                act()
        except ConnectionError:
            if link.sock:
                self.answer(path, link)
            raise

    def answer(self, path, link, unknown=None):
        """The response, or its status as an exception. `unknown` is the errno that 400 stands for."""
        with self.talking(path):
            response = link.getresponse()
            status = response.status
            if 200 <= status < 300:
                return response
            text = response.read(CHUNK)
        with contextlib.suppress(ValueError, LookupError, TypeError):
            text = json.loads(text.decode())["message"]
        text = "the connector of '%s' answers %d: %s" % (self.name, status, text or response.reason)
        if status == 400 and not unknown:
            raise ValueError("%s: %r" % (text, path))
        kind = ConnectionError if status == 503 else OSError
        raise kind(unknown if status == 400 else ERRORS.get(status, errno.EIO), text, path)

    def ask(self, path, method, target, body=None, headers={}, unknown=None):
        link = Link(self.socket)
        try:
            self.send(path, lambda: link.request(method, target, body, {"Connection": "close", **headers}), link)
            return self.answer(path, link, unknown)
        except BaseException:
            link.close()
            raise

    def read(self, path, target, unknown=None):
        """The JSON of an answer."""
        with self.ask(path, "GET", target, None, {}, unknown) as response, self.talking(path):
            return json.loads(response.read().decode())


class File(io.RawIOBase):
    """A file of a mount. What is read comes out of a spool, or, if the connector does not say how long it is, from the
    connection. What is written goes into the spool, and to the connector at the end; or, passed through, at once."""

    spool = source = sink = failed = None
    is_changed = False

    def __init__(self, found, path, mode):
        self.mount, self.target = found[0], "/keys/" + found[1]
        self.name, self.mode = path, mode
        self.way = "".join(sorted(set(mode) - set("btU"), reverse=True))  # r, r+, w ...
        self.headers = {"If-None-Match": "*"} if "x" in mode else {}
        is_new = self.way[0] in "wx"
        if not is_new:
            try:
                self.fetch()
            except FileNotFoundError:
                if "r" in mode:
                    raise
                is_new = True
        if self.mount.streams and self.way in "wxa":
            self.stream()
        elif not self.source:
            self.spool = self.spool or tempfile.SpooledTemporaryFile(SPOOL)
        self.is_changed = is_new or self.is_changed

    def fetch(self):
        response = self.mount.ask(self.name, "GET", self.target)
        size = response.getheader("Content-Length")
        if size is None and self.way == "r":
            self.source = response
            return
        self.spool = tempfile.SpooledTemporaryFile(SPOOL)
        data = True
        with response:
            while data:
                with self.mount.talking(self.name):
                    data = response.read(CHUNK)
                    if not data and size and self.spool.tell() != int(size):
                        raise ValueError("%d of %s bytes" % (self.spool.tell(), size))
                self.spool.write(data)
        self.spool.seek(0, 2 if "a" in self.way else 0)

    def stream(self):
        old, self.spool = self.spool, None
        self.sink = Link(self.mount.socket)
        with self.mount.talking(self.name):
            self.sink.putrequest("PUT", self.target)
            for header in {"Connection": "close", "Transfer-Encoding": "chunked", **self.headers}.items():
                self.sink.putheader(*header)
            self.sink.endheaders()
        if old:
            old.seek(0)
            shutil.copyfileobj(old, self, CHUNK)

    def readable(self):
        return self.way == "r" or "+" in self.way

    def writable(self):
        return self.way != "r"

    def seekable(self):
        return bool(self.spool)

    def readinto(self, buffer):
        if not self.readable():
            raise io.UnsupportedOperation("not readable")
        if self.source:
            with self.mount.talking(self.name):
                data = self.source.read(len(buffer))
        else:
            data = self.spool.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def change(self, act):
        """Once a part could not be written, what is there is not the file any more, and is not stored."""
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        if self.failed:
            raise self.failed
        self.is_changed = True
        try:
            act()
        except BaseException as error:
            self.failed = error
            raise

    def send(self, data):
        self.mount.send(self.name, lambda: self.sink.send(data), self.sink)

    def write(self, data):
        data = bytes(data)
        if self.sink:
            self.change(lambda: data and self.send(b"%x\r\n%b\r\n" % (len(data), data)))
        else:
            self.change(lambda: ("a" in self.way and self.spool.seek(0, 2), self.spool.write(data)))
        return len(data)

    def seek(self, offset, whence=0):
        if not self.spool:
            raise io.UnsupportedOperation("seek")
        self.spool.seek(offset, whence)
        return self.spool.tell()

    def truncate(self, size=None):
        size = self.tell() if size is None else size
        self.change(lambda: self.spool.truncate(size))
        return size

    def close(self):
        if self.closed:
            return
        try:
            if self.is_changed:
                self.change(self.store)
        finally:
            io.RawIOBase.close(self)
            self.failed = None  # its traceback leads here
            for part in (self.spool, self.source, self.sink):
                if part:
                    part.close()

    def store(self):
        if self.sink:
            self.send(b"0\r\n\r\n")
            self.mount.answer(self.name, self.sink)
        else:
            headers = {"Content-Length": str(self.seek(0, 2)), **self.headers}
            self.seek(0)
            self.mount.ask(self.name, "PUT", self.target, self.spool, headers)


class Heard:
    """Where nobody calls close(), what it raises would be dropped."""

    def __del__(self):
        try:
            self.closed  # raises if what is below was detached
        except ValueError:
            return
        try:
            self.close()
        except Exception as error:
            log().error("a file that was never closed is not stored: %s", error)


Raw, Reader, Writer, Random, Text = (
    type(kind.__name__, (Heard, kind), {}) for kind in (File, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)
)


def plain(path):
    """Without what only looks different: //, /./, /x/../"""
    return "/" + os.path.normpath(path).lstrip("/")


def find(path):
    """The mount that a path is in, and its key there; None for what is on the disk."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    path = os.fsdecode(path)
    whole = plain(path) + "/"
    for mount in mounts if path.startswith("/") else ():
        if whole.startswith(mount.path + "/"):
            key = whole[len(mount.path) + 1 : -1]
            if re.search("[^!-~]|[?#]", key):
                raise ValueError("no key of a state mount: %r" % key)
            return mount, key
    return None


def do_open(found, path, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, *opener, **rest):
    disk_open(os.devnull, mode=mode.replace("x", "w"), buffering=buffering, encoding=encoding, errors=errors, newline=newline,
              closefd=closefd).close()  # refuses what it always refuses
    if not found[1]:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    file = Raw(found, path, mode)
    if buffering:
        kind = Random if "+" in mode else Reader if "r" in mode else Writer
        file = kind(file, CHUNK if buffering < 2 else buffering)
    if "b" not in mode:
        file = Text(file, encoding, errors, newline, buffering == 1)
        file.mode = mode
    return file


def do_stat(found, path, *rest, **options):
    mount, key = found
    mode, size = stat.S_IFDIR | 0o755, 0
    if key:
        response = mount.ask(path, "HEAD", "/keys/" + key)
        if response.getheader("X-Is-File") != "false":
            mode, size = stat.S_IFREG | 0o644, int(response.getheader("Content-Length") or 0)
    number = hash((mount.path, key)) & 0x7FFFFFFFFFFFFFFF  # os.path.samefile() compares these
    return os.stat_result((mode, number, 0, 1, os.getuid(), os.getgid(), size, 0, 0, 0))


def do_is(kind, found, path, *rest, **options):
    """As os.path.exists() and its like, but a connector that does not answer is not a file that is missing."""
    with contextlib.suppress(FileNotFoundError):
        return kind(do_stat(found, path).st_mode)
    return False


do_exists, do_isfile, do_isdir = (functools.partial(do_is, kind) for kind in (bool, stat.S_ISREG, stat.S_ISDIR))


def do_mkdir(found, path, *rest, **options):
    pass


def names(found, path):
    """{name: whether it is a folder}"""
    mount, key = found
    prefix = key and key + "/"
    answer = mount.read(path, "/keys/?prefix=%s&delimiter=/" % urllib.parse.quote(prefix, "/!$'()*,:=@"))
    encode = os.fsencode if isinstance(path, bytes) else str
    return {encode(entry.rstrip("/").rpartition("/")[2]): part == "prefixes"
            for part in ("prefixes", "keys") for entry in answer.get(part) or () if entry != prefix}


def do_listdir(found, path):
    return list(names(found, path))


class Entry(os.PathLike):
    """As os.DirEntry."""

    def __init__(self, folder, name, is_folder):
        self.name, self.path, self.is_folder = name, os.path.join(folder, name), is_folder

    def __fspath__(self):
        return self.path

    def is_dir(self, **options):
        return self.is_folder

    def is_file(self, **options):
        return not self.is_folder

    def is_symlink(self):
        return False

    def stat(self, **options):
        return os.stat(self.path)


class Entries(contextlib.ExitStack):
    """As what os.scandir() returns."""

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.entries)


def do_scandir(found, path):
    path = os.fspath(path)
    entries = Entries()
    entries.entries = iter([Entry(path, *item) for item in names(found, path).items()])
    return entries


def do_unlink(found, path, **options):
    found[0].ask(path, "DELETE", "/keys/" + found[1])


def do_rename(found, src, dst, **options):
    """A copy, and then the old one is deleted: a store of keys has nothing else."""
    if find(src) != find(dst):
        shutil.copyfile(src, dst=dst)
        os.unlink(src)


def attribute_of(found, attribute):
    name = os.fsdecode(attribute)
    if not name.startswith(XATTR):
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name)
    return "/meta/%s?attr=%s" % (found[1], urllib.parse.quote(name[len(XATTR) :]))


def do_getxattr(found, path, attribute, **options):
    return str(found[0].read(path, attribute_of(found, attribute=attribute), errno.ENODATA)["value"]).encode()


def do_listxattr(found, path, **options):
    return [XATTR + name for name in found[0].read(path, "/meta/" + found[1])["attrs"]]


def do_setxattr(found, path, attribute, value, *flags, **options):
    body = json.dumps(dict(value=bytes(value).decode())).encode()
    found[0].ask(path, "PUT", attribute_of(found, attribute), body, {}, errno.ENODATA)


def replace(module, name, act):
    disk = getattr(module, name)

    @functools.wraps(disk)
    def call(*arguments, **options):
        for given in ("file", "path", "name", "src") if not arguments else ():
            arguments += (options.pop(given),) if given in options else ()
        found = arguments and (find(arguments[0]) or act is do_rename and find(options.get("dst", arguments[-1])))
        return act(found, *arguments, **options) if found else disk(*arguments, **options)

    setattr(module, name, call)
    for known in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
        known.update([call] if disk in known else [])
    for holder in (getattr(pathlib, "_NormalAccessor", None), getattr(glob, "_StringGlobber", None)):
        if getattr(holder, name, None) is disk:  # references that pathlib has, before 3.11 and since 3.13
            setattr(holder, name, staticmethod(call))


def prepare(text, folder):
    """Reads the variable, changes nothing. Returns why the start is refused, or nothing."""
    try:
        mounts.extend(Mount(entry.strip(), folder) for entry in text.split(";") if entry.strip())
    except ValueError as error:
        return str(error)
    return ""


def log():
    import logging

    return logging.getLogger("asya_runtime.mounts")


REPLACED = (
    (builtins, "open"),
    (io, "open"),
    (os.path, "exists lexists=exists isfile isdir"),
    (os, "stat lstat=stat chmod=stat utime=stat access=exists mkdir makedirs=mkdir listdir scandir unlink remove=unlink rename "
         "replace=rename getxattr listxattr setxattr"),
)


def install():
    for mount in mounts:
        if os.path.lexists(mount.path):
            log().warning("%s is on the disk, too, where libraries in C look", mount.path)
    for module, functions in REPLACED if mounts else ():
        for function in functions.split():
            name, _, other = function.partition("=")
            replace(module, name, globals()["do_" + (other or name)])
