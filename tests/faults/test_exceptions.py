"""What the function raises, returns or prints cannot break a reply, a log line or the worker (W3, W4, W10, W14, W15)."""
import json
import re
import subprocess

import pytest

from harness import client, processes


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run") as server:
        yield server


# -- exceptions nobody should raise -------------------------------------------------------------------------------------

RAISING = {
    "SystemExit": ("raise SystemExit", "SystemExit"), "sys.exit(3)": ("import sys; sys.exit(3)", "SystemExit"),
    "exit()": ("import builtins; raise builtins.SystemExit(0)", "SystemExit"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "GeneratorExit": ("raise GeneratorExit", "GeneratorExit"),
    "CancelledError": ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
    "StopIteration": ("raise StopIteration(1)", "StopIteration"),
    "a BaseException of the user's": ("class Base(BaseException): pass\nraise Base('b')", "Base"),
    "RecursionError": ("def f(): f()\nf()", "RecursionError"),
}


@pytest.mark.parametrize("code, kind", RAISING.values(), ids=RAISING)
def test_the_worker_stays_up_after(serving, code, kind):
    with serving.watched(expect_log=["ERROR .*" + kind]):
        workers = serving.worker_pids()
        for _ in range(20):
            reply = serving.call(code)
            assert (reply["error"], reply["type"]) == ("processing_error", kind)
        assert serving.worker_pids() == workers
        assert serving.result("return 1") == 1


STRANGE = {
    "a message of 10 MB": ("raise {0}('x' * 10_000_000)", "xxx"),
    "a message just over the cap": ("raise {0}('x' * 8193)", "xxx"),
    "a message of multi-byte characters over the cap": ("raise {0}('\\u20ac' * 8000)", "\u20ac\u20ac"),
    "a message of quotes and backslashes over the cap": ("raise {0}('\"\\\\' * 8000)", '"\\'),
    "a message of emoji cut anywhere": ("raise {0}('a' + '\\U0001f600' * 4000)", "a\U0001f600"),
    "a message with NUL": ("raise {0}('a\\0b')", "a\x00b"),
    "a message with a newline": ("raise {0}('a\\nb')", "a\nb"),
    "a message with control characters": ("raise {0}('\\x1b]0;x\\x07\\x9b')", "\x1b]0;x\x07\x9b"),
    "a message with a lone surrogate": ("raise {0}('a\\ud800b')", "a"),
    "an empty message": ("raise {0}", ""),
    "an empty text": ("raise {0}('')", ""),
    "a message that is no string": ("raise {0}(1, [2], None)", "(1, [2], None)"),
    "a message of bytes": ("raise {0}(b'\\xff')", "b'\\xff'"),
    "a __str__ that raises": ("class E({0}):\n    def __str__(self): raise RuntimeError('no str')\nraise E('x')", ""),
    "a __str__ that raises SystemExit": ("class E({0}):\n    def __str__(self): raise SystemExit\nraise E('x')", ""),
    "a __str__ that returns a number": ("class E({0}):\n    def __str__(self): return 3\nraise E('x')", ""),
    "a __str__ and __repr__ that recurse":
        ("class E({0}):\n    def __str__(self): return str(self)\n    __repr__ = __str__\nraise E('x')", ""),
    "a str subclass as text":
        ("class S(str):\n    def __len__(self): return 10**9\n    def encode(self, *a): raise OSError\nraise {0}(S('abc'))",
         "abc"),
    "a chain with a cycle":
        ("a = {0}('a'); b = {0}('b'); a.__cause__ = b; b.__cause__ = a\nraise a", "a"),
    "a chain of a thousand":
        ("e = None\nfor i in range(1000):\n    n = {0}(str(i)); n.__context__ = e; e = n\nraise e", "999"),
    "a class with a name of 100000 letters": ("raise type('N' * 100_000, ({0},), {{}})('x')", "x"),
    "a class with a strange name": ("raise type('a\\n\\x1b\"b', ({0},), {{}})('x')", "x"),
    "a metaclass whose name raises":
        ("class M(type):\n    @property\n    def __name__(cls): raise OSError('no name')\n"
         "class E({0}, metaclass=M): pass\nraise E('x')", "x"),
    "a __class__ that lies": ("class E({0}):\n    __class__ = int\nraise E('x')", "x"),
    "a deep traceback": ("def f(n):\n    if n == 0: raise {0}('deep')\n    f(n - 1)\nf(500)", "deep"),
}


@pytest.mark.parametrize("family", ["ValueError", "RuntimeError"])
@pytest.mark.parametrize("code, beginning", STRANGE.values(), ids=STRANGE)
def test_a_strange_exception_gets_its_category_in_valid_json(serving, code, beginning, family):
    category = "validation_error" if family == "ValueError" else "processing_error"
    with serving.watched(expect_log=[category]):
        before = len(serving.logs())
        workers = serving.worker_pids()
        reply = serving.call(code.format(family))
        assert reply["error"] == category
        assert reply["message"].startswith(beginning)
        assert serving.worker_pids() == workers
        serving.wait_for_log(category, count=1)
        lines = [line for line in serving.logs()[before:] if not line.quiet]
        assert len(lines) == 1, "one event, one line"
        assert lines[0].level == ("WARNING" if family == "ValueError" else "ERROR")
        assert len(lines[0].text) <= 16_384


def test_a_breakpoint_says_where_there_is_a_terminal(serving):
    """From CPython 3.14 on pdb leaves the program at the end of its input, and the error is a SystemExit like any other."""
    with serving.watched(expect_log=["ERROR .*(BdbQuit: .*no terminal|SystemExit)"]):
        error = serving.call("breakpoint()\nresult = 1")
    assert error["error"] == "processing_error" and error["type"] in ("BdbQuit", "SystemExit")
    assert error["type"] == "SystemExit" or ("terminal" in error["message"] and "'call'" in error["message"])


def test_an_exception_group_is_judged_by_its_own_class(serving):
    if not serving.result("import builtins\nreturn hasattr(builtins, 'ExceptionGroup')"):
        pytest.skip("this interpreter has no exception groups")
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        reply = serving.call("raise ExceptionGroup('several', [ValueError('a'), KeyError('b')])")
        assert (reply["error"], reply["type"]) == ("processing_error", "ExceptionGroup")


def test_the_traceback_goes_to_the_log_not_to_the_reply(serving):
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        reply = serving.call("def deep_inside(): raise RuntimeError('visible')\ndeep_inside()")
        assert reply == {"error": "processing_error", "message": "visible", "type": "RuntimeError"}
        [line] = serving.wait_for_log("ERROR .*visible")
        assert re.search(r"\n    Traceback .*\n      File .* in deep_inside\n    RuntimeError: visible$", line.text, re.DOTALL)


def test_a_real_shortage_of_memory_is_out_of_memory_and_survived(runtime):
    """An address space limited by the handler itself, so that malloc fails."""
    with runtime("snippets:run", allow_log=["ERROR .*out_of_memory"]) as server:
        server.call("import resource\nresource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))")
        for _ in range(10):
            assert server.call("KEPT['big'] = [bytearray(64 << 20) for _ in range(20)]")["error"] == "out_of_memory"
        assert server.result("return 1") == 1


def test_a_result_too_large_for_memory_is_out_of_memory_and_survived(runtime):
    with runtime("snippets:run", allow_log=["ERROR .*out_of_memory"]) as server:
        server.call("import resource\nresource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))")
        assert server.call("return ['x' * (64 << 20)] * 20")["error"] == "out_of_memory"
        assert server.result("return 1") == 1


# -- results ------------------------------------------------------------------------------------------------------------

UNSERIALISABLE = {
    "an object": "return object()", "a function": "return len", "a class": "return int", "a module": "import os; return os",
    "NaN": "return float('nan')", "infinity": "return {'x': float('inf')}", "minus infinity": "return [-float('inf')]",
    "a complex number": "return 1j", "a list within itself": "a = []; a.append(a); return a",
    "a dict within itself": "a = {}; a['a'] = a; return a",
    "1001 lists": "a = []\nfor _ in range(1000): a = [a]\nreturn a",
    "5000 lists": "a = []\nfor _ in range(5000): a = [a]\nreturn a",
    "100000 lists": "a = []\nfor _ in range(100_000): a = [a]\nreturn a",
    "100000 dicts": "a = {}\nfor _ in range(100_000): a = {'a': a}\nreturn a",
    "100000 tuples": "a = ()\nfor _ in range(100_000): a = (a,)\nreturn a",
    "a key that is a tuple": "return {(1, 2): 3}", "a key that is an object": "return {object(): 1}",
    "a lock": "import threading; return threading.Lock()", "an integer beyond the limit of digits": "return 10 ** 5000",
    "an open file": "with open('/dev/null') as f: return f",
    "an object deep within": "return {'a': [1, {'b': object()}]}",
    "an exception": "return ValueError('returned, not raised')",
}


@pytest.mark.parametrize("code", UNSERIALISABLE.values(), ids=UNSERIALISABLE)
def test_a_result_json_cannot_hold_is_a_processing_error(serving, code):
    if "10 ** 5000" in code and not serving.result("import sys\nreturn hasattr(sys, 'get_int_max_str_digits')"):
        pytest.skip("this interpreter has no limit of digits")
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        workers = serving.worker_pids()
        reply = serving.call(code)
        assert reply["error"] == "processing_error"
        assert reply["message"]
        assert serving.worker_pids() == workers
        assert serving.result("return 1") == 1


def test_a_thousand_levels_still_pass(serving):
    with serving.watched():
        result = serving.result("a = 1\nfor _ in range(1000): a = [a]\nreturn a")
        assert json.dumps(result) == "[" * 1000 + "1" + "]" * 1000


ROBUST = {
    "a list that changes while it is written":
        "class I(int):\n    pass\na = []\nclass E:\n    def __iter__(self): a.clear(); return iter(())\n"
        "a.extend([1, 2, E(), 4])\nreturn a",
    "a dict whose items raise":
        "class D(dict):\n    def items(self): raise RuntimeError('no items')\n    keys = __iter__ = items\nreturn D(a=1)",
    "an int whose __repr__ and __str__ raise":
        "class I(int):\n    def __repr__(self): raise RuntimeError('no repr')\n    __str__ = __repr__\nreturn I(7)",
    "a float whose __repr__ raises":
        "class F(float):\n    def __repr__(self): raise RuntimeError('no repr')\nreturn F(1.5)",
    "an object whose __getattr__ always answers": "class A:\n    def __getattr__(self, name): return self\nreturn A()",
    "an object whose __getattr__ raises": "class A:\n    def __getattr__(self, name): raise SystemExit\nreturn A()",
    "an object whose __class__ raises":
        "class A:\n    @property\n    def __class__(self): raise RuntimeError('no class')\nreturn A()",
    "an iterator that never ends": "import itertools; return itertools.count()",
    "a class pretending to be a list": "class L(list):\n    def __len__(self): return 10**9\nreturn L([1, 2])",
}


@pytest.mark.parametrize("code", ROBUST.values(), ids=ROBUST)
def test_a_treacherous_result_gets_one_reply_and_the_worker_lives(serving, code):
    """Whether it can be written is the codec's business; here only that the reply is one and the worker the same."""
    with serving.watched(allow_log=["ERROR .*processing_error"]):
        workers = serving.worker_pids()
        reply = serving.call(code)
        assert reply.get("error", "ok") in ("ok", "processing_error")
        assert serving.worker_pids() == workers


def test_a_reply_of_64_megabytes_arrives_whole(serving):
    with serving.watched():
        reply = serving.call("return 'x' * (64 << 20)")
        assert reply["result"] == "x" * (64 << 20)


# -- log ----------------------------------------------------------------------------------------------------------------

INJECTIONS = {
    "a forged line": '\\n{"level":"fatal"}\\n2026-01-01T00:00:00.000Z ERROR forged', "a carriage return": "\\r\\rforged",
    "terminal title": "\\x1b]0;owned\\x07", "C1 control": "\\x9b31m\\x85", "line separators": "\\u2028forged\\u2029",
    "NUL and DEL": "\\x00\\x7f", "lone surrogates": "\\ud800\\udfff", "vertical tab": "\\x0b\\x0c",
}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_in_an_exception_can_forge_or_split_a_log_line(runtime, log_format):
    with runtime("snippets:run", env={"ASYA_LOG_FORMAT": log_format}, allow_log=["processing_error"]) as server:
        before = len(server.logs())
        for text in INJECTIONS.values():
            server.call("raise RuntimeError('MARK %s')" % text)
        server.wait_for_log("MARK", count=len(INJECTIONS))
        lines = server.logs()[before:]
        assert len(lines) == len(INJECTIONS)
        assert all(line.level == "ERROR" for line in lines)
        for byte in (*range(32), 127):
            assert byte == 10 or bytes([byte]) not in server.log_file.read_bytes()


def test_a_payload_is_never_logged(runtime):
    with runtime("answers:nap", env={"ASYA_LOG_LEVEL": "DEBUG"}, allow_log=["ERROR", "WARNING"]) as server:
        server.call(b'{"card": "4111-1111"}')
        server.call(b'{"card": "4111-1111"')
        server.call(b'"4111-1111')
        with server.connect() as connection:
            connection.send(b'{"card": "4111-1111"')
        assert server.result(0) == 0
        assert "4111" not in server.log_text()


LEVELS = {"DEBUG": {"INFO", "WARNING", "ERROR"}, "INFO": {"INFO", "WARNING", "ERROR"}, "WARNING": {"WARNING", "ERROR"},
          "ERROR": {"ERROR"}}


@pytest.mark.parametrize("level, shown", LEVELS.items())
def test_the_log_shows_from_its_level_upwards(runtime, level, shown):
    with runtime("snippets:run", env={"ASYA_LOG_LEVEL": level}, allow_log=["ERROR", "WARNING"]) as server:
        server.call("raise ValueError('v')")
        server.call("raise RuntimeError('r')")
        server.wait_for_log("ERROR .*processing_error")
        assert {line.level for line in server.logs()} - {"DEBUG"} == shown


def test_the_life_of_a_runtime_in_the_log(runtime):
    with runtime("answers:echo") as server:
        assert server.wait_for_log("INFO .*listening on " + server.path)
        [worker] = server.worker_pids()
        assert server.wait_for_log("INFO .*worker.*%d" % worker)
        before = len(server.logs())
        assert server.stop() == 0
        assert [line.level for line in server.logs()[before:]].count("INFO") >= 1


# -- standard output ----------------------------------------------------------------------------------------------------


def test_what_the_handler_prints_appears_line_by_line(serving):
    with serving.watched():
        assert serving.result("print('a line')\nreturn 1") == 1
        assert processes.eventually(lambda: b"a line\n" in serving.out_file.read_bytes())


@pytest.mark.parametrize("code", [
    "for _ in range(20_000): print('x' * 999)\nreturn 'done'",
    "print('x' * 20_000_000, end='')\nreturn 'done'",
], ids=["in lines", "without a newline"])
def test_twenty_megabytes_printed_touch_neither_reply_nor_supervisor(runtime, code):
    with runtime("snippets:run", stdout=subprocess.DEVNULL) as server:
        server.result("return 1")
        before = processes.resident(server.pid)
        assert server.result(code) == "done"
        assert processes.resident(server.pid) - before < 1 << 20


OUTPUT_HABITS = {
    "closes sys.stdout": "import sys\nsys.stdout.close()\nreturn 1",
    "takes sys.stdout away": "import sys\nsys.stdout = None\nreturn 1",
    "replaces sys.stdout": "import io, sys\nsys.stdout = io.StringIO()\nprint('x')\nreturn 1",
    "closes descriptor 1": "import os\nos.close(1)\nreturn 1",
    "puts /dev/full at descriptor 1": "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nreturn 1",
    "breaks json": "import json\njson.dumps = json.loads = None\nreturn 1",
    "breaks builtins": "import builtins\nbuiltins.len = builtins.isinstance = builtins.print = None\nreturn 1",
    "changes the directory": "import os\nos.chdir('/')\nreturn 1",
    "sets the umask": "import os\nos.umask(0o777)\nreturn 1",
    "sets the locale": "import locale\ntry: locale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')\nexcept locale.Error: pass\nreturn 1",
    "ignores SIGTERM": "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nreturn 1",
    "handles SIGCHLD": "import signal\nsignal.signal(signal.SIGCHLD, lambda *a: None)\nreturn 1",
    "takes SIGPIPE": "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\nreturn 1",
    "starts a thread that outlives the request":
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nreturn 1",
    "starts a thread that is no daemon":
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3,)).start()\nreturn 1",
    "starts 200 threads":
        "import threading\nts = [threading.Thread(target=lambda: None) for _ in range(200)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\nreturn 1",
    "sets an alarm that is handled": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\n"
                                     "signal.setitimer(signal.ITIMER_REAL, 0.001)\nimport time; time.sleep(0.01)\nreturn 1",
    "deletes itself from sys.modules": "import sys\nsys.modules.pop('snippets')\nreturn 1",
    "runs the collector while collecting": "import gc\ngc.set_threshold(1)\nreturn 1",
    "traces every line": "import sys\nsys.settrace(lambda *a: None)\nreturn 1",
}


@pytest.mark.parametrize("code", OUTPUT_HABITS.values(), ids=OUTPUT_HABITS)
def test_the_next_requests_do_not_notice_a_handler_that(runtime, code):
    """And the runtime still stops as it should (W11)."""
    with runtime("snippets:run", worker_descriptors=True) as server:
        assert server.result(code) == 1
        for number in range(20):
            assert server.result("return %d" % number) == number


def test_a_handler_that_leaks_a_thousand_descriptors_is_served_on(runtime):
    with runtime("snippets:run", worker_descriptors=True) as server:
        assert server.result("import os\nKEPT['fds'] = [os.dup(0) for _ in range(1000)]\nreturn 1") == 1
        assert server.result("return 2") == 2


# -- descriptors --------------------------------------------------------------------------------------------------------


def test_programs_the_function_starts_inherit_only_the_standard_descriptors(serving):
    with serving.watched():
        listing = serving.result(
            "import subprocess\n"
            "return subprocess.run(['ls', '-l', '/proc/self/fd'], close_fds=False, capture_output=True, text=True).stdout")
        numbers = sorted(int(line.split(" -> ")[0].split()[-1]) for line in listing.splitlines() if " -> " in line)
        assert numbers == [0, 1, 2, 3], "3 is the folder ls reads: %s" % listing


def test_standard_input_of_the_function_is_empty(runtime):
    """A function that calls input() must not wait for a terminal."""
    with runtime("snippets:run", stdin=subprocess.PIPE, expect_log=["ERROR .*EOFError"]) as server:
        assert server.call("input()")["type"] == "EOFError"
        server.process.stdin.close()


def test_programs_the_function_starts_have_the_usual_signals(serving):
    """Neither blocked nor ignored ones of the runtime's own are inherited."""
    with serving.watched():
        status = serving.result("import subprocess\nreturn subprocess.run(['cat', '/proc/self/status'], "
                                "capture_output=True, text=True).stdout")
        masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn")))
        assert int(masks["SigBlk"], 16) == 0
        ours = open("/proc/self/status").read().split("SigIgn:\t")[1].split()[0]
        assert int(masks["SigIgn"], 16) & ~int(ours, 16) == 0


def test_a_function_can_wait_for_its_own_children(serving):
    with serving.watched():
        assert serving.result("import subprocess\nreturn [subprocess.run(['false']).returncode for _ in range(5)]") == [1] * 5


def test_the_supervisor_has_one_thread(serving):
    assert processes.threads(serving.pid) == 1


def test_every_reply_of_this_suite_is_checked_for_its_shape():
    """The client itself refuses what the contract does not know."""
    bad = [b"", b"{", b"[]", b'{"status":"ok"}', b'{"error":"x","message":"m"}', b'{"error":"invalid_json"}',
           b'{"error":"invalid_json","message":"at byte 1","type":"T"}', b'{"error":"processing_error","message":"m"}',
           b'{"status":"ok","result":NaN}', b'{"status":"ok","result":1}{}', b'\xff',
           b'{"error":"server_error","message":"/proc/self/fd/3"}']
    for data in bad:
        with pytest.raises(client.ReplyError):
            client.check_reply(data)
