"""Every form of success and every row of the error table, with exactly the documented object."""
import json
import re
import sys

import asya_runtime
import pytest

from harness.client import Connection


@pytest.fixture(scope="module")
def serving(runtime):
    with runtime("snippets:run", env={"ASYA_MAX_MESSAGE_SIZE": "100000"}) as server:
        yield server


@pytest.fixture
def snippets(serving):
    """For tests in which nothing may be logged."""
    with serving.watched() as server:
        yield server


RESULTS = {
    "a dict is passed as it is": ("return {'a': 1, 'b': [True, None]}", {"a": 1, "b": [True, None]}),
    "a list is a fan-out and passed as it is": ("return [{'id': 1}, {'id': 2}]", [{"id": 1}, {"id": 2}]),
    "an empty list stays an empty list": ("return []", []),
    "an empty dict stays an empty dict": ("return {}", {}),
    "None gives null": ("return None", None),
    "no return gives null": ("pass", None),
    "a tuple is a list": ("return (1, 'two', (3,))", [1, "two", [3]]),
    "a tuple within a dict is a list": ("return {'t': (1, 2)}", {"t": [1, 2]}),
    "a string": ("return 'text'", "text"),
    "an empty string": ("return ''", ""),
    "a number": ("return 42", 42),
    "a negative number": ("return -7", -7),
    "a float keeps its digits": ("return 0.1", 0.1),
    "true": ("return True", True),
    "false": ("return False", False),
    "an integer beyond 64 bits is exact": ("return 2**70 + 1", 2**70 + 1),
    "text beyond ASCII": ("return 'h\\u00e9llo \\u20ac \\U0001f600'", "h\u00e9llo \u20ac \U0001f600"),
    "control characters in a string": ("return '\\x00\\x1f\\x7f\\u2028'", "\x00\x1f\x7f\u2028"),
    "a lone surrogate is escaped": ("return '\\ud800'", "\ud800"),
    "a str subclass is its text, whatever its __len__ says":
        ("class Odd(str):\n    def __len__(self): return 10**9\nreturn Odd('abc')", "abc"),
    "a dict subclass is an object": ("import collections\nreturn collections.OrderedDict(b=1, a=2)", {"b": 1, "a": 2}),
    "members keep their order": ("return {'z': 1, 'a': 2, 'm': 3}", {"z": 1, "a": 2, "m": 3}),
    "what looks like an error is only a result": ("return {'error': 'x'}", {"error": "x"}),
}


@pytest.mark.parametrize("code, result", RESULTS.values(), ids=RESULTS)
def test_success(snippets, code, result):
    reply = snippets.call(code)
    assert reply == {"status": "ok", "result": result}
    assert repr(reply["result"]) == repr(result)  # 1 is not True, and the order counts


PAYLOADS = {
    "an object": {"a": {"b": [1, 2.5, "x", None, True]}}, "an array": [1, [2, [3]]], "a string": "text", "true": True,
    "false": False, "null": None, "zero": 0, "a float": -1.5e-300, "an empty object": {}, "an empty array": [],
    "an empty string": "", "a big integer": 10**50,
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_any_value_is_a_payload(echo, payload):
    assert echo.call(payload) == {"status": "ok", "result": payload}


def error(code, message, kind=None):
    reply = {"error": code, "message": message}
    return reply if kind is None else dict(reply, type=kind)


# Replies whose text comes from the function: known to the byte.
EXACT = {
    "ValueError is a validation error":
        ("raise ValueError('amount is missing')", error("validation_error", "amount is missing")),
    "a subclass of ValueError is a validation error":
        ("class Amount(ValueError): pass\nraise Amount('too small')", error("validation_error", "too small")),
    "a JSONDecodeError of the function's own is a validation error":
        ("import json\njson.loads('[')", error("validation_error", "Expecting value: line 1 column 2 (char 1)")),
    "an int() that fails is a validation error":
        ("int('x')", error("validation_error", "invalid literal for int() with base 10: 'x'")),
    "text beyond ASCII is passed":
        ("raise ValueError('\\u20ac \\U0001f600')", error("validation_error", "\u20ac \U0001f600")),
    "RuntimeError": ("raise RuntimeError('broken')", error("processing_error", "broken", "RuntimeError")),
    "ZeroDivisionError": ("1/0", error("processing_error", "division by zero", "ZeroDivisionError")),
    "KeyError has its message as Python prints it":
        ("{}['k']", error("processing_error", "KeyError: 'k'", "KeyError")),
    "a KeyError of two values is no bare key":
        ("raise KeyError('a', 1)", error("processing_error", "('a', 1)", "KeyError")),
    "a KeyError without a key": ("raise KeyError", error("processing_error", "KeyError", "KeyError")),
    "a KeyError that writes its own text":
        ("class Named(KeyError):\n    def __str__(self): return 'no column ' + self.args[0]\nraise Named('x')",
         error("processing_error", "no column x", "Named")),
    "a KeyError with an empty key": ("{}['']", error("processing_error", "KeyError: ''", "KeyError")),
    "a class of the user's": ("class Refund(Exception): pass\nraise Refund('no')",
                              error("processing_error", "no", "Refund")),
    "AssertionError": ("assert False, 'never'", error("processing_error", "never", "AssertionError")),
    "TypeError": ("raise TypeError('wrong')", error("processing_error", "wrong", "TypeError")),
    "SystemExit": ("raise SystemExit('bye')", error("processing_error", "bye", "SystemExit")),
    "sys.exit with a status": ("import sys\nsys.exit(3)", error("processing_error", "3", "SystemExit")),
    "KeyboardInterrupt": ("raise KeyboardInterrupt('stop')", error("processing_error", "stop", "KeyboardInterrupt")),
    "GeneratorExit": ("raise GeneratorExit('shut')", error("processing_error", "shut", "GeneratorExit")),
    "CancelledError": ("import asyncio\nraise asyncio.CancelledError('off')",
                       error("processing_error", "off", "CancelledError")),
    "a chained exception is the last of the chain":
        ("try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('outer') from e",
         error("processing_error", "outer", "RuntimeError")),
}


@pytest.mark.parametrize("code, reply", EXACT.values(), ids=EXACT)
def test_exception(serving, code, reply):
    level = "WARNING" if reply["error"] == "validation_error" else "ERROR"
    with serving.watched(expect_log=[level + " .*" + reply["error"]]):
        workers = serving.worker_pids()
        assert serving.call(code) == reply
        assert serving.worker_pids() == workers, "the worker must stay up"
        assert serving.result("return 1") == 1


OUT_OF_MEMORY = {
    "MemoryError raised": "raise MemoryError('no room')",
    "MemoryError by the interpreter": "bytearray(1 << 62)",
    "a subclass of MemoryError": "class Full(MemoryError): pass\nraise Full()",
    "PyTorch's class": "class OutOfMemoryError(RuntimeError): pass\n"
                       "raise OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')",
    "CUDA's text in a RuntimeError": "raise RuntimeError('CUDA error: out of memory')",
    "CUDA out of memory as older releases say it": "raise RuntimeError('CUDA out of memory. Tried to allocate 20 MiB')",
    "CUDA's text that a ValueError hands on": "raise ValueError('image 7: CUDA out of memory. Tried to allocate 20 MiB')",
    "CUDA's text in a class of one's own": "class Bad(ValueError): pass\nraise Bad('CUDA error: out of memory')",
    "ROCm's text in a ValueError": "raise ValueError('HIP out of memory. Tried to allocate 20 MiB')",
    "PyTorch on the CPU":
        'raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can\'t allocate memory: you "'
        '"tried to allocate 4000000000 bytes. Error code 12 (Cannot allocate memory)")',
    "PyTorch on the CPU, elsewhere": "raise RuntimeError('DefaultCPUAllocator: not enough memory: you tried to allocate 9')",
    "C++'s own, in any class": "raise RuntimeError('std::bad_alloc')",
}
# the module and the name of its class, what that derives from, the text: as these libraries raise them
LIBRARIES = {
    "XGBoost": ("xgboost.core", "XGBoostError", "ValueError", "[12:00:00] /workspace/src/c_api.cc:12: std::bad_alloc"),
    "XGBoost's arrays": ("xgboost.core", "XGBoostError", "ValueError", "bad_alloc: Failed to allocate 400000000 bytes."),
    "XGBoost with CUDA": ("xgboost.core", "XGBoostError", "ValueError",
                          "Memory allocation error on worker 0: cudaErrorMemoryAllocation: out of memory"),
    "ONNX Runtime": ("onnxruntime.capi.onnxruntime_pybind11_state", "RuntimeException", "Exception",
                     "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 4"),
    "ONNX Runtime, C++": ("onnxruntime.capi.onnxruntime_pybind11_state", "Fail", "Exception", "bad allocation"),
    "JAX before 2025": ("jaxlib.xla_extension", "XlaRuntimeError", "RuntimeError",
                        "RESOURCE_EXHAUSTED: Out of memory allocating 4000000000 bytes."),
    "JAX": ("jax.errors", "JaxRuntimeError", "RuntimeError", "RESOURCE_EXHAUSTED: Out of memory allocating 40 bytes."),
    "OpenCV": ("cv2", "error", "Exception", "OpenCV(4.10.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to "
                                            "allocate 4000000000 bytes in function 'OutOfMemoryError'"),
    "TensorFlow": ("tensorflow.python.framework.errors_impl", "ResourceExhaustedError", "Exception",
                   "{{function_node __wrapped__Fill}} OOM when allocating tensor with shape[1000000000]"),
    "TensorFlow's device": ("tensorflow.python.framework.errors_impl", "ResourceExhaustedError", "Exception",
                            "failed to allocate memory [Op:Mul]"),
}
RAISE = "error = type(%r, (%s,), {'__module__': %r})\n"
OUT_OF_MEMORY.update({name: RAISE % (kind, base, module) + "raise error(%r)" % text
                      for name, (module, kind, base, text) in LIBRARIES.items()})
OUT_OF_MEMORY["a class derived from XGBoost's"] = (
    RAISE % ("XGBoostError", "ValueError", "xgboost.core") + "class Mine(error): pass\nraise Mine('std::bad_alloc')")

OUT_OF_MEMORY["what an error was raised from"] = "raise RuntimeError('the model failed') from MemoryError()"
OUT_OF_MEMORY["in a result"] = "class Tensor:\n def tolist(self): raise RuntimeError('CUDA out of memory. Tried to')\nreturn [Tensor()]"
if sys.version_info >= (3, 11):
    OUT_OF_MEMORY["in a group"] = "raise ExceptionGroup('g', [KeyError('k'), ExceptionGroup('h', [MemoryError()])])"


@pytest.mark.parametrize("code", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_out_of_memory(serving, code):
    with serving.watched(expect_log=["ERROR .*out_of_memory"]):
        reply = serving.call(code)
        assert set(reply) == {"error", "message"} and reply["error"] == "out_of_memory"


@pytest.mark.parametrize("code", [
    "raise RuntimeError('out of paper')", "raise RuntimeError('the memory of it')", "raise KeyError('memory')"])
def test_other_errors_are_not_taken_for_out_of_memory(serving, code):
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        assert serving.call(code)["error"] == "processing_error"


@pytest.mark.parametrize("text", sorted({text for _, _, _, text in LIBRARIES.values()} | {"out of memory", "cuda memory is full"}))
@pytest.mark.parametrize("raising", ["raise ValueError(%r)", "class Mine(ValueError): pass\nraise Mine(%r)"])
def test_a_value_error_that_quotes_such_words_stays_one(serving, raising, text):
    with serving.watched(expect_log=["WARNING .*validation_error"]):
        assert serving.call(raising % text) == error("validation_error", text)


def test_a_value_error_from_a_shortage_is_the_senders(serving):
    with serving.watched(expect_log=["WARNING .*validation_error"]):
        assert serving.call("raise ValueError('too large') from MemoryError()") == error("validation_error", "too large")


@pytest.mark.parametrize("module, kind, text", [
    ("xgboost.core", "XGBoostError", "Check failed: preds.Size() == info.labels.Size()"),
    ("cv2", "error", "OpenCV(4.10.0) (-215:Assertion failed) !_src.empty()"),
    ("google.api_core.exceptions", "ResourceExhausted", "RESOURCE_EXHAUSTED: quota of requests")])
def test_what_else_such_libraries_raise_is_no_shortage(serving, module, kind, text):
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        assert serving.call(RAISE % (kind, "Exception", module) + "raise error(%r)" % text)["error"] == "processing_error"


INVALID_JSON = {
    "a bare word": b"hello", "a truncated object": b'{"a":', "a truncated string": b'"abc', "an unclosed array": b"[1,",
    "a truncated literal": b"tru", "a comma before the end": b"[1,]", "single quotes": b"{'a':1}", "NaN": b"[NaN]",
    "Infinity": b"[Infinity]", "negative Infinity": b"-Infinity", "a leading zero": b"01", "a plus sign": b"+1",
    "a number without digits": b"-", "a bare point": b"[1.]", "an empty exponent": b"[1e]", "hexadecimal": b"[0x1]",
    "a raw newline in a string": b'"a\nb"', "a raw NUL in a string": b'"a\x00b"', "a bad escape": b'"\\x41"',
    "a truncated \\u escape": b'"\\u12"', "a comment": b"[1/*x*/]", "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16 without a mark": b"{\x00}\x00", "two values": b"{} {}", "text after the value": b'{"a":1}x',
    "a brace too much": b"{}}", "a number and text": b"1 x", "a key that is no string": b"{1:2}",
    "a missing colon": b'{"a" 1}', "a form feed as white space": b"\x0c[]", "a NUL after the value": b"[]\x00",
}


@pytest.mark.parametrize("message", INVALID_JSON.values(), ids=INVALID_JSON)
def test_invalid_json(serving, message):
    with serving.watched(expect_log=["WARNING .*invalid_json"]):
        reply = serving.call(message)
        assert reply["error"] == "invalid_json"
        assert re.search(r"byte \d+", reply["message"]), "must say at which byte: %r" % reply


@pytest.mark.parametrize("message", [b"None", b"True", b"False\n", b"NaN", b"Infinity"])
def test_a_word_of_pythons_that_begins_like_http_is_told_what_json_writes(serving, message):
    with serving.watched(expect_log=["WARNING .*JSON writes null, true and false"]):
        with Connection(serving.path) as connection:
            connection.send(message)
            connection.half_close()
            assert b": a capital letter begins an HTTP request, and JSON writes null, true and false" in connection.receive_all()


@pytest.mark.parametrize("message", [b"NaN", b"Infinity", b"\x00", b"\x08[]"])
def test_with_the_protocol_fixed_no_first_byte_means_another_one(runtime, message):
    with runtime(env={"ASYA_PROTOCOL": "raw"}, expect_log=["WARNING .*invalid_json", "WARNING .*every message is echoed"]) as serving:
        assert serving.call(message)["error"] == "invalid_json"


def nested(depth, opener=b"[", closer=b"]", heart=b""):
    return opener * depth + heart + closer * depth


DEPTHS = {
    "999 arrays": (nested(999), "ok"),
    "1000 arrays": (nested(1000), "ok"),
    "1001 arrays": (nested(1001), "invalid_json"),
    "1000 objects": (nested(1000, b'{"a":', b"}", b"1"), "ok"),
    "1001 objects": (nested(1001, b'{"a":', b"}", b"1"), "invalid_json"),
    "500 times object and array": (nested(500, b'{"a":[', b"]}"), "ok"),
    "501 times object and array": (nested(501, b'{"a":[', b"]}"), "invalid_json"),
    "100000 opening brackets": (b"[" * 100_000, "invalid_json"),
    "3000000 opening brackets": (b"[" * 3_000_000, "invalid_json"),
    "3000000 opening braces": (b'{"":' * 750_000, "invalid_json"),
}


@pytest.fixture(scope="module")
def unlimited(runtime):
    """A handler that has told Python to recurse for ever: the depth must be counted before Python sees anything."""
    with runtime("snippets:run") as server:
        assert server.result("import sys\nsys.setrecursionlimit(10**6)\nreturn 1") == 1
        yield server


@pytest.mark.parametrize("message, code", DEPTHS.values(), ids=DEPTHS)
def test_depth(echoing, message, code):
    with echoing.watched(expect_log=[] if code == "ok" else ["WARNING .*" + code]):
        reply = echoing.call(message)
        assert reply.get("error", "ok") == code
        assert code != "ok" or reply["result"] == json.loads(message)


@pytest.mark.parametrize("message", [b"[" * 100_000, b"[" * 3_000_000, b'{"a":' * 100_000])
def test_depth_is_bounded_whatever_recursion_limit_the_handler_sets(unlimited, message):
    with unlimited.watched(expect_log=["WARNING .*invalid_json"]):
        workers = unlimited.worker_pids()
        assert unlimited.call(message)["error"] == "invalid_json"
        assert unlimited.worker_pids() == workers


DIGITS = {
    "4300 digits": (b"[" + b"9" * 4300 + b"]", "ok"),
    "4301 digits": (b"[" + b"9" * 4301 + b"]", "invalid_json"),
    "4301 digits with a sign": (b"[-" + b"9" * 4301 + b"]", "invalid_json"),
    "a million digits": (b"9" * 1_000_000, "invalid_json"),
    "a float of 5000 digits": (b"[0." + b"3" * 5000 + b"]", "ok"),
}


@pytest.mark.parametrize("message, code", DIGITS.values(), ids=DIGITS)
def test_digits(echoing, message, code):
    if not hasattr(sys, "get_int_max_str_digits") and code == "invalid_json":
        pytest.skip("this interpreter has no limit of digits")
    with echoing.watched(expect_log=[] if code == "ok" else ["WARNING .*" + code]):
        assert echoing.call(message).get("error", "ok") == code


INVALID_ENCODING = {
    "a lone continuation byte": b'"\x80"', "an overlong slash": b'"\xc0\xaf"', "an encoded surrogate": b'"\xed\xa0\x80"',
    "beyond U+10FFFF": b'"\xf4\x90\x80\x80"', "a truncated character": b'"\xe2\x82"', "Latin-1": b'{"a":"\xe9"}',
    "UTF-16 with a mark": b"\xff\xfe{\x00}\x00", "in a key": b'{"\xff":1}', "and broken JSON before it": b"[1,,\xff]",
    "and broken JSON after it": b'["\xff",,]', "after the value": b"[]\xff", "alone": b"\xff",
    "at the very end, cut": b'["a\xc3',
}


@pytest.mark.parametrize("message", INVALID_ENCODING.values(), ids=INVALID_ENCODING)
def test_invalid_encoding_comes_before_invalid_json(serving, message):
    with serving.watched(expect_log=["WARNING .*invalid_encoding"]):
        assert serving.call(message)["error"] == "invalid_encoding"


@pytest.mark.parametrize("message", [b"", b" ", b"\n", b" \t\r\n" * 100], ids=["none", "space", "newline", "much"])
def test_no_byte_or_only_white_space_is_an_empty_message(snippets, message):
    assert snippets.call(message)["error"] == "empty_message"


def test_numbers_that_overflow_are_read_but_never_written(serving):
    """1e999 is infinity for Python; what JSON cannot say must not leave."""
    with serving.watched(expect_log=["ERROR .*processing_error"]):
        assert serving.call("return 1e999")["error"] == "processing_error"


def test_the_last_of_two_equal_keys_wins(echo):
    assert echo.call(b'{"a":1,"b":2,"a":3}')["result"] == {"a": 3, "b": 2}


ODD_NUMBERS = [b"-0", b"-0.0", b"0.0", b"9007199254740993", b"1E5", b"1e-400", b"1.0", b"18446744073709551616",
               b"-9223372036854775809", b"5e-324", b"1.7976931348623157e308", b"0.1000000000000000055511151231257827"]


@pytest.mark.parametrize("number", ODD_NUMBERS, ids=[n.decode() for n in ODD_NUMBERS])
def test_numbers_arrive_and_return_as_python_reads_them(echo, number):
    assert repr(echo.result(b"[" + number + b"]")) == repr(json.loads(b"[" + number + b"]"))


@pytest.mark.parametrize("message", [b'\xef\xbb\xbf{"a": 1}', b"abc", b"'a'", b"+1"])
def test_what_cannot_be_json_is_refused_in_the_words_of_loads(serving, message):
    with pytest.raises(ValueError) as caught:
        asya_runtime.loads(message)
    with serving.watched(expect_log=["WARNING .*invalid_json"]):
        reply = serving.call(message)
    assert "%(error)s: %(message)s" % reply == str(caught.value)
