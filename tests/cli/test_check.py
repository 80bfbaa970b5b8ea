"""`asya_runtime.py check`: what a start would find, and the exit code it would end with, without a socket."""
import os
import subprocess

import pytest

from harness.runtime import HANDLERS, PYTHON, RUNTIME

SHAPES = '''
import dataclasses
import functools

@dataclasses.dataclass
class Order:
    number: int

def typed(order: Order):
    return order.number

def misspelt(order: "Oder"):
    return order

def plain(payload: dict) -> dict:
    return payload

async def waits(payload):
    return payload

def yields(payload):
    yield payload

async def streams(payload):
    yield payload

class Model:
    def predict(self, payload):
        return payload

    async def answer(self, payload):
        return payload

class Callable:
    def __call__(self, payload):
        return payload

class Pair(tuple):
    def __call__(self, payload):
        return payload

instance = Callable()
pair = Pair((1, 2))
bound = functools.partial(plain)
builtin = len
'''


def check(folder, *arguments, **settings):
    # a marked socket path: nothing may appear there
    env = {"PYTHONPATH": "%s:%s" % (folder, HANDLERS), "ASYA_SOCKET_PATH": str(folder / "run" / "s"), **settings}
    return subprocess.run([PYTHON, str(RUNTIME), "check", *arguments], env=env, capture_output=True, text=True, timeout=20,
                          cwd=folder, check=False)


@pytest.mark.parametrize("name, found", [
    ("shapes:plain", "a function: (payload: dict) -> dict"),
    ("shapes:typed", "a function: (order: shapes.Order); payloads are validated by its annotation"),
    ("shapes:waits", "an async function: (payload)"),
    ("shapes:yields", "a generator: (payload)"),
    ("shapes:streams", "an async generator: (payload)"),
    ("shapes:Model.predict", "a method: (payload)"),
    ("shapes:Model.answer", "an async function: (payload)"),
    ("shapes:instance", "an object that can be called: (payload)"),
    ("shapes:pair", "an object that can be called: (payload)"),
    ("shapes:bound", "an object that can be called: (payload: dict) -> dict"),
    ("shapes:builtin", "an object that can be called: (obj, /)"),
])
def test_it_says_what_was_found(short_folder, name, found):
    (short_folder / "shapes.py").write_text(SHAPES)
    ended = check(short_folder, ASYA_PROCESS_MODULE=name)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "%s is %s\n" % (name, found), "")
    assert not os.path.exists(short_folder / "run")


def test_an_annotation_that_cannot_be_resolved_is_found(refuse, short_folder):
    (short_folder / "shapes.py").write_text(SHAPES)
    ended = check(short_folder, ASYA_PROCESS_MODULE="shapes:misspelt")
    refusal = refuse("shapes:misspelt", env={"PYTHONPATH": str(short_folder)})
    assert ended.returncode == refusal.code == 71
    [cause] = [line for line in ended.stderr.splitlines() if " ERROR " in line]
    assert cause.partition(" ERROR ")[2] == refusal.cause


def test_it_finds_a_module_in_the_working_directory_as_a_start_does(short_folder):
    (short_folder / "here.py").write_text("def process(payload): return payload\n")
    ended = check(short_folder, ASYA_PROCESS_MODULE="here", PYTHONPATH="")
    assert (ended.returncode, ended.stdout) == (0, "here is a function: (payload)\n")


def test_without_a_function_it_says_that_messages_are_echoed(short_folder):
    ended = check(short_folder)
    assert ended.returncode == 0 and "echoed" in ended.stdout


@pytest.mark.parametrize("name, code", [
    ("broken.syntax", 65), ("nowhere", 66), ("broken.needing", 66), ("answers:nothing_there", 67), ("answers:__name__", 68),
    ("broken.raising", 71), ("broken.exiting", 71), ("a:b:c", 64)])
def test_it_ends_as_a_start_would(runtime, refuse, short_folder, name, code):
    """The same code and the same cause line as a start that is refused."""
    ended = check(short_folder, ASYA_PROCESS_MODULE=name)
    assert (ended.returncode, ended.stdout) == (code, "")
    causes = [line for line in ended.stderr.splitlines() if " ERROR " in line]
    refusal = refuse(name)
    assert refusal.code == code and len(causes) == 1
    assert causes[0].partition(" ERROR ")[2] == refusal.cause


def test_wrong_arguments_and_settings_are_refused(short_folder):
    ended = check(short_folder, "handler")
    assert ended.returncode == 64 and "usage: asya_runtime.py check" in ended.stderr
    ended = check(short_folder, ASYA_WORKERS="0")
    assert ended.returncode == 64 and "ASYA_WORKERS" in ended.stderr and "Traceback" not in ended.stderr
