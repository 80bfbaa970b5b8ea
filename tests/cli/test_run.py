"""`asya_runtime.py run`: a file through the function, complete and without doubles whatever is killed."""
import json
import os
import signal
import subprocess
import time

import pytest

from harness.processes import eventually
from harness.runtime import PYTHON, RUNTIME

HANDLERS = '''
import os
import time

def process(payload):
    kind = payload["n"] % 50
    if kind == 3:
        raise ValueError("three")
    if kind == 5:
        return None
    if payload["n"] % 200 == 7:
        os._exit(3)
    return payload

def waits(payload):
    time.sleep(0.05)
    return payload

async def later(payload):
    import asyncio
    await asyncio.sleep(0.01)
    return payload

def yields(payload):
    yield payload["n"]
    yield "end"

def stuck(payload):
    if payload["n"] == 2:
        time.sleep(60)
    return payload

def raises(payload):
    raise {"memory": MemoryError, "key": KeyError}[payload]("x")

def same(payload):
    return payload
'''


@pytest.fixture
def folder(short_folder):
    (short_folder / "mine.py").write_text(HANDLERS)
    return short_folder


def begin(folder, *arguments, **options):
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder), **options.pop("settings", {})}
    return subprocess.Popen([PYTHON, str(RUNTIME), "run", *arguments], cwd=folder, env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def run(folder, *arguments):
    process = begin(folder, *arguments)
    out, err = process.communicate(timeout=120)
    assert out == "" and "Traceback" not in err
    return process.returncode, err


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(folder, count, name="in.jsonl"):
    (folder / name).write_text("".join('{"n": %d, "text": "some text"}\n' % n for n in range(count)))


@pytest.mark.parametrize("handler, flags, expected", [
    ("mine:same", [], lambda n: {"n": n, "text": "some text"}), ("mine:later", ["--concurrency", "8"], lambda n: {"n": n, "text": "some text"}),
    ("mine:waits", ["--workers", "2", "--concurrency", "4"], lambda n: {"n": n, "text": "some text"}), ("mine:yields", [], lambda n: [n, "end"])])
def test_results_stand_in_the_order_of_the_input(folder, handler, flags, expected):
    numbers(folder, 60)
    code, err = run(folder, handler, "in.jsonl", "-o", "out.jsonl", *flags)
    assert (code, err) == (0, "60 results in out.jsonl\n")
    assert lines(folder / "out.jsonl") == [expected(n) for n in range(60)]
    assert (folder / "out.errors.jsonl").read_text() == "" and not list(folder.glob("asya-run-*"))


def check_all(folder, count):
    """Each line has its result or its error, once, and in order."""
    failed = {n for n in range(count) if n % 50 == 3 or n % 200 == 7}
    expected = [None if n % 50 == 5 else n for n in range(count) if n not in failed]
    assert [result and result["n"] for result in lines(folder / "out.jsonl")] == expected
    errors = lines(folder / "out.errors.jsonl")
    assert [error["line"] - 1 for error in errors] == sorted(failed)
    for error in errors:
        told = ("processing_error", "WorkerExited") if (error["line"] - 1) % 200 == 7 else ("validation_error", "ValueError")
        assert (error["error"], error["type"]) == told and error["input"] == "in.jsonl:%d" % error["line"]


def descendants(pid):
    found = []
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            for child in map(int, file.read().split()):
                found += [child, *descendants(child)]
    except OSError:
        pass
    return found


def test_killed_at_random_and_resumed_it_is_complete_and_nothing_is_twice(folder, dice):
    count, size = 6000, 0
    numbers(folder, count)
    arguments = ["mine:process", "in.jsonl", "-o", "out.jsonl", "--workers", "2"]
    for victim in ("driver", "supervisor", "interrupt", "worker", "driver"):
        process = begin(folder, *arguments)
        out = folder / "out.jsonl"
        # some progress, so that a slow machine does not stay at the beginning for ever
        eventually(lambda: process.poll() is not None or out.exists() and out.stat().st_size > size, 60)
        time.sleep(dice.uniform(0, 0.2))
        found = descendants(process.pid)
        if victim == "interrupt":
            process.send_signal(signal.SIGINT)
        elif victim == "driver":
            process.kill()
        elif found:
            os.kill(found[0] if victim == "supervisor" else found[-1], signal.SIGKILL)
            time.sleep(0.1)
            process.kill()
        process.communicate(timeout=60)
        with open(out, "ab") as file:  # a torn last line, as a full disk or a crash leaves it
            file.write(b'{"n": 1, "te')
        size = out.stat().st_size
    code, err = run(folder, *arguments)
    assert code == 2 and "errors in out.errors.jsonl" in err
    check_all(folder, count)
    assert not list(folder.glob("asya-run-*")), "those of the killed are removed, too"
    code, err = run(folder, *arguments)
    assert code == 2 and "nothing to do: all 6000 lines are done" in err


def test_a_runtime_that_is_killed_is_started_again(folder):
    numbers(folder, 200)
    process = begin(folder, "mine:waits", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4")
    eventually(lambda: (folder / "out.jsonl").exists() and (folder / "out.jsonl").stat().st_size > 200, 60)
    os.kill(descendants(process.pid)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "200 results in out.jsonl\n")
    assert [result["n"] for result in lines(folder / "out.jsonl")] == list(range(200))


KILLED = """
import os
import signal

def process(payload):
    with open("ran-%d" % payload["n"], "a") as file:
        file.write(".")
    if payload["n"] == 5 or payload["n"] == 9 and os.path.getsize("ran-9") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return payload["n"]
"""


def test_a_line_whose_worker_was_killed_by_somebody_runs_again_once(folder):
    (folder / "killed.py").write_text(KILLED)
    numbers(folder, 20)
    assert run(folder, "killed", "in.jsonl", "-o", "out.jsonl")[0] == 2
    [error] = lines(folder / "out.errors.jsonl")
    assert (error["line"], error["type"]) == (6, "WorkerCrashed") and (folder / "ran-5").read_text() == ".."
    assert lines(folder / "out.jsonl") == [n for n in range(20) if n != 5]


def test_what_another_runtime_listens_on_is_left_to_it(folder, runtime):
    numbers(folder, 5)
    path = str(folder / "control")
    with runtime("answers:echo", env={"ASYA_CONTROL_PATH": path}):
        process = begin(folder, "mine:same", "in.jsonl", "-o", "out.jsonl", settings={"ASYA_CONTROL_PATH": path})
        assert process.communicate(timeout=60)[1] == "5 results in out.jsonl\n"


def test_its_runtime_ends_with_it(folder):
    numbers(folder, 1000)
    process = begin(folder, "mine:waits", "in.jsonl", "-o", "out.jsonl")
    eventually(lambda: len(descendants(process.pid)) > 1, 60)
    found = descendants(process.pid)
    process.kill()
    process.communicate()
    eventually(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in found), 60)


def test_ctrl_c_finishes_what_runs_and_says_how_to_go_on(folder):
    numbers(folder, 1000)
    process = begin(folder, "mine:waits", "in.jsonl", "-o", "out.jsonl")
    eventually(lambda: (folder / "out.jsonl").exists() and (folder / "out.jsonl").stat().st_size > 0, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    done = len(lines(folder / "out.jsonl"))
    assert process.returncode == 130 and "stopped after line %d; the same command goes on" % done in err and 0 < done < 1000


BAD = b'{"n": 1}\n\n{"n": 2,\n1,"payload":2\n{"n": 3},"headers":{"a":1}\n"\xff"\n  \n{"n": 4}'


def test_lines_that_are_not_json_are_errors_and_blank_ones_nothing(folder):
    (folder / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + BAD)
    code, _ = run(folder, "mine:same", "in.jsonl", "-o", "out.jsonl", "--numbered")
    assert code == 2
    assert lines(folder / "out.jsonl") == [{"line": 1, "result": {"n": 1}}, {"line": 8, "result": {"n": 4}}]
    told = [(error["line"], error["error"]) for error in lines(folder / "out.errors.jsonl")]
    assert told == [(3, "invalid_json"), (4, "invalid_json"), (5, "invalid_json"), (6, "invalid_encoding")]
    data = (folder / "in.jsonl").read_bytes()
    assert all(data[error["offset"]:].startswith(data.split(b"\n")[error["line"] - 1]) for error in lines(folder / "out.errors.jsonl"))


def test_categories_are_those_of_bare_json(folder):
    (folder / "in.jsonl").write_text('"memory"\n"key"\n"%s"\n' % ("x" * 3000))
    run(folder, "mine:raises", "in.jsonl", "-o", "out.jsonl", "--max-message-size", "2000")
    assert [error["error"] for error in lines(folder / "out.errors.jsonl")] == ["out_of_memory", "processing_error", "message_too_large"]


def test_a_time_limit_is_an_error_of_its_line(folder):
    numbers(folder, 5)
    code, _ = run(folder, "mine:stuck", "in.jsonl", "-o", "out.jsonl", "--handler-timeout", "0.3")
    [error] = lines(folder / "out.errors.jsonl")
    assert code == 2 and (error["line"], error["type"]) == (3, "HandlerTimeout")
    assert [result["n"] for result in lines(folder / "out.jsonl")] == [0, 1, 3, 4]


def test_rows_of_csv_have_the_keys_of_the_header(folder):
    (folder / "in.csv").write_text('\ufeffn,text\n1,a\n2,"b\nc"\n3\n\n4,é\n')
    code, _ = run(folder, "mine:same", "in.csv", "-o", "out.jsonl", "--numbered")
    assert code == 2 and lines(folder / "out.jsonl") == [
        {"line": 2, "result": {"n": "1", "text": "a"}}, {"line": 3, "result": {"n": "2", "text": "b\nc"}},
        {"line": 7, "result": {"n": "4", "text": "é"}}]
    [error] = lines(folder / "out.errors.jsonl")
    assert (error["line"], error["error"], error["message"]) == (5, "invalid_csv", "1 fields, where the header has 2")


TYPED = """
import dataclasses
import typing

@dataclasses.dataclass
class Row:
    number: int
    share: typing.Optional[float]
    text: str
    right: bool = False

def process(row: Row):
    return row

class Model:
    def predict(self, row: Row):
        return row
"""


@pytest.mark.parametrize("handler", ["typed_rows", "typed_rows:Model.predict"])
def test_columns_become_what_the_annotation_says(folder, handler):
    (folder / "typed_rows.py").write_text(TYPED)
    (folder / "in.csv").write_text("number,share,text,right\n1,0.5,7,TRUE\n2,,,no\nx,1,a,1\n")
    run(folder, handler, "in.csv", "-o", "out.jsonl")
    assert lines(folder / "out.jsonl") == [{"number": 1, "share": 0.5, "text": "7", "right": True},
                                           {"number": 2, "share": None, "text": "", "right": False}]
    [error] = lines(folder / "out.errors.jsonl")
    assert error["line"] == 4 and "number: int expected, not str" in error["message"]


MENDED = """
import os

def process(payload):
    if payload["n"] in (3, 7, 11) and not os.path.exists("mended-%d" % payload["n"]):
        raise KeyError(payload["n"])
    return [payload["n"], os.path.exists("mended-3")]
"""


@pytest.mark.parametrize("name, flags", [("in.jsonl", []), ("in.jsonl", ["--numbered"]), ("in.csv", [])])
def test_errors_are_run_again_and_stand_in_their_place(folder, name, flags):
    (folder / "mended.py").write_text(MENDED.replace('payload["n"]', 'int(payload["n"])'))
    numbers(folder, 15)
    text = (folder / "in.jsonl").read_text().replace('{"n": 5', '\n{"n": 5') + "nonsense\n"
    (folder / "in.jsonl").write_text(text)
    (folder / "in.csv").write_text("n,text\n" + "".join("%d,x\n%s" % (n, "\n" if n == 5 else "") for n in range(15)) + "a,b,c\n")
    arguments = ["mended", name, "-o", "out.jsonl", *flags]

    def results():
        found = lines(folder / "out.jsonl")
        return [result["result"] if flags else result for result in found]

    code, err = run(folder, *arguments, "--retry-errors")
    assert code == 64 and "first run it to the end" in err and not (folder / "out.jsonl").exists()
    assert run(folder, *arguments)[0] == 2
    assert [n for n, _ in results()] == [n for n in range(15) if n not in (3, 7, 11)]
    before = lines(folder / "out.errors.jsonl")
    assert run(folder, *arguments, "--retry-errors")[0] == 2 and lines(folder / "out.errors.jsonl") == before
    (folder / "mended-3").write_text("")
    (folder / "mended-7").write_text("")
    assert run(folder, *arguments, "--retry-errors") == (2, "14 results in out.jsonl\n2 errors in out.errors.jsonl\n")
    assert results() == [[n, n in (3, 7)] for n in range(15) if n != 11], "only those ran again"
    assert lines(folder / "out.errors.jsonl") == [error for error in before if error["message"] == "KeyError: 11" or error["error"].startswith("invalid")]
    (folder / "mended-11").write_text("")
    assert run(folder, *arguments, "--retry-errors") == (2, "15 results in out.jsonl\n1 error in out.errors.jsonl\n")
    assert results() == [[n, n in (3, 7, 11)] for n in range(15)]
    assert {path.name for path in folder.glob("out*")} == {"out.jsonl", "out.errors.jsonl", "out.journal", "out.log"}
    assert "nothing to do" in run(folder, *arguments)[1]


def test_a_retry_that_is_killed_goes_on(folder):
    (folder / "mended.py").write_text(MENDED.replace("in (3, 7, 11)", "< 200"))
    numbers(folder, 300)
    arguments = ["mended", "in.jsonl", "-o", "out.jsonl"]
    assert run(folder, *arguments)[0] == 2
    for n in range(200):
        (folder / ("mended-%d" % n)).write_text("")
    process = begin(folder, *arguments, "--retry-errors")
    out = folder / "out.retry.jsonl"
    eventually(lambda: process.poll() is not None or out.exists() and out.stat().st_size > 0, 60)
    process.kill()
    process.communicate()
    assert run(folder, *arguments, "--retry-errors" if process.returncode else "--workers=1") is not None
    assert [n for n, _ in lines(folder / "out.jsonl")] == list(range(300))
    assert (folder / "out.errors.jsonl").read_text() == ""


def test_an_input_that_has_grown_goes_on_and_one_that_has_changed_is_refused(folder):
    numbers(folder, 10)
    arguments = ["mine:same", "in.jsonl", "-o", "out.jsonl"]
    assert run(folder, *arguments)[0] == 0
    numbers(folder, 15)
    assert run(folder, *arguments) == (0, "goes on after line 10\n15 results in out.jsonl\n")
    text = (folder / "in.jsonl").read_text()
    for changed in (text.replace('"n": 3', '"n": 7'), text[:100], text[:-1] + "7\n" + text):
        (folder / "in.jsonl").write_text(changed)
        code, err = run(folder, *arguments)
        assert code == 1 and err.count("\n") == 1 and "has changed in the 15 lines that are done: restore it" in err
    assert len(lines(folder / "out.jsonl")) == 15
    numbers(folder, 3)
    assert run(folder, *arguments, "--restart") == (0, "3 results in out.jsonl\n")
    assert len(lines(folder / "out.jsonl")) == 3


@pytest.mark.parametrize("arguments, code, words", [
    (["mine:same", "nothere.jsonl", "-o", "new.jsonl"], 1, "cannot read the input: nothere.jsonl: No such file"),
    (["mine:same", ".", "-o", "new.jsonl"], 1, "cannot read the input: .: Is a directory"),
    (["mine:same", "in.jsonl"], 64, "required: -o/--output"),
    (["mine:same", "in.jsonl", "-o", "no/new.jsonl"], 1, "no/new.journal: No such file"),
    (["mine:same", "in.jsonl", "-o", "other.txt"], 1, "other.txt is there already, and is not an output of `run`"),
    (["mine:same", "in.jsonl", "-o", "in.jsonl", "--restart"], 64, "is the input itself"),
    (["mine:same", "empty.csv", "-o", "new.jsonl"], 64, "the file is empty"),
    (["in.jsonl", "mine:same", "-o", "new.jsonl"], 1, "cannot read the input: mine:same"),
    (["mine.py:same", "in.jsonl", "-o", "new.jsonl"], 64, "is a file: write 'mine:same'"),
    (["mine:nothing", "in.jsonl", "-o", "new.jsonl"], 67, "has no attribute 'nothing'"),
    (["mine:same", "in.jsonl", "-o", "new.jsonl", "--worker", "2"], 64, "did you mean --workers?"),
    (["mine:same", "in.jsonl", "-o", "new.jsonl", "--workers", "x"], 64, "ASYA_WORKERS is 'x'")])
def test_a_mistake_is_told_in_a_line_and_leaves_nothing_behind(folder, arguments, code, words):
    numbers(folder, 3)
    (folder / "other.txt").write_text("precious")
    (folder / "empty.csv").write_text("")
    ended = run(folder, *arguments)
    assert ended[0] == code and ended[1].count("\n") == 1 and words in ended[1], ended
    assert not list(folder.glob("new.*jsonl")) and (folder / "other.txt").read_text() == "precious"
    assert len(lines(folder / "in.jsonl")) == 3


def test_two_at_once_do_not_write_the_same_output(folder):
    numbers(folder, 1000)
    first = begin(folder, "mine:waits", "in.jsonl", "-o", "out.jsonl")
    eventually(lambda: (folder / "out.jsonl").exists(), 60)
    code, err = run(folder, "mine:waits", "in.jsonl", "-o", "out.jsonl")
    assert code == 1 and "another run writes out.jsonl now" in err
    first.kill()
    first.communicate()
