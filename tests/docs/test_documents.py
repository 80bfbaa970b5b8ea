"""Every document does what it says: its commands run, their output is what is printed there, its links lead somewhere."""
import json
import re
import subprocess
import sys

import pytest
import yaml

from docs import blocks as reader
from harness.runtime import PYTHON, REPOSITORY, RUNTIME, skip_unless_importable

DOCUMENTS = sorted({
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "examples/**/*.md")
    for path in REPOSITORY.glob(pattern)})
# What may be shown without being run, once it says why.
REASONS = ("needs a cluster", "needs kubectl", "builds the project", "takes minutes", "needs the network", "not this system")
# What the blocks of a page import beyond the standard library.
LIBRARIES = {"docs/recipes.md": ("numpy", "sentry_sdk", "opentelemetry.sdk")}


def blocks_of(name):
    return reader.read(REPOSITORY / name)[0]


def test_there_are_documents():
    assert {"README.md", "SECURITY.md", "docs/README.md", "docs/configuration.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_commands_run_and_print_what_is_shown(name):
    blocks = blocks_of(name)
    if not any(block.is_command for block in blocks):
        return  # whether it should have some is what the next test counts
    skip_unless_importable(*LIBRARIES.get(name, ()))
    ran = reader.run(blocks, RUNTIME, PYTHON)
    assert ran.code == 0, "%s: the block at line %s failed: %s" % (name, ran.last_begun, ran.errors[-2000:])
    before = None
    for block in blocks:
        if block.is_command:
            assert block.line in ran.printed, "%s: the block at line %d did not run" % (name, block.line)
            before = block
        elif block.is_output:
            assert before is not None, "%s: line %d shows the output of nothing" % (name, block.line)
            assert ran.printed[before.line] == block.text, "%s, line %d" % (name, block.line)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_block_says_what_it_is(name):
    blocks, indented = reader.read(REPOSITORY / name)
    assert not indented, "%s: code without a fence at lines %s" % (name, indented)
    for block in blocks:
        where = "%s, line %d" % (name, block.line)
        assert block.language in ("sh", "python", "text", "json", "yaml", "c", "http"), where
        if block.language in ("sh", "python"):
            known = not block.argument or re.fullmatch(r"file=[\w./-]+", block.argument) or block.norun in REASONS
            assert known, "%s: %r" % (where, block.argument)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.text))
        else:
            assert block.argument in ("", "output"), where


def test_more_is_run_than_shown(capsys):
    """The count, by document, goes into the report: nothing is skipped in silence."""
    ran = shown = 0
    with capsys.disabled():
        for name in DOCUMENTS:
            commands = [block for block in blocks_of(name) if block.language in ("sh", "python")]
            kept = [block.norun for block in commands if block.norun is not None]
            if commands:
                print("\n%s: %d blocks run or written, %d shown only%s" % (
                    name, len(commands) - len(kept), len(kept), " (%s)" % ", ".join(kept) if kept else ""), end="")
            ran, shown = ran + len(commands) - len(kept), shown + len(kept)
        print()
    assert ran > shown, (ran, shown)


# -- links ------------------------------------------------------------------------------------------------------------------

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(path):
    """The anchors of a document's headings, as code hosts make them."""
    found = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = re.sub(r"[`*]", "", line.lstrip("#").strip().lower())
            found.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name):
    path = REPOSITORY / name
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        assert other.exists(), "%s links to %s" % (name, target)
        assert not anchor or anchor in anchors(other), "%s links to %s" % (name, target)


def test_every_document_is_listed_in_the_index():
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    for path in sorted((REPOSITORY / "docs").glob("*.md")):
        if path.name != "README.md":
            assert "(%s)" % path.name in index, path
    assert "(decisions/)" in index


# -- what the documents say of the sources ------------------------------------------------------------------------------


def test_the_picture_of_the_sources_names_every_file():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    picture = re.search(r"^```text\n(app/ .*?)^```", text, re.MULTILINE | re.DOTALL).group(1)
    folders = dict(re.findall(r"^(\w+)/ +(.*?)(?=^\w+/|\Z)", picture, re.MULTILINE | re.DOTALL))
    for folder in (path for path in (REPOSITORY / "src").iterdir() if path.is_dir()):
        names = {path.name.split(".")[0] for path in folder.iterdir() if path.is_file()}
        assert not [name for name in sorted(names) if not re.search(r"\b%s\b" % name, folders[folder.name])], folder.name
    named = set(re.findall(r"^  ((?:\w+ )+) ", picture, re.MULTILINE))
    known = {path.name.split(".")[0] for path in (REPOSITORY / "src").rglob("*")} | {path.name for path in (REPOSITORY / "src").iterdir()}
    assert not set(" ".join(named).split()) - known, "files that are gone"


# words that were used for these before: scoreboard, fdholder, fdstore, stored, fallback acceptor, peek, recover, client
OLD_WORDS = re.compile(r"\b(status page|keeper|park|parks|parked|parking|unparked|glance|rescue|rescued|dial|dials)\b", re.IGNORECASE)


def test_there_is_one_word_for_each_thing():
    """The glossary's, in docs/architecture.md; decisions keep the words of their time."""
    named = subprocess.run(["git", "ls-files", "src", "tests", "docs", "bench", "tools", "*.md"], cwd=REPOSITORY, capture_output=True,
                           text=True, check=True).stdout.splitlines()
    found = []
    for name in named:
        path = REPOSITORY / name
        if name.startswith("docs/decisions") or name in ("CHANGELOG.md", "tests/docs/test_documents.py") or not path.is_file():
            continue
        text = re.sub(r"decisions/[\w-]+", "", path.read_text(encoding="utf-8", errors="replace"))
        found += ["%s: %s" % (name, match.group(0)) for match in OLD_WORDS.finditer(text)]
    assert not found


def test_comments_cite_documents_that_are_here():
    cited = subprocess.run(["git", "grep", "-ohE", "docs/[a-zA-Z0-9_/-]+\\.md", "--", "src", "tests", "bench", "fuzz", "tools"],
                           cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    assert cited and not [name for name in sorted(set(cited)) if not (REPOSITORY / name).is_file()]
    elsewhere = subprocess.run(["git", "grep", "-nE", "wire contract|design section|faults? [A-Z][0-9]", "--", "src"], cwd=REPOSITORY,
                               capture_output=True, text=True, check=False).stdout
    assert not elsewhere


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not name.startswith("docs/decisions") and name != "CHANGELOG.md"])
def test_files_that_are_named_exist(name):
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:c|h|def|py|sh|txt))`", (REPOSITORY / name).read_text(encoding="utf-8")))
    places = [REPOSITORY, REPOSITORY / "src", REPOSITORY / "tests", (REPOSITORY / name).parent]
    built = {"dist/asya_runtime.py", "/opt/asya/asya_runtime.py"}
    assert not [file for file in sorted(named - built) if not any((place / file).exists() for place in places)]


def test_the_map_of_the_tests_names_every_folder():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir() and any(path.glob("*.*"))}
    described = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE))))
    assert folders - {"__pycache__"} <= described


# -- what the documents say of the program -------------------------------------------------------------------------------


def runtime_help():
    return subprocess.run([PYTHON, str(RUNTIME), "--help"], capture_output=True, text=True, check=True, env={}).stdout


def test_the_table_of_settings_is_the_programs_own():
    tool = REPOSITORY / "tools" / "gen_configuration.py"
    ended = subprocess.run([sys.executable, str(tool), "--check", "--runtime", str(RUNTIME)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_every_error_category_is_documented():
    codes = re.findall(r'ERROR_CATEGORY\(\w+, "(\w+)"\)', (REPOSITORY / "src/base/errors.def").read_text())
    assert len(codes) == 9
    for name in ("README.md", "docs/errors.md", "docs/protocol.md"):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert not [code for code in codes if not re.search('[`"]%s[`"]' % code, text)], name


def test_every_exit_code_is_documented():
    exits = dict(re.findall(r"(EXIT_\w+) = (\d+),", (REPOSITORY / "src/base/exits.h").read_text()))
    own = set(exits.values()) - {"0", "76"}  # 76 is a worker's, never this process's
    text = (REPOSITORY / "docs/errors.md").read_text(encoding="utf-8")
    table = text[text.index("## Exit codes"):]
    assert own <= set(re.findall(r"^\| (\d+)", table, re.MULTILINE)), own


def test_every_command_is_documented():
    commands = re.findall(r"^  ([a-z-]+) +\w.*\n +asya_runtime.py", runtime_help(), re.MULTILINE)
    assert {"probe", "configmap", "call", "run"} <= set(commands)
    text = (REPOSITORY / "docs/commands.md").read_text(encoding="utf-8")
    assert not [command for command in commands if "asya_runtime.py %s" % command not in text]


def test_variables_named_anywhere_exist():
    """A variable of the runtime that a document names is in the program's table, or said to be somebody else's."""
    known = set(re.findall(r"^  (ASYA_\w+)", runtime_help(), re.MULTILINE))
    others = {"ASYA_LOAD", "ASYA_WORKER", "ASYA_CHUNK_SIZE", "ASYA_RUNTIME_TIMEOUT", "ASYA_RESILIENCY_ACTOR_TIMEOUT", "ASYA_IGNORE_DECORATORS", "ASYA_MSG_ROOT", "ASYA_PARAMS_AT",
              "ASYA_RESULT_AT", "ASYA_RESULT_MERGE", "ASYA_TEST_PYTHON", "ASYA_RUNTIME", "ASYA_TEST_SEED", "ASYA_TEST_EXAMPLES", "ASYA_TEST_STATE_BYTES"}
    for name in DOCUMENTS:
        if name.startswith("docs/decisions") or name == "CHANGELOG.md":
            continue
        named = set(re.findall(r"\bASYA_[A-Z_]+[A-Z]\b", (REPOSITORY / name).read_text(encoding="utf-8")))
        assert named <= known | others, (name, named - known - others)
