"""Annotations that are made only when somebody asks: those of CPython 3.14, and before it those of `from __future__`. They may
name what is defined further down, and what only type checkers see; only the first parameter's need be there."""
import subprocess

import pytest

from harness.runtime import EXIT_NOT_CALLABLE, PYTHON

SOURCE = """
import dataclasses, functools, typing
if typing.TYPE_CHECKING:
    from nowhere import Hidden

def later(payload: Later) -> Hidden: return payload.x
def another(payload: Later, more: Hidden = None): return payload.x
def optional(payload: typing.Optional[Later]) -> "Hidden": return payload.x
def deep(payload: typing.Dict[str, Later]) -> typing.Dict[str, Hidden]: return payload["a"].x
async def waits(payload: Later) -> Hidden: return payload.x
def yields(payload: Later) -> Hidden: yield payload.x
def hidden(payload: Hidden): return payload
def field(payload: Field): return payload

@functools.wraps(later)
def wrapped(*arguments): return later(*arguments)

class Kind:
    def method(self, payload: Later) -> Hidden: return payload.x
    def __call__(self, payload: Later) -> Hidden: return payload.x

called = Kind()

@dataclasses.dataclass
class Later:
    x: int
    nested: typing.Optional[Nested] = None

@dataclasses.dataclass
class Nested:
    y: int

@dataclasses.dataclass
class Field:
    x: int
    hidden: Hidden
"""
PAYLOAD = {"x": 7, "nested": {"y": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the module `notes` is."""
    deferred = subprocess.run([PYTHON, "-c", "import annotationlib"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    made = tmp_path_factory.mktemp("notes")
    made.parent.chmod(0o755)
    made.chmod(0o755)
    (made / "notes.py").write_text(("" if deferred else "from __future__ import annotations") + SOURCE)
    return made


RESULTS = {"later": 7, "another": 7, "optional": 7, "deep": 7, "waits": 7, "yields": [7], "wrapped": 7, "Kind.method": 7, "called": 7}


@pytest.mark.parametrize("name, result", RESULTS.items(), ids=RESULTS)
def test_the_first_parameters_is_read(runtime, folder, name, result):
    with runtime("notes:" + name, cwd=folder, worker_descriptors=True) as server:
        assert server.result({"a": PAYLOAD} if name == "deep" else PAYLOAD) == result


def test_one_that_is_not_there_is_a_warning(runtime, folder):
    with runtime("notes:hidden", cwd=folder, expect_log=["WARNING .*'payload' cannot be resolved .*Hidden"]) as server:
        assert server.result(PAYLOAD) == PAYLOAD


def test_a_field_that_is_not_there_is_named(refuse, folder):
    refusal = refuse("notes:field", cwd=folder)
    assert refusal.code == EXIT_NOT_CALLABLE
    assert "field 'hidden' of Field" in refusal.cause and "Hidden" in refusal.cause
