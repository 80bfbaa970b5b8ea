"""`asya_runtime.py check`: what a start would find, and the exit code it would end with, without a socket."""
import os
import re
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
    return subprocess.run([PYTHON, str(RUNTIME), "check", "--brief", *arguments], env=env, capture_output=True, text=True, timeout=20,
                          cwd=folder, check=False)


def cause_of(ended):
    """The one ERROR line, without its time."""
    [cause] = [line for line in ended.stderr.splitlines() if " ERROR " in line]
    return cause.partition(" ERROR ")[2]


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


ANNOTATED = """
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from nowhere import Frame

def first(payload: Frame): return payload
def second(payload: dict, frame: Frame = None): return payload
def returned(payload: dict) -> Frame: return payload
"""


@pytest.mark.parametrize("name, warned", [("first", True), ("second", False), ("returned", False)])
def test_an_annotation_for_type_checkers_alone_is_no_refusal(runtime, short_folder, name, warned):
    """Only the first parameter's annotation is of use, and where it cannot be resolved payloads stay as they are."""
    (short_folder / "annotated.py").write_text(ANNOTATED)
    ended = check(short_folder, ASYA_PROCESS_MODULE="annotated:" + name)
    assert ended.returncode == 0 and ("cannot be resolved" in ended.stderr) == warned
    expected = ["WARNING .*'payload' cannot be resolved .*Frame"] if warned else []
    with runtime("annotated:" + name, env={"PYTHONPATH": str(short_folder)}, expect_log=expected) as server:
        assert server.result({"a": 1}) == {"a": 1}


SIGNATURES = """
import functools

def none(): return 1
def two(event, context): return 1
def three(a, b, c, d=1): return 1
def keyword(payload, *, flag): return 1
def keywords(**payload): return 1
class Counter:
    def method(payload): return 1
    def nothing(): return 1
    def __call__(self, payload): return 1
    @staticmethod
    def static(): return 1
class Model:
    def __init__(self): pass
    def _load(self): pass
    size = 3
    def predict(self, payload): return 1
class Bare: pass
partial = functools.partial(three, b=1)

def fits(payload): return 1
def fits_default(payload=None): return 1
def fits_more(payload, model=None, *rest, flag=False, **others): return 1
def fits_rest(*payload): return 1
@functools.lru_cache()
def fits_wrapped(payload): return 1
class Fit:
    def method(self, payload): return 1
    def rest(*payload): return 1
    @staticmethod
    def static(payload): return 1
    @classmethod
    def klass(cls, payload): return 1
    def __call__(self, payload): return 1
fits_instance = Fit()
fits_partial = functools.partial(two, context=1)
fits_first = functools.partial(two, 1)
fits_builtin = len
"""


@pytest.mark.parametrize("name, reason", [
    ("none", "takes no argument"), ("two", "needs 2 arguments, .*give 'context' a default"),
    ("three", "needs 3 arguments, .*give 'b' and those after it a default"), ("keyword", "the keyword argument 'flag'"),
    ("keywords", "takes keyword arguments only"), ("Counter.method", r"\(self, payload\)"),
    ("Counter.nothing", r"\(self, payload\)"), ("Counter.static", "takes no argument"),
    ("Counter", "is a class, .*'Counter.__call__'"), ("Model", "is a class, .*'Model.predict'"), ("Bare", "is a class, .*'Bare.process'"), ("partial", "cannot be called with one argument")])
def test_what_cannot_be_called_with_a_payload_is_refused(refuse, short_folder, name, reason):
    (short_folder / "signatures.py").write_text(SIGNATURES)
    ended = check(short_folder, ASYA_PROCESS_MODULE="signatures:" + name)
    assert ended.returncode == 68 and re.search(reason, ended.stderr), ended.stderr
    refusal = refuse("signatures:" + name, env={"PYTHONPATH": str(short_folder)})
    assert refusal.code == 68 and refusal.cause in ended.stderr


@pytest.mark.parametrize("name", [
    "fits", "fits_default", "fits_more", "fits_rest", "fits_wrapped", "Fit.method", "Fit.rest", "Fit.static", "Fit.klass",
    "Fit.__call__", "fits_instance", "fits_partial", "fits_first", "fits_builtin"])
def test_what_can_be_called_with_a_payload_is_taken(short_folder, name):
    (short_folder / "signatures.py").write_text(SIGNATURES)
    ended = check(short_folder, ASYA_PROCESS_MODULE="signatures:" + name)
    assert ended.returncode == 0, ended.stderr


TREE = {"tree/__init__.py": "", "tree/models/__init__.py": "", "tree/models/cats.py": """
def process(payload): return 1
class lower:
    def method(self, payload): return 1
class Upper:
    def method(self, payload): return 1
"""}


@pytest.mark.parametrize("name", ["tree.models.cats.process", "tree.models.cats.lower.method", "tree.models.cats.Upper.method"])
def test_a_name_of_dots_is_split_where_the_module_ends(short_folder, name):
    for path, text in TREE.items():
        (short_folder / path).parent.mkdir(parents=True, exist_ok=True)
        (short_folder / path).write_text(text)
    ended = check(short_folder, ASYA_HANDLER=name)
    assert ended.returncode == 0 and ended.stdout.startswith(name + " is a "), ended.stderr


@pytest.mark.parametrize("settings, code, words", [
    ({"ASYA_HANDLER": ".process"}, 64, ["ASYA_HANDLER is '.process'", "pkg.module.func"]),
    ({"ASYA_HANDLER": "process"}, 64, ["ASYA_HANDLER is 'process'", "pkg.module.func"]),
    ({"ASYA_HANDLER": "shapes.plain.x"}, 67, ["ASYA_HANDLER", "'plain' has no attribute 'x'"]),
    ({"ASYA_HANDLER": "nowhere.at.all"}, 66, ["ASYA_HANDLER", "'nowhere'"]),
    ({"ASYA_PROCESS_MODULE": "shapes.plain"}, 66, ["write ASYA_PROCESS_MODULE=shapes:plain"]),
    ({"ASYA_PROCESS_MODULE": "shapes.py:plain"}, 64, ["is a file: write 'shapes:plain', with its folder on PYTHONPATH"]),
    ({"ASYA_PROCESS_MODULE": "./app/shapes.py"}, 64, ["is a file: write 'shapes'"]),
    ({"ASYA_HANDLER": "app/shapes.py"}, 64, ["is a file: write 'shapes.process'"]),
    ({"ASYA_PROCESS_MODULE": "shapes:plain", "ASYA_MEMORY_LIMIT": "80"}, 64, ["ASYA_MEMORY_LIMIT is '80', should be a number of bytes (512Mi)"]),
    ({"ASYA_PROCESS_MODULE": "shapes:plian"}, 67, ["near to it: plain", "loaded from", "shapes.py"]),
    ({"ASYA_HANDLER": ""}, 64, ["ASYA_HANDLER is set but empty"])])
def test_a_wrong_name_says_what_to_write(short_folder, settings, code, words):
    (short_folder / "shapes.py").write_text(SHAPES)
    ended = check(short_folder, **settings)
    assert ended.returncode == code, ended.stderr
    for word in words:
        assert word in cause_of(ended)


def test_it_finds_a_module_in_the_working_directory_as_a_start_does(short_folder):
    (short_folder / "here.py").write_text("def process(payload): return payload\n")
    ended = check(short_folder, ASYA_PROCESS_MODULE="here", PYTHONPATH="")
    assert (ended.returncode, ended.stdout) == (0, "here is a function: (payload)\n")


def test_a_module_that_asks_for_its_workers_number_loads_as_in_a_start(short_folder):
    (short_folder / "numbered.py").write_text("import os\nGPU = int(os.environ['ASYA_WORKER'])\ndef process(payload): return GPU\n")
    ended = check(short_folder, ASYA_PROCESS_MODULE="numbered")
    assert (ended.returncode, ended.stdout) == (0, "numbered is a function: (payload)\n")


def test_the_report_has_what_a_support_person_asks_for(short_folder):
    (short_folder / "here.py").write_text("def process(payload): return payload\n")
    path = str(short_folder / "run" / "s")
    ended = subprocess.run([PYTHON, str(RUNTIME), "check", "here", "--workers", "2"], capture_output=True, text=True, timeout=20,
                           cwd=short_folder, check=False, env={"ASYA_SOCKET_PATH": path, "PATH": os.environ["PATH"]})
    assert (ended.returncode, ended.stderr) == (0, "")
    first, rest = ended.stdout.split("\n", 1)
    assert first == "here is a function: (payload)"
    for words in (r"runtime +\d", r"Python +3\.", r"system +Linux", r"descriptors +\d", r"memory +container: ", r"quota: ",
                  r"socket +%s\n" % path, r"its folder +.*a start can make it", r"ASYA_WORKERS +2\n",
                  r"ASYA_CONCURRENCY +1\n"):
        assert re.search(words, rest), (words, rest)


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
    refusal = refuse(name)
    assert refusal.code == code and cause_of(ended) == refusal.cause


def test_wrong_arguments_and_settings_are_refused(short_folder):
    ended = check(short_folder, "--handlr", "x")
    assert ended.returncode == 64 and "did you mean --handler?" in ended.stderr
    ended = check(short_folder, ASYA_WORKERS="0")
    assert ended.returncode == 64 and "ASYA_WORKERS" in ended.stderr and "Traceback" not in ended.stderr


def test_a_misspelt_setting_is_warned_of(runtime, short_folder):
    ended = check(short_folder, ASYA_WORKER="2", ASYA_HANDLER_RESIZE="x", ASYA_RABBITMQ_URL="amqp://user:secret@host")
    assert ended.returncode == 0 and "did you mean ASYA_WORKERS?" in ended.stderr
    assert ended.stderr.count("WARNING") == 1 and "secret" not in ended.stderr
    with runtime("answers:echo", env={"ASYA_WORKER": "2"}, expect_log=["WARNING .*ASYA_WORKER .*did you mean ASYA_WORKERS"]):
        pass
