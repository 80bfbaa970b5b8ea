"""The fenced blocks of a Markdown document, and a run of its commands as a reader would type them.

The word after the language says what becomes of a block:

    ```sh                    typed into one shell, document by document, in an empty folder with asya_runtime.py
    ```sh norun: REASON      shown only; counted, with its reason, in the test's report
    ```python                run by python3 in that folder
    ```python file=NAME      written to that file
    ```text output           what the block before it printed to standard output, exactly
    ```text, json, yaml ...  shown only; json and yaml must parse
"""
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import textwrap

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
READY = "listening on"
PATIENCE = 120  # seconds for a whole document


@dataclasses.dataclass
class Block:
    """One fenced block: where it stands, its language, the rest of its first line, its text."""

    line: int
    language: str
    argument: str
    text: str

    @property
    def norun(self):
        """The reason it is only shown, or None."""
        return self.argument[len("norun:"):].strip() if self.argument.startswith("norun:") else None

    @property
    def is_command(self):
        return self.language in ("sh", "python") and self.norun is None and not self.argument.startswith("file=")

    @property
    def is_output(self):
        return self.language == "text" and self.argument == "output"


def read(path):
    """All blocks of a document, and the lines that are indented like code without a fence."""
    blocks, indented, fence, started, body = [], [], None, 0, []
    previous = ""
    for number, line in enumerate(pathlib.Path(path).read_text(encoding="utf-8").splitlines(), 1):
        match = FENCE.match(line)
        if fence is None and match:
            fence, started, body = match, number, []
        elif fence is not None and match and not match["info"]:
            language, _, argument = fence["info"].partition(" ")
            blocks.append(Block(started, language, argument.strip(), textwrap.dedent("\n".join(body)) + "\n"))
            fence = None
        elif fence is not None:
            body.append(line)
        elif line.startswith("    ") and not previous.strip():
            indented.append(number)
        previous = line
    assert fence is None, "%s: the fence of line %d is not closed" % (path, started)
    return blocks, indented


def _script(blocks, folder):
    """One bash script: each command block between marks on standard output."""
    parts = ["set -e"]
    for block in blocks:
        if block.argument.startswith("file="):
            text = folder / ("block-%d" % block.line)
            text.write_text(block.text, encoding="utf-8")
            parts.append("cp %s %s" % (text, block.argument[len("file="):]))
        elif block.is_command:
            parts.append("printf '\\001begin %d\\n'" % block.line)
            if block.language == "python":
                source = folder / ("block-%d" % block.line)
                source.write_text(block.text, encoding="utf-8")
                parts.append("python3 - < %s" % source)
            else:
                parts.append(block.text)
                if any(line.rstrip().endswith("&") for line in block.text.splitlines()):
                    parts.append(_WAIT)
            parts.append("printf '\\001end %d\\n'" % block.line)
    return "\n".join(parts) + "\n"


# A reader looks at the terminal before typing on.
_WAIT = ("_seen=${_seen:-0}; for _ in $(seq 200); do _now=$(grep -c '%s' \"$DOCS_LOG\" || true); "
         "[ \"$_now\" -gt \"$_seen\" ] && break; sleep 0.05; done; _seen=$_now" % READY)


class Run:
    """How the commands of one document went: exit code, what each block printed, the terminal's errors."""

    def __init__(self, code, output, errors):
        self.code, self.errors = code, errors
        self.printed = {}
        self.last_begun = None
        for part in output.split("\001")[1:]:
            word, _, rest = part.partition(" ")
            line, _, text = rest.partition("\n")
            if word == "begin":
                self.last_begun = int(line)
                self.printed[int(line)] = text


def run(blocks, runtime, python):
    """Runs the command blocks of one document in a new folder that holds asya_runtime.py alone."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="asya-docs-", dir="/tmp"))
    folder, hidden = home / "work", home / "hidden"
    folder.mkdir()
    hidden.mkdir()
    shutil.copy(runtime, folder / "asya_runtime.py")
    log = hidden / "log"
    names = hidden / "bin"
    names.mkdir()
    # not a link, which would not find the libraries of a virtual environment
    (names / "python3").write_text('#!/bin/sh\nexec %s "$@"\n' % shlex.quote(str(python)), encoding="utf-8")
    (names / "python3").chmod(0o755)
    environment = {"PATH": "%s:%s" % (names, os.environ.get("PATH", "/usr/bin:/bin")), "HOME": str(home),
                   "LANG": "C.UTF-8", "DOCS_LOG": str(log), "PYTHONDONTWRITEBYTECODE": "1"}
    script = hidden / "script"
    script.write_text("trap 'code=$?; set +e; kill $(jobs -p) 2>/dev/null; wait; exit $code' EXIT\n" + _script(blocks, hidden), encoding="utf-8")
    try:
        with open(log, "wb") as errors:
            ended = subprocess.run(["bash", str(script)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=errors, timeout=PATIENCE, check=False)
        return Run(ended.returncode, ended.stdout.decode(), log.read_text(encoding="utf-8", errors="replace"))
    finally:
        shutil.rmtree(home, ignore_errors=True)
