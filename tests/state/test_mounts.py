"""State mounts (docs/mounts.md): to the function they are files, behind a connector of ours that is as bad as a test wants it.

Each snippet is the body of a function that a runtime serves, so what is tested is what a function sees."""
import os
import socket
import threading

import pytest

from harness import connector, processes
from harness.runtime import EXIT_USAGE, PYTHON, skip_unless_importable

META = "/state/meta"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tempfile
    with tempfile.TemporaryDirectory(prefix="asya-", dir="/tmp") as path:
        os.chmod(path, 0o755)
        yield path


@pytest.fixture(scope="module")
def connectors(folder):
    names = ("meta", "media", "two words")
    found = {name: connector.Connector(folder, name) for name in names}
    yield found
    for one in found.values():
        one.stop()


def settings(folder):
    return {"ASYA_STATE_PROXY_DIR": folder, "ASYA_STATE_PROXY_MOUNTS": "meta:/state/meta:write=buffered; "
            "media:/state/media/:write=passthrough;two words:/state/two words:write=buffered"}


@pytest.fixture(scope="module")
def serving(runtime, connectors, folder):
    with runtime("snippets:run", env=settings(folder)) as server:
        yield server


@pytest.fixture
def files(serving, connectors):
    """Snippets run here; the stores are empty."""
    for one in connectors.values():
        one.store.clear()
        one.attributes.clear()
        one.faults.clear()
        one.requests.clear()
    with serving.watched(allow_log=["WARNING .*validation_error", "ERROR .*processing_error"]) as server:
        yield server


@pytest.fixture
def meta(connectors, files):
    return connectors["meta"]


@pytest.fixture
def media(connectors, files):
    return connectors["media"]


def error_of(reply):
    return reply.get("type", reply.get("error")), reply["message"]


# -- reading and writing --------------------------------------------------------------------------------------------------

def test_what_is_written_is_one_put_at_close_and_can_be_read(files, meta):
    assert files.result("""
with open("/state/meta/users/1", "w") as file:
    file.write("first")
    file.flush()
    file.write(" second")
with open("/state/meta/users/1") as file:
    return file.read()""") == "first second"
    assert meta.asked() == [("PUT", "/keys/users/1"), ("GET", "/keys/users/1")]


def test_a_buffered_file_says_its_length_and_a_passed_one_goes_in_chunks(files, meta, media):
    files.result("""
for path in ("/state/meta/a", "/state/media/a"):
    with open(path, "wb", buffering=0) as file:
        for part in (b"one", b"", b"two"):
            file.write(part)""")
    [buffered], [passed] = meta.requests, media.requests
    assert buffered.headers["Content-Length"] == "6" and "Transfer-Encoding" not in buffered.headers
    assert passed.headers["Transfer-Encoding"] == "chunked" and passed.chunks == [b"one", b"two"]
    assert meta.store["a"] == media.store["a"] == b"onetwo"


MODES = {  # mode: (what was there, what is done, what the function gets, what is there then)
    "r": (b"ab\ncd", "return file.readlines()", ["ab\n", "cd"], b"ab\ncd"),
    "rb": (b"ab\ncd", "return list(file.read())", [97, 98, 10, 99, 100], b"ab\ncd"),
    "rt": (b"\xc3\xa9", "return file.read()", "\u00e9", b"\xc3\xa9"),
    "w": (b"old", "return file.write('n\u00e9w')", 3, b"n\xc3\xa9w"),
    "wb": (b"old", "return file.write(b'new')", 3, b"new"),
    "x": (None, "return file.write('new')", 3, b"new"),
    "xb": (None, "return file.write(b'new')", 3, b"new"),
    "a": (b"old", "file.write('new'); return file.tell()", 6, b"oldnew"),
    "ab": (b"old", "file.write(b'new'); return file.tell()", 6, b"oldnew"),
    "a ": (None, "file.write('new')", None, b"new"),
    "r+": (b"old", "text = file.read(); file.seek(0); file.write('N'); return text", "old", b"Nld"),
    "w+b": (b"old", "file.write(b'abc'); file.seek(1); return file.read().decode()", "bc", b"abc"),
    "a+": (b"old", "file.seek(0); file.write('new'); file.seek(0); return file.read()", "oldnew", b"oldnew"),
    "+r": (b"old", "file.truncate(2); return file.read()", "ol", b"ol"),
}


@pytest.mark.parametrize("mount", ["meta", "media"])
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_of_open(files, connectors, mount, mode):
    before, act, result, after = MODES[mode]
    store = connectors[mount].store
    if before is not None:
        store["key"] = before
    if mount == "media" and mode in ("a", "ab"):  # passed through: no position
        act, result = act.replace("return file.tell()", ""), None
    assert files.result("with open('/state/%s/key', %r) as file:\n    %s" % (mount, mode.strip(), act)) == result
    assert store["key"] == after


def test_text_has_encodings_newlines_and_lines(files, meta):
    assert files.result("""
with open("/state/meta/t", "w", encoding="utf-16", newline="\\r\\n") as file:
    print("caf\u00e9", "two", sep="\\n", file=file)
with open("/state/meta/t", encoding="utf-16") as file:
    lines = [next(file), file.readline(), file.name, file.mode, file.encoding]
with open("/state/meta/t", "rb") as file:
    lines.append([file.name, file.mode, file.readable(), file.writable(), file.seekable()])
return lines""") == ["caf\u00e9\n", "two\n", META + "/t", "r", "utf-16", [META + "/t", "rb", True, False, True]]
    assert meta.store["t"] == "caf\u00e9\r\ntwo\r\n".encode("utf-16")


def test_what_is_read_can_be_searched_but_what_is_passed_through_cannot(files, meta):
    meta.store["key"] = b"0123456789"
    assert files.result("""
import io
with open("/state/meta/key", "rb") as file:
    found = [file.seek(-3, 2), file.read(2), file.seek(1), file.read(1), file.tell(), file.seek(2, 1)]
with open("/state/media/key", "wb") as file:
    for act in (lambda: file.seek(0), file.tell, file.fileno, file.read):
        try:
            act()
        except io.UnsupportedOperation as error:
            found.append(1)
return [part.decode() if isinstance(part, bytes) else part for part in found]""") == [7, "78", 1, "1", 2, 4, 1, 1, 1, 1]


REFUSED_CALLS = {
    "open('/state/meta/k', 'rw')": "ValueError", "open('/state/meta/k', 'rb', encoding='utf-8')": "ValueError",
    "open('/state/meta/k', 'w', 0)": "ValueError", "open('/state/meta/k', encoding='no such')": "LookupError",
    "open('/state/meta/k', closefd=False)": "ValueError", "open('/state/meta')": "IsADirectoryError",
    "open('/state/meta/missing')": "FileNotFoundError", "open('/state/meta/missing', 'r+')": "FileNotFoundError",
    "open('/state/meta/k').write('x')": "UnsupportedOperation", "open('/state/meta/a b')": "ValueError",
    "open('/state/meta/a?b', 'w')": "ValueError", "open('/state/meta/caf\u00e9', 'w')": "ValueError",
    "os.stat('/state/meta/missing')": "FileNotFoundError", "os.remove('/state/meta/missing')": "FileNotFoundError",
    "os.getxattr('/state/meta/k', 'user.asya.none')": "OSError", "os.setxattr('/state/meta/k', 'user.asya.url', b'x')": "PermissionError",
    "os.getxattr('/state/meta/k', 'user.other')": "OSError", "os.utime('/state/meta/missing')": "FileNotFoundError",
}


@pytest.mark.parametrize("call", REFUSED_CALLS)
def test_a_call_that_is_refused(files, meta, call):
    meta.store["k"] = b"v"
    assert files.result("import os\ntry:\n    %s\nexcept Exception as error:\n    return type(error).__name__" % call) == REFUSED_CALLS[call]
    assert meta.store == {"k": b"v"}


# -- the functions of os and what builds on them --------------------------------------------------------------------------

def test_the_functions_of_os(files, meta):
    meta.store.update({"dir/one": b"12345", "dir/two": b"", "dir/sub/three": b"3", "top": b"t"})
    assert files.result("""
import os, stat
found = os.stat("/state/meta/dir/one")
os.makedirs("/state/meta/dir/new", exist_ok=True)
os.mkdir("/state/meta/dir/new")
return {
    "size": [found.st_size, os.path.getsize("/state/meta/dir/one"), stat.S_ISREG(found.st_mode)],
    "list": sorted(os.listdir("/state/meta/dir")), "root": sorted(os.listdir("/state/meta")), "none": os.listdir("/state/meta/no"),
    "bytes": sorted(name.decode() for name in os.listdir(b"/state/meta/dir")),
    "exists": [os.path.exists("/state/meta/" + name) for name in ("dir/one", "dir", "", "no")],
    "isfile": [os.path.isfile("/state/meta/" + name) for name in ("dir/one", "dir", "", "no")],
    "isdir": [os.path.isdir("/state/meta/" + name) for name in ("dir/one", "dir", "", "no")],
    "access": [os.access("/state/meta/" + name, os.R_OK) for name in ("dir/one", "no")],
    "walk": sorted(os.path.join(at, name) for at, _, names in os.walk("/state/meta") for name in names),
    "scan": sorted([entry.name, entry.is_dir(), entry.path] for entry in os.scandir("/state/meta/dir")),
    "removed": [os.remove("/state/meta/dir/one"), os.unlink("/state/meta/dir/two"), os.path.exists("/state/meta/dir/one")],
}""") == {
        "size": [5, 5, True], "list": ["one", "sub", "two"], "root": ["dir", "top"], "none": [], "bytes": ["one", "sub", "two"],
        "exists": [True, True, True, False], "isfile": [True, False, False, False], "isdir": [False, True, True, False],
        "access": [True, False], "walk": [META + end for end in ("/dir/one", "/dir/sub/three", "/dir/two", "/top")],
        "scan": [["one", False, META + "/dir/one"], ["sub", True, META + "/dir/sub"], ["two", False, META + "/dir/two"]],
        "removed": [None, None, False]}
    assert sorted(meta.store) == ["dir/sub/three", "top"]
    assert not os.path.exists("/state")  # of this machine


def test_attributes(files, meta):
    meta.store["key"] = b"1234"
    assert files.result("""
import os
os.setxattr("/state/meta/key", "user.asya.ttl", b"3600")
return [sorted(os.listxattr("/state/meta/key")), os.getxattr("/state/meta/key", "user.asya.url").decode(),
        os.getxattr("/state/meta/key", b"user.asya.size").decode(), os.getxattr("/state/meta/key", "user.asya.ttl").decode()]""") == [
            ["user.asya.size", "user.asya.ttl", "user.asya.url"], "memory://key", "4", "3600"]
    assert meta.attributes == {"key": {"ttl": "3600"}}


LIBRARIES = {
    "pathlib": ("import pathlib\npath = pathlib.Path('/state/meta/p/q.txt')\npath.parent.mkdir(parents=True, exist_ok=True)\n"
                "path.write_text('one')\nfound = [path.read_text(), path.read_bytes().decode(), path.exists(), path.is_file(),\n"
                "    path.parent.is_dir(), path.stat().st_size, [str(one) for one in path.parent.iterdir()],\n"
                "    [str(one) for one in pathlib.Path('/state/meta').glob('*/*.txt')]]\n"
                "with path.open('a') as file:\n    file.write('two')\nfound.append(path.read_text())\npath.unlink()\nreturn found + [path.exists()]",
                ["one", "one", True, True, True, 3, [META + "/p/q.txt"], [META + "/p/q.txt"], "onetwo", False]),
    "json": ("import json\nwith open('/state/meta/j', 'w') as file:\n    json.dump({'a': [1, None]}, file)\n"
             "with open('/state/meta/j', 'rb') as file:\n    return json.load(file)", {"a": [1, None]}),
    "pickle": ("import pickle\nwith open('/state/media/p', 'wb') as file:\n    pickle.dump([1, {2}], file)\n"
               "with open('/state/media/p', 'rb') as file:\n    return str(pickle.load(file))", "[1, {2}]"),
    "shutil": ("import os, shutil\nwith open('/state/meta/s', 'w') as file:\n    file.write('s' * 100000)\n"
               "shutil.copyfile('/state/meta/s', '/state/meta/s2')\nshutil.copyfile('/state/meta/s2', '/state/media/s3')\n"
               "shutil.copy('/state/media/s3', 's4')\nshutil.copy('s4', '/state/meta/s5')\nshutil.move('/state/meta/s5', '/state/meta/s6')\n"
               "return [os.path.getsize(path) for path in ('/state/meta/s2', '/state/media/s3', 's4', '/state/meta/s6')] + [os.path.exists('/state/meta/s5')]",
               [100000, 100000, 100000, 100000, False]),
    "gzip, csv, zipfile": ("import csv, gzip, zipfile\nwith gzip.open('/state/meta/g.gz', 'wt') as file:\n    csv.writer(file).writerow(['a', 1])\n"
                           "with zipfile.ZipFile('/state/meta/z.zip', 'w') as file:\n    file.writestr('in', 'zipped')\n"
                           "with gzip.open('/state/meta/g.gz', 'rt') as file, zipfile.ZipFile('/state/meta/z.zip') as other:\n"
                           "    return [next(csv.reader(file)), other.read('in').decode()]", [["a", "1"], "zipped"]),
    "rename and replace": ("import os\nwith open('/state/meta/new.tmp', 'w') as file:\n    file.write('v')\nos.replace('/state/meta/new.tmp', '/state/meta/new')\n"
                           "os.rename('/state/meta/new', '/state/media/new')\nos.rename(src='/state/media/new', dst='/state/meta/last')\n"
                           "return sorted(os.listdir('/state/meta')) + os.listdir('/state/media')", ["last"]),
    "logging": ("import logging\nhandler = logging.FileHandler('/state/meta/log')\nhandler.emit(logging.makeLogRecord({'msg': 'logged'}))\n"
                "handler.close()\nreturn open('/state/meta/log').read()", "logged\n"),
    "glob": ("import glob\nfor name in 'ab':\n    open('/state/meta/' + name + '.x', 'w').close()\nreturn sorted(glob.glob('/state/meta/*.x'))",
             [META + "/a.x", META + "/b.x"]),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_builds_on_them(files, library, tmp_path):
    code, result = LIBRARIES[library]
    assert files.result("import os\nos.chdir(%r)\n" % str(tmp_path) + code) == result


def test_numpy_opens_files_in_python_and_sqlite_in_c(files, meta):
    skip_unless_importable("numpy")
    assert files.result("""
import sqlite3
import numpy
numpy.save("/state/meta/array.npy", numpy.arange(100000))
numpy.savez("/state/meta/several.npz", one=numpy.ones(3))
found = [int(numpy.load("/state/meta/array.npy").sum()), float(numpy.load("/state/meta/several.npz")["one"].sum())]
for act in (lambda: sqlite3.connect("/state/meta/db"), lambda: numpy.memmap("/state/meta/array.npy", mode="r")):
    try:
        act()
    except Exception as error:
        found.append(type(error).__name__)
return found""") == [4999950000, 3.0, "OperationalError", "UnsupportedOperation"]
    assert sorted(meta.store) == ["array.npy", "several.npz"]


# -- what is a mount, and what only looks like one ------------------------------------------------------------------------

PATHS = {  # an expression: the (mount, key) that it is, or None
    "'/state/meta/k'": ("meta", "k"), "b'/state/meta/k'": ("meta", "k"), "pathlib.Path('/state/meta/k')": ("meta", "k"),
    "'/state/meta//k'": ("meta", "k"), "'/state/./meta/x/../k'": ("meta", "k"), "'//state/meta/k'": ("meta", "k"),
    "'/tmp/../state/meta/k'": ("meta", "k"), "'/state/media/../meta/k'": ("meta", "k"), "'/state/media/deep/k'": ("media", "deep/k"),
    "'/state/two words/k'": ("two words", "k"), "'/state/meta/k:%!$&*()+,;=@~[]'": ("meta", "k:%!$&*()+,;=@~[]"),
    "'/state/metadata/k'": None, "'/state/k'": None, "'/state/meta/../k'": None, "'state/meta/k'": None, "'/x/state/meta/k'": None,
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path(files, connectors, path, tmp_path):
    code = "import os, pathlib\nos.chdir(%r)\nwith open(%s, 'w') as file:\n    file.write('v')" % (str(tmp_path), path)
    reply = files.call(code)
    stored = [(name, key) for name, one in connectors.items() for key in one.store]
    assert stored == ([PATHS[path]] if PATHS[path] else [])
    assert (reply.get("status") == "ok") == bool(PATHS[path])
    if not PATHS[path]:
        assert reply["type"] == "FileNotFoundError"


def test_files_of_the_disk_are_as_ever(files, connectors, tmp_path):
    (tmp_path / "link").symlink_to("/state/meta/k")
    assert files.result("""
import os, pathlib, tempfile
os.chdir(%r)
os.makedirs("state/meta")
with open("state/meta/k", "w") as file:
    file.write("disk")
fd = os.open("state/meta/k", os.O_RDONLY)
with open(fd) as file:
    found = [file.read(), type(file).__name__, pathlib.Path("state/meta/k").stat().st_nlink]
with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "x").touch()
    found += [os.listdir(folder), os.path.exists("link"), os.path.islink("link")]
os.rename("state/meta/k", "moved")
try:
    open("link", "w")
except OSError as error:
    found.append(type(error).__name__)
return found + sorted(os.listdir())""" % str(tmp_path)) == ["disk", "TextIOWrapper", 1, ["x"], False, True, "FileNotFoundError", "link", "moved", "state"]
    assert not any(one.requests for one in connectors.values())


def test_of_nested_mounts_the_first_that_matches_wins(runtime, connectors, files, folder):
    store = "with open('/deep/er/key', 'w') as file:\n    file.write('v')"
    for mounts, name, key in (("meta:/deep:write=buffered;media:/deep/er:write=buffered", "meta", "er/key"),
                              ("media:/deep/er:write=buffered;meta:/deep:write=buffered", "media", "key")):
        with runtime("snippets:run", env={**settings(folder), "ASYA_STATE_PROXY_MOUNTS": mounts}) as server:
            server.result(store)
        assert connectors[name].store.pop(key) == b"v"
    assert not connectors["meta"].store and not connectors["media"].store


# -- failures -------------------------------------------------------------------------------------------------------------

STATUSES = {400: "ValueError", 403: "PermissionError", 404: "FileNotFoundError", 409: "FileExistsError", 412: "FileExistsError",
            413: "OSError", 500: "OSError", 503: "ConnectionError", 504: "TimeoutError", 418: "OSError", 301: "OSError"}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_an_exception_that_names_the_file_and_the_reason(files, meta, status):
    meta.faults.append(connector.answering(status, "because of this"))
    assert files.result("""
try:
    open("/state/meta/key")
except Exception as error:
    return [type(error).__name__, "because of this" in str(error), "/state/meta/key" in str(error), getattr(error, "errno", 0) == 27]
""") == [STATUSES[status], True, True, status == 413]


WRITES = {"buffered": "meta", "passthrough": "media"}


@pytest.mark.parametrize("status", [403, 409, 413, 500, 503])
@pytest.mark.parametrize("way", WRITES)
def test_a_write_that_fails_is_the_error_of_the_message(files, connectors, way, status):
    one = connectors[WRITES[way]]
    one.store["key"] = b"old"
    one.faults.append(connector.answering(status, "not today"))
    reply = files.call("with open('/state/%s/key', 'wb') as file:\n    file.write(b'x' * 3000000)" % WRITES[way])
    assert reply["error"] == "processing_error" and reply["type"] == STATUSES[status] and "not today" in reply["message"]
    assert one.store == {"key": b"old"}


@pytest.mark.parametrize("way", WRITES)
def test_a_connector_that_goes_away_in_the_middle_of_a_write(files, connectors, way):
    one = connectors[WRITES[way]]

    def leave(handler):
        handler.rfile.read(10)

    one.faults.append(leave)
    reply = files.call("with open('/state/%s/key', 'wb') as file:\n    file.write(b'x' * 9000000)" % WRITES[way])
    assert reply["type"] == "ConnectionError" and not one.store


@pytest.mark.parametrize("way", WRITES)
def test_a_file_that_could_not_be_written_whole_is_not_stored(files, connectors, way, tmp_path):
    """The function goes on after the error of write(): what would be stored now has a hole."""
    one = connectors[WRITES[way]]
    if way == "passthrough":
        one.faults.append(connector.answering(507, "full"))
    code = """
import os, resource, signal
file = open('/state/%s/key', 'wb', buffering=0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
before = resource.getrlimit(resource.RLIMIT_FSIZE)
if %r == 'buffered':
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000000, before[1]))
found = []
try:
    for _ in range(20):
        try:
            file.write(b'x' * 1000000)
        except OSError as error:
            found.append(type(error).__name__)
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
try:
    file.close()
except OSError as error:
    found.append('closed')
return [found[0], found[-1], file.closed]""" % (WRITES[way], way)
    assert files.result(code) == ["OSError", "closed", True]
    assert not one.store


def test_a_failing_close_without_with_is_logged(runtime, connectors, files, folder):
    connectors["meta"].faults.append(connector.answering(500, "storage is down"))
    logged = ["ERROR .*asya_runtime.mounts: a file that was never closed is not stored: .*storage is down.*/state/meta/key"]
    with runtime("snippets:run", env=settings(folder), expect_log=logged) as server:
        assert server.result("open('/state/meta/key', 'w').write('lost')\nreturn 1") == 1


def test_a_file_that_is_never_closed_is_stored_when_it_is_forgotten(files, meta):
    assert files.result("open('/state/meta/key', 'w').write('kept')\nreturn open('/state/meta/key').read()") == "kept"


def test_a_body_that_is_cut_is_no_file(files, meta):
    meta.faults.append(connector.cutting(1000, 2000))
    reply = files.call("return len(open('/state/meta/key', 'rb').read())")
    assert reply["type"] == "ConnectionError" and "1000 of 2000 bytes" in reply["message"]


def test_a_stream_that_is_cut_is_an_error_where_it_is_read(files, media):
    def parts():
        yield b"x" * 100000
        raise OSError

    media.streams["key"] = parts
    reply = files.call("with open('/state/media/key', 'rb') as file:\n    while file.read(1000):\n        pass")
    assert reply["type"] == "ConnectionError"


GONE = {"open": "open('/state/meta/k')", "stat": "os.stat('/state/meta/k')", "exists": "os.path.exists('/state/meta/k')",
        "isfile": "os.path.isfile('/state/meta/k')", "listdir": "os.listdir('/state/meta')", "walk": "list(os.walk('/state/meta', onerror=print))",
        "remove": "os.remove('/state/meta/k')", "write": "open('/state/meta/k', 'w').close()", "pass": "open('/state/media/k', 'w')",
        "Path.exists": "__import__('pathlib').Path('/state/meta/k').exists()"}


@pytest.mark.parametrize("how", ["socket gone", "nobody listens", "closes at once", "speaks no HTTP"])
def test_a_connector_that_is_not_there_is_not_a_file_that_is_missing(runtime, folder, how):
    """Else the function would take its state for lost, and begin anew."""
    import tempfile
    with tempfile.TemporaryDirectory(prefix="asya-", dir="/tmp") as own:
        os.chmod(own, 0o755)
        found = []
        if how == "nobody listens":
            for name in ("meta", "media"):
                left = socket.socket(socket.AF_UNIX)
                left.bind(os.path.join(own, name + ".sock"))
                left.close()
        elif how != "socket gone":
            found = [connector.Connector(own, name) for name in ("meta", "media")]
            for one in found:
                one.faults.extend([connector.leaving if how == "closes at once" else lambda handler: handler.wfile.write(b"hello\n")] * 50)
        with runtime("snippets:run", env=settings(own)) as server:
            for name, call in GONE.items():
                if name == "pass" and found:
                    call = "with %s as file:\n        file.write('x')" % call
                if name == "walk":
                    continue
                code = "import os\ntry:\n    %s\nexcept Exception as error:\n    return [isinstance(error, ConnectionError), str(error)]" % call
                result = server.result(code)
                assert result and result[0], (name, result)
        for one in found:
            one.stop()


def test_a_connector_that_is_silent_is_a_timeout_and_one_that_is_slow_is_not(files, meta):
    release = threading.Event()
    meta.store["key"] = b"value"
    meta.faults.extend([connector.waiting(release), connector.waiting(release)])
    limit = "import builtins\nbuiltins.open.__closure__\nscope = [cell.cell_contents for cell in open.__closure__ if hasattr(cell.cell_contents, '__globals__')][0].__globals__\n"
    assert files.result(limit + """
scope["SILENCE"] = 0.2
try:
    open("/state/meta/key")
except TimeoutError as error:
    return str(error)
finally:
    scope["SILENCE"] = 300""").endswith("('timed out'): '/state/meta/key'")
    threading.Timer(0.5, release.set).start()
    assert files.result("return open('/state/meta/key').read()") == "value"


def test_a_time_limit_reaches_a_function_that_waits_for_a_connector(runtime, connectors, files, folder):
    release = threading.Event()
    connectors["meta"].faults.append(connector.waiting(release))
    env = {**settings(folder), "ASYA_HANDLER_TIMEOUT": "0.5"}
    with runtime("snippets:run", env=env, allow_log=["WARNING .*", "ERROR .*"]) as server:
        assert server.call("open('/state/meta/key')")["type"] == "HandlerTimeout"
        release.set()
        assert server.result("return 1") == 1


def test_a_connector_that_comes_back_is_used_again(files, meta):
    meta.store["key"] = b"value"
    meta.stop()
    assert files.call("return open('/state/meta/key').read()")["type"] == "ConnectionError"
    meta.start()
    assert files.result("return open('/state/meta/key').read()") == "value"


# -- many at once, and much ----------------------------------------------------------------------------------------------

WORK = """
import os
for turn in range(20):
    path = "/state/%s/%s-%%d" %% turn
    with open(path, "w") as file:
        for part in range(50):
            file.write("%s")
    with open(path) as file:
        assert file.read() == "%s" * 50, path
    assert os.path.getsize(path) == 50 * len("%s")
return len([name for name in os.listdir("/state/%s") if name.startswith("%s-")])"""
KINDS = {"threads": ("snippets:run", {"ASYA_CONCURRENCY": "8"}), "tasks": ("snippets:run_async", {"ASYA_CONCURRENCY": "8"}),
         "workers": ("snippets:run", {"ASYA_WORKERS": "3"}), "threads of workers": ("snippets:run", {"ASYA_WORKERS": "2", "ASYA_CONCURRENCY": "4"})}


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once(runtime, connectors, files, folder, kind):
    handler, env = KINDS[kind]
    results = {}

    def ask(number):
        word = "w%d" % number
        mount = ("meta", "media")[number % 2]
        code = WORK % (mount, word, word, word, word, mount, word)
        if kind == "tasks":
            code = "import asyncio\ndef work():\n" + "\n".join("    " + line for line in code.splitlines()) + "\nreturn await asyncio.get_running_loop().run_in_executor(None, work)"
        results[number] = server.call(code)

    with runtime(handler, env={**settings(folder), **env}) as server:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {number: {"status": "ok", "result": 20} for number in range(8)}
    assert len(connectors["meta"].store) == len(connectors["media"].store) == 80


def test_of_many_that_create_a_file_one_wins(runtime, connectors, files, folder):
    results = []
    code = "try:\n    with open('/state/meta/lock', 'x') as file:\n        file.write('mine')\n    return 'won'\nexcept FileExistsError:\n    return 'lost'"
    with runtime("snippets:run", env={**settings(folder), "ASYA_CONCURRENCY": "8"}) as server:
        threads = [threading.Thread(target=lambda: results.append(server.result(code))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == ["lost"] * 7 + ["won"]
    assert [request.headers.get("If-None-Match") for request in connectors["meta"].requests] == ["*"] * 8


GIGABYTE = int(os.environ.get("ASYA_TEST_STATE_BYTES") or 200_000_000)
MEASURE = """
import resource
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
part = b"x" * 1000000
with open("/state/media/warm", "wb") as file:
    file.write(part)
before, peak, size = resident(), 0, 0
%s
return [size, peak - before]"""
LARGE = {
    "written through": "with open('/state/media/large', 'wb') as file:\n    while size < %d:\n        size += file.write(part)\n        peak = max(peak, resident())",
    "read as it comes": "with open('/state/media/stream', 'rb') as file:\n    while True:\n        data = file.read(1000000)\n        if not data:\n            break\n        size += len(data)\n        peak = max(peak, resident())\n%.0s",
    "read from a spool": "with open('/state/media/sized', 'rb') as file:\n    while True:\n        data = file.read(1000000)\n        if not data:\n            break\n        size += len(data)\n        peak = max(peak, resident())\n%.0s",
    "written from a spool": "with open('/state/meta/large', 'wb') as file:\n    while size < %d:\n        size += file.write(part)\npeak = resident()",
}


@pytest.mark.parametrize("way", LARGE)
def test_a_large_file_needs_no_memory(runtime, connectors, files, folder, way):
    """ASYA_TEST_STATE_BYTES=1073741824 for a gigabyte."""
    part = b"x" * 1_000_000
    parts = lambda: (part for _ in range(GIGABYTE // len(part)))  # noqa: E731
    connectors["media"].streams["stream"] = parts
    connectors["media"].sized["sized"] = (GIGABYTE // len(part) * len(part), parts)
    for one in connectors.values():
        one.keeps = False
    try:
        with runtime("snippets:run", env=settings(folder)) as server:
            size, grown = server.result(MEASURE % (LARGE[way] % GIGABYTE), timeout=120)
    finally:
        for one in connectors.values():
            one.keeps = True
            one.streams.clear()
            one.sized.clear()
    print("%s: %d bytes, resident memory grew by %d" % (way, size, grown))
    assert size >= GIGABYTE // len(part) * len(part) and grown < 16_000_000


# -- the start ------------------------------------------------------------------------------------------------------------

BAD = {"meta": "should be", "meta:/state/meta": "should be", "meta:state/meta:write=buffered": "should be",
       "meta:/state/meta:write=often": "should be", ":/state/meta:write=buffered": "should be", "me/ta:/state/meta:write=buffered": "should be",
       "meta:/:write=buffered": "should be", "a:/state/a:write=buffered;b": "has 'b', should be"}


@pytest.mark.parametrize("mounts", BAD)
@pytest.mark.parametrize("format", ["text", "json"])
def test_mounts_that_cannot_be_set_up_refuse_the_start(refuse, mounts, format):
    if format == "json" and mounts != "meta":
        return
    refusal = refuse("snippets:run", env={"ASYA_STATE_PROXY_MOUNTS": mounts, "ASYA_LOG_FORMAT": format})
    assert refusal.code == EXIT_USAGE
    assert BAD[mounts] in refusal.cause and "ASYA_STATE_PROXY_MOUNTS" in refusal.cause


def test_options_that_are_not_known_and_empty_entries_are_left_out(runtime, connectors, files, folder):
    mounts = ";; meta:/state/meta:cache=no ,write = passthrough ; "
    with runtime("snippets:run", env={**settings(folder), "ASYA_STATE_PROXY_MOUNTS": mounts}) as server:
        server.result("with open('/state/meta/key', 'w') as file:\n    file.write('v')")
    assert connectors["meta"].requests[0].headers["Transfer-Encoding"] == "chunked"


def test_the_module_can_read_its_state_as_it_is_imported(runtime, connectors, files, folder, tmp_path):
    connectors["meta"].store["weights"] = b"12"
    (tmp_path / "loader.py").write_text("WEIGHTS = open('/state/meta/weights').read()\ndef process(payload):\n    return WEIGHTS\n")
    with runtime("loader", env={**settings(folder), "PYTHONPATH": str(tmp_path), "ASYA_WORKERS": "2"}) as server:
        assert server.result(1) == "12"


def test_a_path_that_is_on_the_disk_too_is_warned_of(runtime, connectors, files, folder, tmp_path):
    env = {**settings(folder), "ASYA_STATE_PROXY_MOUNTS": "meta:%s:write=buffered" % tmp_path}
    with runtime("snippets:run", env=env, expect_log=["WARNING asya_runtime.mounts: %s is on the disk, too" % tmp_path]) as server:
        server.result("with open(%r, 'w') as file:\n    file.write('v')" % str(tmp_path / "key"))
    assert connectors["meta"].store == {"key": b"v"} and not list(tmp_path.iterdir())


def test_without_the_variable_nothing_is_replaced_or_imported(runtime):
    code = ("import builtins, io, os, sys\nwrapped = [one for one in (builtins.open, io.open, os.stat, os.listdir, os.path.exists) if hasattr(one, '__wrapped__')]\n"
            "return [len(wrapped), sorted({'http.client', 'asya_commands', 'asya_commands.mounts'} & set(sys.modules))]")
    for env in ({}, {"ASYA_STATE_PROXY_MOUNTS": ""}):
        with runtime("snippets:run", env=env) as server:
            assert server.result(code) == [0, []]


def test_a_replacement_for_a_worker_that_died_has_the_mounts(runtime, connectors, files, folder):
    with runtime("snippets:run", env=settings(folder), allow_log=["ERROR .*", "WARNING .*"]) as server:
        server.call("import os\nos._exit(3)")
        server.result("with open('/state/meta/key', 'w') as file:\n    file.write('v')")
    assert connectors["meta"].store == {"key": b"v"}


def test_call_and_check_have_the_mounts(connectors, files, folder):
    import subprocess
    from harness.runtime import HANDLERS, RUNTIME
    env = {**settings(folder), "PYTHONPATH": str(HANDLERS), "PATH": os.environ["PATH"]}
    code = "with open('/state/meta/key', 'w') as file:\n    file.write('v')\nreturn open('/state/meta/key').read()"
    import json
    done = subprocess.run([PYTHON, RUNTIME, "call", "snippets:run", json.dumps(code)], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, '"v"\n'), done.stderr
    env["ASYA_STATE_PROXY_MOUNTS"] = "meta"
    done = subprocess.run([PYTHON, RUNTIME, "check", "snippets:run"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_USAGE and "should be name:/path" in done.stderr
