"""The build: the same bytes wherever it runs, and a check of the image that finds what it is there to find."""
import os
import re
import shutil
import subprocess
import sys

import pytest

from harness.runtime import REPOSITORY


def run(words, **options):
    """A command that must succeed; returns what it printed."""
    ended = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=300, check=False, **options)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def sources():
    """What a clone would hold: everything that git does not ignore."""
    return run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY).split("\n")[:-1]


def test_two_folders_give_the_same_bytes(tmp_path):
    """Of the file, and so of both images in it: neither the folder nor time, language, user or umask leave a trace."""
    copy = tmp_path / "a folder with another name" / "asya"
    for name in sources():
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
    other = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TZ": "Asia/Tokyo", "LC_ALL": "C", "USER": "somebody"}
    run(["tools/release.sh", "build/else", "out"], cwd=copy, env=other, umask=0o077)
    run(["tools/release.sh", "build/release", tmp_path / "here"], cwd=REPOSITORY)
    for name in ("asya_runtime.py", "asya_runtime.py.sha256"):
        assert (copy / "out" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    run(["sha256sum", "--check", "asya_runtime.py.sha256"], cwd=copy / "out")


def test_uv_installs_what_the_set_up_does():
    """pyproject.toml's group of dependencies, which `uv run` takes, and tests/requirements.txt."""
    group = re.search(r"^dev = \[\n(.*?)^\]", (REPOSITORY / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE).group(1)
    listed = [line.strip().rstrip(",")[1:-1] for line in group.splitlines()]
    wanted = (REPOSITORY / "tests" / "requirements.txt").read_text().splitlines()
    assert listed == [line for line in wanted if not line.startswith("#")]


# -- tools/check_image.py -----------------------------------------------------------------------------------------------

SOUND = ["-shared", "-fPIC", "-nostdlib", "-fvisibility=hidden", "-fcf-protection=full", "-Wl,-z,now,-z,relro,-z,noexecstack",
         "-Wl,-z,noseparate-code,--hash-style=gnu,-s"]
INIT = "#define SHOWN __attribute__((visibility(\"default\")))\n" \
       "int write(int, const void *, unsigned long);\nSHOWN int PyInit__asya(void) { return write(1, \"\", 0); }\n"

FAULTS = {
    "a library it needs": (INIT, ["-Wl,--no-as-needed", "-lm"], "NEEDED"),
    "a name that is not on the list":
        (INIT + "int regexec(void);\nint f(void);\nSHOWN int PyInit__asya2(void) { return regexec(); }", [], "regexec"),
    "a second name it exports": (INIT + "SHOWN int other;\n", [], "exports"),
    "a version record": (INIT.replace("write(1, \"\", 0)", "puts(\"\")").replace("int write", "int puts(const char *);\nint write"),
                         ["-lc"], "versioned"),
    "an executable stack": (INIT, ["-Wl,-z,execstack"], "executable stack"),
    "a writable segment that is executable": (INIT, ["-Wl,-N"], "writable and executable"),
    "addresses resolved late": (INIT, ["-Wl,-z,lazy"], "-z now"),
    "addresses that stay writable": (INIT, ["-Wl,-z,norelro"], "stays writable"),
    "unmarked indirect jumps": (INIT, ["-fcf-protection=none"], "IBT"),
    "a hash table that old loaders know and new ones do not": (INIT, ["-Wl,--hash-style=sysv"], "symbol table"),
    "a search path": (INIT, ["-Wl,-rpath,/tmp", "-Wl,--disable-new-dtags"], "RPATH"),
    "another processor": (INIT, ["-m32", "-march=i686", "-mno-red-zone"], "not built for"),
}


def check(image):
    return subprocess.run([sys.executable, REPOSITORY / "tools" / "check_image.py", "--machine", "x86_64", image],
                          capture_output=True, text=True, timeout=60, check=False)


def compile_image(folder, source, flags):
    (folder / "image.c").write_text(source)
    run(["gcc", "-o", "image.so", "image.c", *SOUND, *flags], cwd=folder)
    return folder / "image.so"


needs_x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="compiles for x86_64")


@needs_x86_64
def test_the_check_takes_a_sound_image(tmp_path):
    ended = check(compile_image(tmp_path, INIT, []))
    assert (ended.returncode, ended.stderr) == (0, "")


@needs_x86_64
@pytest.mark.parametrize("source, flags, word", FAULTS.values(), ids=FAULTS)
def test_the_check_finds(tmp_path, source, flags, word):
    ended = check(compile_image(tmp_path, source, flags))
    assert ended.returncode == 1 and word in ended.stderr, ended.stderr


# -- tools/bundle.py ----------------------------------------------------------------------------------------------------


@needs_x86_64
@pytest.mark.parametrize("size, fits", [(160_000, True), (200_000, False)], ids=["below the limit", "above it"])
def test_a_file_too_large_for_kubectl_is_refused(tmp_path, size, fits):
    """250 KB in all; four bytes become five characters."""
    (tmp_path / "noise").write_bytes(os.urandom(size))
    image = compile_image(tmp_path, INIT + "__asm__(\".section .rodata\\n.incbin \\\"noise\\\"\\n.text\");\n", [])
    image = image.rename(tmp_path / "_asya.abi3.so")
    (tmp_path / "_asya_loader.abi3.so").write_bytes(b"another image")
    ended = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "bundle.py", "--template", REPOSITORY / "inject" / "bootstrap.py",
         "--version", "0", "--image", "x86_64=%s" % image, "--output", tmp_path / "out.py"],
        capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode == 0) == fits == (tmp_path / "out.py").exists(), ended.stderr
    assert fits or "limit" in ended.stderr
