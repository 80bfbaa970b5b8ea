"""The wheel: what is in it, and that it serves in a venv, in a prefix of its own, under uv, on musl and on arm64.

ASYA_TEST_WHEELS names the folder with the wheels; `make wheel-test` builds them and sets it."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from harness import interpreters
from harness.runtime import REPOSITORY, RUNTIME

FOLDER = os.environ.get("ASYA_TEST_WHEELS") and os.path.abspath(os.environ["ASYA_TEST_WHEELS"])
pytestmark = pytest.mark.skipif(not FOLDER, reason="no wheels: make wheel-test builds them")
MACHINES = ["x86_64", "aarch64"]
ECHO_WARNING = ["WARNING .*echo"]


def wheel(machine=os.uname().machine):
    """The one wheel for a processor."""
    [path] = pathlib.Path(FOLDER).glob("asya_runtime-*_%s.whl" % machine)
    return path


def run(*words, **options):
    """A command that must succeed, without what the caller's environment says about Python; returns its output."""
    options.setdefault("env", {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")})
    ended = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=300, check=False, **options)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def version():
    return run(sys.executable, RUNTIME, "--version")


def check_installed(runtime, folder):
    """The command, the module and the import of an installation whose programs are in `folder`."""
    assert run(folder / "asya-runtime", "--version") == version()
    assert run(folder / "python", "-m", "asya_runtime", "--version") == version()
    assert run(folder / "python", "-c", "import asya_runtime as a; print(a.loads(b'[1]'), a.dumps({'a': 2}))") == "[1] b'{\"a\":2}'\n"
    with runtime("snippets:run", python=folder / "python", program=folder / "asya-runtime") as server:
        assert server.result("import asya_runtime\nreturn asya_runtime.loads(b'[7]')") == [7]
        assert server.result("import sys\nreturn '_asya' in sys.modules") is False, "a name of its own only"
    with runtime(None, python=folder / "python", flags=["-m"], program="asya_runtime", expect_log=ECHO_WARNING) as server:
        assert server.result([1]) == [1]


def install(python):
    """Install the wheel with an interpreter's own pip, without an index."""
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", wheel())


PLUGIN_TEST = """
import pytest
from asya_runtime import testing

def test_a_block():
    with testing.serve("handler", workers=2) as runtime:
        assert runtime.call({"text": "hello"}) == {"length": 5}

def test_the_fixture(asya_serve):
    runtime = asya_serve("handler", handler_timeout=5)
    with pytest.raises(testing.CallError) as raised:
        runtime.call({})
    assert raised.value.category == "validation_error" and "text is missing" in runtime.log()
    events = asya_serve("handler:words").exchange({"payload": 1, "route": {"prev": [], "curr": "", "next": []}})
    assert [name for name, _ in events] == ["downstream", "done"]
    with pytest.raises(testing.StartError):
        asya_serve("handler:nothing")
"""
PLUGIN_HANDLER = """
def process(payload):
    if "text" not in payload:
        raise ValueError("text is missing")
    return {"length": len(payload["text"])}

def words(payload):
    yield payload
"""


def test_it_has_the_commands_and_a_plugin_for_pytest(tmp_path):
    place = tmp_path / "place"
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--target", place, wheel())
    (tmp_path / "handler.py").write_text(PLUGIN_HANDLER)
    (tmp_path / "test_plugin.py").write_text(PLUGIN_TEST)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(place)}
    assert run(sys.executable, "-m", "asya_runtime", "call", "handler", '{"text": "ab"}', env=env, cwd=tmp_path) == '{"length":2}\n'
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{"text": "bc"}\n')
    assert run(sys.executable, "-m", "asya_runtime", "run", "handler", "in.jsonl", "-o", "out.jsonl", env=env, cwd=tmp_path) == "2 results in out.jsonl\n"
    assert (tmp_path / "out.jsonl").read_text() == '{"length":1}\n{"length":2}\n'
    assert " passed" in run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plugin.py", env=env, cwd=tmp_path)
    assert (place / "share" / "bash-completion" / "completions" / "asya-runtime").exists()


# -- what is in it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
def test_its_tags_are_the_stable_abi_and_both_kinds_of_libc(machine):
    tags = "cp37-abi3-manylinux_2_17_{0}.manylinux2014_{0}.musllinux_1_1_{0}".format(machine)
    assert wheel(machine).name.split("-", 2)[2] == tags + ".whl"
    with zipfile.ZipFile(wheel(machine)) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/WHEEL")]
        told = archive.read(name).decode().splitlines()
    assert "Root-Is-Purelib: false" in told
    assert {line for line in told if line.startswith("Tag: ")} == {
        "Tag: cp37-abi3-%s_%s" % (kind, machine) for kind in ("manylinux_2_17", "manylinux2014", "musllinux_1_1")}


@pytest.mark.parametrize("machine", MACHINES)
def test_it_carries_the_very_image_of_the_single_file(machine):
    with zipfile.ZipFile(wheel(machine)) as archive:
        digest = hashlib.sha256(archive.read("asya_runtime/_asya.abi3.so")).hexdigest()
    assert "sha256 of the %s image: %s\n" % (machine, digest) in RUNTIME.read_text()


def test_it_has_types_and_nothing_beside_its_package():
    with zipfile.ZipFile(wheel()) as archive:
        names = archive.namelist()
    assert {"asya_runtime/__init__.pyi", "asya_runtime/py.typed"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"asya_runtime"}


# -- where it is installed ----------------------------------------------------------------------------------------------

CPYTHONS = {i.name: i for i in interpreters.found() if i.fit and not i.name.endswith((" on musl", " on arm64"))}


@pytest.mark.parametrize("interpreter", CPYTHONS.values(), ids=CPYTHONS)
def test_it_serves_from_a_venv_of(runtime, tmp_path, interpreter):
    run(interpreter.path, "-m", "venv", tmp_path / "venv")
    install(tmp_path / "venv" / "bin" / "python")
    check_installed(runtime, tmp_path / "venv" / "bin")


def test_it_serves_from_a_prefix_of_its_own_as_conda_makes_them(runtime, tmp_path):
    """A whole interpreter in a folder, without pyvenv.cfg."""
    prefixes = [pathlib.Path(i.path).resolve().parents[1] for i in CPYTHONS.values() if "/versions/" in i.path]
    if not prefixes:
        pytest.skip("no CPython in a prefix of its own on this machine")
    prefix = tmp_path / "conda"
    run("cp", "-a", prefixes[0], prefix)
    python = prefix / "bin" / "python"
    assert run(python, "-c", "import sys; print(sys.prefix == sys.base_prefix, sys.prefix)").split() == ["True", str(prefix)]
    install(python)
    check_installed(runtime, prefix / "bin")


def test_it_installs_from_the_sources(runtime, tmp_path):
    """pip install . compiles it."""
    run("/usr/bin/python3", "-m", "venv", tmp_path / "venv")
    copy = tmp_path / "sources"
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY).splitlines()
    for name in names:
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
    run(tmp_path / "venv" / "bin" / "python", "-m", "pip", "-q", "install", ".", cwd=copy, env=dict(os.environ))
    check_installed(runtime, tmp_path / "venv" / "bin")


UV = pathlib.Path(sys.executable).parent / "uv"


@pytest.fixture
def uv(tmp_path):
    """uv(words...): uv without network, with a cache of its own, in a folder of its own."""
    if not UV.exists():
        pytest.skip("no uv beside this interpreter")
    folder = tmp_path / "project"
    folder.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_OFFLINE": "1",
           "UV_PYTHON": "/usr/bin/python3"}
    return lambda *words: run(UV, *words, cwd=folder, env=env)


def test_uv_runs_it_without_a_project(uv):
    assert version() in uv("run", "--no-project", "--with", wheel(), "asya-runtime", "--version")


def test_uv_runs_it_in_a_project_that_needs_it(uv, tmp_path):
    (tmp_path / "project" / "pyproject.toml").write_text(
        "[project]\nname = 'actor'\nversion = '1'\nrequires-python = '>=3.7'\ndependencies = ['asya-runtime']\n"
        "[tool.uv.sources]\nasya-runtime = {path = '%s'}\n" % wheel())
    assert version() in uv("run", "asya-runtime", "--version")
    assert uv("run", "python", "-c", "import asya_runtime; print(asya_runtime.loads(b'1'))").splitlines()[-1] == "1"


FOREIGN = {"musl": ("on musl", "musllinux_1_1_x86_64"), "arm64": ("on arm64", "manylinux2014_aarch64")}


@pytest.mark.parametrize("kind", FOREIGN)
def test_pip_takes_it_and_it_serves_on(runtime, tmp_path, kind):
    where, platform = FOREIGN[kind]
    found = [i for i in interpreters.found() if i.name.endswith(where)]
    if not found:
        pytest.skip("no CPython %s on this machine" % where)
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--find-links", FOLDER,
        "--only-binary", ":all:", "--platform", platform, "--python-version", "3.7", "--target", tmp_path, "asya-runtime")
    with runtime(None, python=found[0].path, flags=["-m"], program="asya_runtime", env={"PYTHONPATH": str(tmp_path)},
                 expect_log=ECHO_WARNING) as server:
        assert server.result(["\u20ac"]) == ["\u20ac"]


# -- types --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A folder into which the wheel was unpacked."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("target")
    with zipfile.ZipFile(wheel()) as archive:
        archive.extractall(folder)
    return folder


def test_its_stub_says_what_the_module_has(target):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(target), "MYPYPATH": str(target)}
    run(sys.executable, "-m", "mypy.stubtest", "asya_runtime", "--ignore-missing-stub", cwd=target, env=env)


def test_a_type_checker_finds_a_wrong_call(target, tmp_path):
    (tmp_path / "user.py").write_text("import asya_runtime\nasya_runtime.loads(b'1')\nasya_runtime.loads('1')\n")
    ended = subprocess.run([sys.executable, "-m", "mypy", "--no-incremental", "user.py"], cwd=tmp_path, capture_output=True,
                           text=True, check=False, env={"PATH": os.environ["PATH"], "MYPYPATH": str(target)})
    assert ended.returncode == 1 and ended.stdout.count("error:") == 1 and "user.py:3: error" in ended.stdout, ended.stdout
