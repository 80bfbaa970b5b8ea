"""The single file: what it is, what importing it does and does not, under which flags and interpreters it runs."""
import ast
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import zlib

import pytest

from harness import runtime as harness
from harness.runtime import EXIT_OK, EXIT_UNFIT, EXIT_USAGE, HANDLERS, PYTHON, RUNTIME

ECHO_WARNING = ["WARNING .*echo"]


def run(*words, python=PYTHON, env=None, stdin=None, cwd="/", timeout=30):
    """Run an interpreter on words, with the file's folder importable; returns the ended process with its texts."""
    clean = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PYTHONDONTWRITEBYTECODE": "1",
             "PYTHONPATH": str(RUNTIME.parent), **(env or {})}
    return subprocess.run([str(python), *map(str, words)], env=clean, cwd=cwd, capture_output=True, text=True,
                          stdin=stdin or subprocess.DEVNULL, timeout=timeout, check=False)


def evaluate(code, *flags, **options):
    """The JSON a program prints."""
    ended = run(*flags, "-c", code, **options)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def assignment(tree, name):
    """The one to that name in the parsed file."""
    [node] = [node for node in tree.body if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name]
    return node


DIGITS = [chr(c) for c in range(33, 127) if chr(c) not in "\"'\\<>&{}$"]


def from_base85(text):
    """Four bytes, most significant first, from each five digits."""
    digits = [DIGITS.index(c) for c in text if c != "\n"]
    groups = [digits[i:i + 5] for i in range(0, len(digits), 5)]
    return b"".join(sum(d * 85**(4 - i) for i, d in enumerate(group)).to_bytes(4, "big") for group in groups)


def to_base85(data):
    """The other way, for whole groups."""
    numbers = [int.from_bytes(data[i:i + 4], "big") for i in range(0, len(data), 4)]
    return "".join(DIGITS[number // 85**i % 85] for number in numbers for i in (4, 3, 2, 1, 0))


def common():
    """What every stream begins with."""
    text = ast.literal_eval(assignment(ast.parse(RUNTIME.read_text()), "_COMMON").value)
    return zlib.decompressobj().decompress(from_base85(text))


ADDRESS = re.compile(rb"[\xe8\xe9]|[\x89\x8b\x8d\xff][\x05\x0d\x15\x1d\x25\x2d\x35\x3d]")
REACH = 2**20


def relative_word(word, i, place):
    """An instruction of aarch64: bl counts instructions, adrp pages."""
    if word >> 26 == 0b100101:
        return word & 0xFC000000 | (word - i) & 0x03FFFFFF
    if word >> 31 and word >> 24 & 0b11111 == 0b10000:
        pages = ((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3) - (place + 4 * i) // 4096
        return word & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    return word


def relative(machine, code, place):
    """Addresses in code as processors take them: from where they stand. It is loaded `place` bytes behind a page's begin."""
    result, at = bytearray(code), 0
    if machine == "aarch64":
        words = struct.unpack("<%dI" % (len(code) // 4), code[:len(code) // 4 * 4])
        made = (relative_word(word, i, place) for i, word in enumerate(words))
        return struct.pack("<%dI" % len(words), *made) + code[len(words) * 4:]
    while (found := ADDRESS.search(code, at)) and found.start() + 6 <= len(code):
        at = found.end() + 4
        value = int.from_bytes(code[at - 4:at], "big", signed=True)
        value += -at if 0 <= value < REACH else REACH if -at <= value < 0 else 0
        result[at - 4:at] = value.to_bytes(4, "little", signed=True)
    return bytes(result)


def images():
    """The images in the file, unpacked, by processor: constants they share are the begin of each one's stream."""
    tree = ast.parse(RUNTIME.read_text())
    begin_of_all, packed = (ast.literal_eval(assignment(tree, name).value) for name in ("_COMMON", "_IMAGES"))
    found = {}
    for machine, ((begin, size, count, tables, code), _, _, text) in packed.items():
        whole = zlib.decompress(from_base85(begin_of_all) + from_base85(text))
        assert len(whole) == size
        numbers = struct.unpack_from("<%dI" % count, whole, begin)
        own = whole[begin + 4 * count:]
        for table, rows, width in tables:
            columns = own[table:table + rows * width]
            entries = bytes(columns[i * rows + row] for row in range(rows) for i in range(width))
            own = own[:table] + entries + own[table + rows * width:]
        start, end, place = code
        own = own[:start] + relative(machine, own[start:end], place) + own[end:]
        image = b""
        for length, start, end in zip(numbers[::3], numbers[1::3], numbers[2::3]):
            image, own = image + own[:length] + whole[start:end], own[length:]
        found[machine] = image + own
    return found


# -- the file itself ----------------------------------------------------------------------------------------------------


def test_it_fits_into_a_configmap():
    assert RUNTIME.stat().st_size < 456 * 1000


def test_it_is_plain_text():
    text = RUNTIME.read_bytes().decode("ascii")
    assert "\r" not in text and "\t" not in text.split("_COMMON")[0]
    assert max(map(len, text.splitlines())) <= 1000


def test_it_names_the_digest_of_each_image_it_carries():
    text = ast.get_docstring(ast.parse(RUNTIME.read_text()))
    assert images()
    for machine, image in images().items():
        assert image.startswith(b"\x7fELF")
        assert "sha256 of the %s image: %s" % (machine, hashlib.sha256(image).hexdigest()) in text


def test_nothing_in_it_tells_where_it_was_built():
    for data in (RUNTIME.read_bytes(), *images().values()):
        for word in (str(harness.REPOSITORY), "/home/", "/root/", "/build/"):
            assert word.encode() not in data


# -- as a module --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(RUNTIME.name != "asya_runtime.py", reason="the file has another name")
class TestAsModule:
    """import asya_runtime."""

    def test_importing_starts_nothing(self):
        seen = evaluate("import os, json\n"
                        "before = sorted(os.listdir('/proc/self/fd'))\n"
                        "import asya_runtime\n"
                        "print(json.dumps([before == sorted(os.listdir('/proc/self/fd')),\n"
                        "    len(os.listdir('/proc/self/task')), open('/proc/self/task/%d/children' % os.getpid()).read(),\n"
                        "    os.path.exists(os.environ['ASYA_SOCKET_PATH'])]))",
                        env={"ASYA_SOCKET_PATH": "/tmp/asya-must-not-exist.sock", "ASYA_PROCESS_MODULE": "absent"})
        assert seen == [True, 1, "", False]

    def test_it_offers_what_is_documented(self):
        seen = evaluate("import asya_runtime as a, json\nprint(json.dumps([a.__version__, callable(a.main), "
                        "a.loads(b'{\"a\": [1, 2.5, null]}'), a.dumps({'b': (1, None)}).decode()]))")
        assert seen[0].count(".") == 2 and seen[0][0].isdigit()
        assert seen[1:] == [True, {"a": [1, 2.5, None]}, '{"b":[1,null]}']

    def test_its_stub_names_exactly_what_it_offers(self):
        stub = harness.REPOSITORY / "inject" / "package" / "asya_runtime" / "__init__.pyi"
        body = ast.parse(stub.read_text()).body
        named = {node.name for node in body
                 if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not getattr(node, "decorator_list", [])}
        named |= {alias.name for node in body if isinstance(node, ast.ImportFrom) and node.level for alias in node.names}
        seen = evaluate("import asya_runtime as a, json\n"
                        "print(json.dumps([n for n in dir(a) if n[0] != '_' and n != 'sys']))")
        assert named == set(seen)

    def test_importing_twice_or_reloading_works(self):
        seen = evaluate("import importlib, json, asya_runtime as a\nb = importlib.reload(a)\n"
                        "print(json.dumps([b.loads(b'[1]'), a.dumps([2]).decode()]))")
        assert seen == [[1], "[2]"]

    def test_other_libraries_can_still_be_loaded_from_descriptors(self):
        """glibc finds loaded libraries again by path: the image must not occupy a low descriptor's name."""
        code = ("import os, shutil, json, asya_runtime, ctypes, _ctypes\n"
                "source = _ctypes.__file__\n"
                "fd = os.open(source, os.O_RDONLY)\n"
                "ctypes.CDLL('/proc/self/fd/%d' % fd).PyInit__ctypes\n"
                "print(json.dumps(fd))")
        if not evaluate("import json\nimport _ctypes\nprint(json.dumps(hasattr(_ctypes, '__file__')))"):
            pytest.skip("this interpreter has its libraries built in")
        assert evaluate(code) < 100

    def test_a_thread_may_import_it(self):
        assert evaluate("import threading, json\nfound = []\n"
                        "def f():\n    import asya_runtime\n    found.append(asya_runtime.loads(b'1'))\n"
                        "t = threading.Thread(target=f); t.start(); t.join(); print(json.dumps(found))") == [1]

    def test_errors_of_loads_and_dumps_are_exceptions(self):
        seen = evaluate("import asya_runtime as a, json\nseen = []\n"
                        "for f, x in ((a.loads, b'{'), (a.loads, b'\\xff'), (a.loads, b''), (a.dumps, float('nan')), "
                        "(a.dumps, object())):\n"
                        "    try: f(x); seen.append('nothing')\n"
                        "    except (ValueError, TypeError) as e: seen.append(str(e))\n"
                        "print(json.dumps(seen))")
        assert len(seen) == 5 and "nothing" not in seen and all(seen)


def test_the_handler_can_import_the_running_runtime(runtime, tmp_path):
    """The very module, not a second copy."""
    (tmp_path / "curious.py").write_text("import sys\nimport asya_runtime\n\n\ndef process(payload):\n"
                                         "    return [asya_runtime is sys.modules['__main__'], asya_runtime.loads(b'[7]')]\n")
    with runtime("curious", cwd=tmp_path) as server:
        assert server.result(None) == [True, [7]]


# -- command line -------------------------------------------------------------------------------------------------------


def test_help_is_printed_and_nothing_started():
    ended = run(RUNTIME, "--help")
    assert ended.returncode == EXIT_OK
    assert "ASYA_PROCESS_MODULE" in ended.stdout and "ASYA_SOCKET_PATH" in ended.stdout
    assert ended.stderr == ""


def test_version_is_printed():
    ended = run(RUNTIME, "--version")
    assert ended.returncode == EXIT_OK
    assert any(character.isdigit() for character in ended.stdout)


@pytest.mark.parametrize("words", [["--absent"], ["stray"], ["-x"]])
def test_other_words_are_refused(words):
    ended = run(RUNTIME, *words)
    assert ended.returncode == EXIT_USAGE
    assert len(ended.stderr.splitlines()) == 1


# -- flags --------------------------------------------------------------------------------------------------------------

FLAGS = [["-I"], ["-S"], ["-E"], ["-O"], ["-OO"], ["-B"], ["-bb"], ["-s"], ["-u"], ["-X", "dev"], ["-W", "error"],
         ["-X", "utf8"], ["-I", "-S", "-E", "-OO", "-bb", "-W", "error"]]


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_it_serves_under(runtime, flags):
    with runtime(None, flags=flags, expect_log=ECHO_WARNING) as server:
        assert server.result({"a": [1, "\u20ac"]}) == {"a": [1, "\u20ac"]}


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "xx_XX.nothing"}, {"LANG": None},
                                 {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, {"HOME": None, "TMPDIR": None},
                                 {"PYTHONHASHSEED": "0"}, {"PYTHONMALLOC": "debug"}, {"PYTHONUNBUFFERED": "1"}],
                         ids=lambda env: " ".join("%s=%s" % pair for pair in env.items()))
def test_it_serves_with(runtime, env):
    with runtime("snippets:run", env=env) as server:
        assert server.result("print('\\u20ac'.encode('ascii', 'replace'))\nreturn '\\u20ac'") == "\u20ac"


def test_it_serves_from_standard_input(runtime):
    """curl ... | python3 -"""
    with open(RUNTIME, "rb") as file:
        with runtime(None, program="-", stdin=file, expect_log=ECHO_WARNING) as server:
            assert server.result([1]) == [1]


def test_it_serves_from_standard_input_with_a_handler(runtime):
    with open(RUNTIME, "rb") as file:
        with runtime("answers:echo", program="-", stdin=file) as server:
            assert server.result([1]) == [1]


def test_it_serves_under_another_name_and_read_only(runtime, tmp_path):
    """As a ConfigMap mounts it."""
    copy = tmp_path / "app.py"
    shutil.copy(RUNTIME, copy)
    copy.chmod(0o444)
    with runtime("answers:echo", program=copy) as server:
        assert server.result(1) == 1


def test_it_serves_through_a_link(runtime, tmp_path):
    (tmp_path / "link.py").symlink_to(RUNTIME)
    with runtime("answers:echo", program=tmp_path / "link.py") as server:
        assert server.result(1) == 1


@pytest.mark.parametrize("way", ["memfd", "file"])
def test_it_loads_its_image_from(runtime, way):
    """And leaves no image behind: the folder is inspected at the end."""
    with runtime("answers:echo", env={"ASYA_LOAD": way}) as server:
        assert server.result(1) == 1
        assert not [name for name in os.listdir(server.env["TMPDIR"]) if name.endswith(".so")]
        with open("/proc/%d/maps" % server.pid) as maps:
            mapped = [line for line in maps if "memfd:_asya" in line or ".asya-" in line]
        assert mapped and all(("memfd" in line) == (way == "memfd") for line in mapped)


# -- where it loads its image from, if not from memory ----------------------------------------------------------------------

STRANGER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


def load_from(folder, before=""):
    """Imports the file with ASYA_LOAD=file and the socket in `folder`; the path of the image in memory."""
    code = ("import os\n%s\nexec(compile(open(%r).read(), 'a', 'exec'), {'__name__': 'a'})\n"
            "print([line.split()[5] for line in open('/proc/self/maps') if '.asya-' in line][0])" % (before, str(RUNTIME)))
    ended = run("-c", code, env={"ASYA_LOAD": "file", "ASYA_SOCKET_PATH": "%s/app.sock" % folder})
    assert ended.returncode == 0, ended.stderr
    return os.path.dirname(ended.stdout.strip())


@pytest.mark.parametrize("before", ["", "os.path.exists = lambda path: False"], ids=["by its descriptor", "by its path"])
def test_its_image_is_loaded_from_a_folder_of_our_own_and_leaves_nothing_there(tmp_path, before):
    (tmp_path / "own").mkdir(0o755)
    (tmp_path / "link").symlink_to("own")
    assert load_from(tmp_path / "link", before) == str(tmp_path / "own")
    assert os.listdir(tmp_path / "own") == []


UNSAFE = {
    "everybody may write to": (0o777, 0, "others may write to"), "a group may write to": (0o775, 0, "others may write to"),
    "is another user's": (0o755, STRANGER, "user 12345"), "is another user's with a sticky bit": (0o1777, STRANGER, "user 12345"),
}


@needs_root
@pytest.mark.parametrize("below", ["", "/ours"], ids=["itself", "above"])
@pytest.mark.parametrize("mode, owner, word", UNSAFE.values(), ids=UNSAFE)
def test_its_image_is_not_loaded_from_a_folder_that(tmp_path, mode, owner, word, below):
    """Nor from one below it, which its owner could put another in the place of."""
    folder = tmp_path / "shared"
    (folder / "ours").mkdir(parents=True)
    folder.chmod(mode)
    os.chown(folder, owner, owner)
    assert load_from(str(folder) + below) != str(folder) + below
    ended = run(with_images(tmp_path / "unfit.py", SOUND),
                env={"ASYA_LOAD": "file", "ASYA_SOCKET_PATH": "%s%s/app.sock" % (folder, below)})
    assert ended.returncode == EXIT_UNFIT
    [line] = ended.stderr.splitlines()
    assert "%s%s: " % (folder, below) in line and word in line and "%s/" % folder in line


def test_its_image_is_not_loaded_by_a_path_where_another_file_stands_by_then(tmp_path):
    """Only where there is no /proc: else it is loaded from the open file."""
    (tmp_path / "own").mkdir(0o755)
    replace = ("os.path.exists = lambda path: False\nchmod = os.fchmod\n"
               "def fchmod(fd, mode):\n"
               "    path = os.readlink('/proc/self/fd/%%d' %% fd)\n    chmod(fd, mode)\n"
               "    if path.startswith(%r):\n        open(path + 'x', 'w').close()\n        os.replace(path + 'x', path)\n"
               "os.fchmod = fchmod" % str(tmp_path))
    assert load_from(tmp_path / "own", replace) != str(tmp_path / "own")
    assert os.listdir(tmp_path / "own") == []


# -- interpreters it must not be loaded into --------------------------------------------------------------------------------

PRETENCES = {
    "PyPy": ("sys.implementation = types.SimpleNamespace(name='pypy', cache_tag='x')", "CPython"),
    "CPython 3.6": ("V = collections.namedtuple('V', 'major minor micro releaselevel serial')\n"
                    "sys.version_info = V(3, 6, 0, 'final', 0)", "3.7"),
    "a free-threaded build": ("sys.abiflags = 't'", "free-threaded"),
    "a debug build": ("sys.gettotalrefcount = int", "debug"),
    "a build that traces references": ("sys.getobjects = len", "debug"),
    "32 bits": ("sys.maxsize = 2**31 - 1", "64-bit"),
    "another system": ("sys.platform = 'darwin'", "Linux"),
    "a build without zlib": ("sys.modules['zlib'] = None", "zlib"),
    "another processor": ("U = collections.namedtuple('U', 'sysname nodename release version machine')\n"
                          "os.uname = lambda: U('Linux', 'n', 'r', 'v', 'vax')", "vax"),
}


@pytest.mark.parametrize("pretence, word", PRETENCES.values(), ids=PRETENCES)
def test_it_refuses_what_looks_like(pretence, word):
    """Nothing but one line: the image must not even be loaded, it would crash such an interpreter."""
    start = ("import collections, os, sys, types\n%s\nsys.argv = ['asya_runtime.py']\n"
             "file = open(%r).read()\nexec(compile(file, 'asya_runtime.py', 'exec'), {'__name__': '__main__'})")
    ended = run("-c", start % (pretence, str(RUNTIME)))
    assert ended.returncode == EXIT_UNFIT, ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and word in ended.stderr


def with_images(path, text, loader=None):
    """Write the file with `text` in place of each image, and maybe `loader` of each loader."""
    whole = RUNTIME.read_text()
    node = assignment(ast.parse(whole), "_IMAGES")
    shape = len(common()), 1000, 0, [(64, 1, 24)], (0, 100, 0)
    packed = {machine: (shape, zlib.crc32(repr(shape).encode()), values[-2] if loader is None else loader, text)
              for machine, values in ast.literal_eval(node.value).items()}
    lines = whole.splitlines()
    lines[node.lineno - 1:node.end_lineno] = ["_IMAGES = %r" % packed]
    path.write_text("\n".join(lines) + "\n")
    return path


def rest_of_stream(before, data):
    """Digits of a stream's end: it holds `data`, and the sum of all."""
    packer = zlib.compressobj(wbits=-15)
    rest = packer.compress(data) + packer.flush() + struct.pack(">I", zlib.adler32(before + data))
    return to_base85(rest + bytes(-len(rest) % 4))


SOUND = rest_of_stream(common(), bytes(1000) + b"\x7fELF")
DAMAGES = {
    "an image that no loader takes": (SOUND, "tried memfd"),
    "a text that lacks a character": (SOUND[1:], "damaged"),
    "a text that lacks its end": (SOUND[:-10], "damaged"),
    "a text with another character": (SOUND[:10] + "~" + SOUND[11:], "damaged"),
    "digits beyond four bytes": ("~" * 5 + SOUND[5:], "damaged"),
    "nothing": ("", "damaged"),
    "an image behind other constants": (rest_of_stream(b"others", bytes(1000) + b"\x7fELF"), "damaged"),
}


@pytest.mark.parametrize("text, word", DAMAGES.values(), ids=DAMAGES)
def test_damaged_in_transit_it_ends_clearly_with(tmp_path, text, word):
    """Exit code and one line, no traceback."""
    ended = run(with_images(tmp_path / "damaged.py", text))
    assert ended.returncode == EXIT_UNFIT, ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and word in ended.stderr


@pytest.mark.parametrize("loader, word", [
    ("", "damaged"), (SOUND, "damaged"), (to_base85(zlib.compress(bytes(1000)) + bytes(3))[:-5], "damaged"),
    (to_base85((zlib.compress(b"no ELF") + bytes(3))[:16]), "tried memfd")],
    ids=["nothing", "another stream", "a stream without its end", "what no loader takes"])
def test_damaged_in_transit_it_ends_clearly_with_a_loader_that_is(tmp_path, loader, word):
    ended = run(with_images(tmp_path / "damaged.py", SOUND, loader))
    assert ended.returncode == EXIT_UNFIT, ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and word in ended.stderr


def test_damaged_in_transit_it_ends_clearly_with_another_digit_in(tmp_path):
    """Any of the numbers that tell how the image is put together: no image is loaded that is not the one that was built."""
    text = RUNTIME.read_text()
    begin, end = re.search(r'^    "%s": \((.*?), """$' % os.uname().machine, text, re.MULTILINE).span(1)
    for place in (i for i in range(begin, end) if text[i].isdigit()):
        other = str(int(text[place]) % 9 + 1)
        (tmp_path / "damaged.py").write_text(text[:place] + other + text[place + 1:])
        ended = run(tmp_path / "damaged.py", "--version")
        assert ended.returncode == EXIT_UNFIT and "damaged" in ended.stderr, (place - begin, ended.stderr)


@pytest.mark.parametrize("part", ["#'", '#"'], ids=["that are wanted where it serves", "of a desk"])
def test_cut_off_among_the_commands_it_is_no_file_that_does_nothing(tmp_path, part):
    text = RUNTIME.read_text()
    begin = text.index("\n" + part)
    for size in (begin, begin + 1, begin + 5000):
        (tmp_path / "cut.py").write_text(text[:size])
        ended = run(tmp_path / "cut.py", "--version")
        assert ended.returncode == 1 and re.search("^(Syntax|Indentation)Error", ended.stderr, re.MULTILINE), ended.stderr


@pytest.mark.parametrize("part", ["#'", '#"'], ids=["that are wanted where it serves", "of a desk"])
@pytest.mark.parametrize("length", [0, 1], ids=["another digit in", "a digit less in"])
def test_damaged_in_transit_it_ends_clearly_with_commands(tmp_path, part, length):
    text = RUNTIME.read_text()
    place = text.index("\n" + part) + 500
    other = "!" if text[place] != "!" else "A"
    (tmp_path / "damaged.py").write_text(text[:place] + other * (1 - length) + text[place + 1:])
    ended = run(tmp_path / "damaged.py", "help", "call")
    assert ended.returncode == EXIT_UNFIT, ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and "its commands are damaged" in ended.stderr


def test_handlers_of_this_suite_are_found():
    """A wrong folder would make many tests pass for the wrong reason."""
    assert (HANDLERS / "answers.py").exists()
