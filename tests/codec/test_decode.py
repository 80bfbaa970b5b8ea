"""loads: what it accepts, refuses and says, with CPython's json as the oracle; and what it leaves behind: nothing."""
import gc
import json
import math
import os
import random
import subprocess
import sys

import pytest
from asya_runtime import loads
from harness.conformance import json_suite, utf8_cases
from hypothesis import example, given
from hypothesis import strategies as st

sys.path.insert(0, os.path.dirname(__file__))
import check_doubles  # noqa: E402
import differential  # noqa: E402
from documents import SANITIZED, many, same, values  # noqa: E402

DEPTH = 1000


def category(data):
    """What loads answers: "ok" or the category of its error."""
    try:
        loads(data)
    except ValueError as error:
        return str(error).partition(":")[0]
    return "ok"


def refuse_constant(name):
    raise ValueError(name)


def expected(data):
    """(category, value) by CPython's own strict decoder and json."""
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return "invalid_encoding", None
    if not text.strip(" \t\r\n"):
        return "empty_message", None
    try:
        return "ok", json.loads(text, parse_constant=refuse_constant)
    except ValueError:
        return "invalid_json", None


def agrees(data):
    answer, value = expected(data)
    if answer == "ok":
        return same(loads(data), value)
    return category(data) == answer


# Conformance


@pytest.mark.parametrize("label", ["y", "n", "i"])
def test_jsontestsuite(label):
    cases = [case for case in json_suite() if case.label == label]
    assert [case.name for case in cases if category(case.data) not in case.allowed] == []
    good = [case for case in cases if category(case.data) == "ok"]
    assert [case.name for case in good if not same(loads(case.data), json.loads(case.data.decode("utf-8")))] == []
    assert len(cases) == {"y": 95, "n": 188, "i": 35}[label]


def test_utf8_cases():
    cases = utf8_cases()
    assert len(cases) == 199
    for data, valid, why in cases:
        raw = category(data)
        assert (raw != "invalid_encoding") == valid, why
        printable = valid and not any(byte < 0x20 or byte in b'"\\' for byte in data)
        for before in (b"", b"0123456789abcde", b"x" * 40):
            text = b'"' + before + data + b'"'
            assert category(text) == ("ok" if printable else "invalid_json" if valid else "invalid_encoding"), why
            if printable:
                assert loads(text) == (before + data).decode("utf-8"), why
            assert category(text + b"]") == ("invalid_json" if valid else "invalid_encoding"), why


# Rules, each by a row of its own


@pytest.mark.parametrize("data, value", [
    (b"null", None), (b"true", True), (b" \t\r\nfalse \t\r\n", False),
    (b"0", 0), (b"-0", 0), (b"-0.0", -0.0), (b"-0e1", -0.0), (b"1.0", 1.0), (b"1", 1), (b"1E2", 100.0), (b"1e+2", 100.0),
    (b"9223372036854775807", 2**63 - 1), (b"-9223372036854775808", -2**63), (b"9223372036854775808", 2**63),
    (b"-9223372036854775809", -2**63 - 1), (b"18446744073709551615", 2**64 - 1), (b"18446744073709551616", 2**64),
    (b"9007199254740993", 2**53 + 1), (b"1e999", math.inf), (b"-1e999", -math.inf), (b"1e-999", 0.0),
    (b'""', ""), (b'"a"', "a"), (b'"\\u0000"', "\0"), (b'"\\ud83d\\ude00"', "\U0001f600"), (b'"\\ud83d"', "\ud83d"),
    (b'"\\ude00\\ud83d"', "\ude00\ud83d"), (b'"\x7f"', "\x7f"), ('"\u2028"'.encode(), "\u2028"),
    ('"Größe"'.encode(), "Größe"), ('"世界"'.encode(), "世界"), ('"a\U0001f600"'.encode(), "a\U0001f600"),
    ('"\\n世\\u754c\U0001f600\\ud800"'.encode(), "\n世界\U0001f600\ud800"),
    (b"[]", []), (b"[ ]", []), (b"{}", {}), (b"{ }", {}), (b"[[],{}]", [[], {}]), (b"[ 1 , 2 ]", [1, 2]),
    (b'{"a":1,"b":{"c":[true]}}', {"a": 1, "b": {"c": [True]}}), (b'{"":0}', {"": 0}),
    (b'{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}), (b'{"\\u0061":1,"a":2}', {"a": 2}),
    (b'{"\\ud800":1}', {"\ud800": 1}), ('{"ключ":1}'.encode(), {"ключ": 1}),
])
def test_accepts(data, value):
    assert same(loads(data), value)
    assert same(loads(b"  " + data + b"\n"), value)
    assert same(loads(b"[" + data + b"]"), [value])


def test_order_of_keys_is_that_of_their_first_place():
    assert list(loads(b'{"z":1,"a":2,"z":3,"m":4}')) == ["z", "a", "m"]


@pytest.mark.parametrize("data, text", [
    (b"", "empty_message: the message is empty"),
    (b" \n", "empty_message: nothing but white space"),
    (b"\xef\xbb\xbf{}", "invalid_json: unexpected byte order mark at byte 0"),
    (b"{}\xef\xbb\xbf", "invalid_json: trailing data at byte 2"),
    (b"{} {}", "invalid_json: trailing data at byte 3"),
    (b"01", "invalid_json: trailing data at byte 1"),
    (b"[1,,2]", "invalid_json: unexpected ',' at byte 3"),
    (b"[1,]", "invalid_json: unexpected ']' at byte 3: JSON allows no comma before a closing bracket"),
    (b"[1 2]", "invalid_json: unexpected '2' at byte 3: a comma or a colon is missing before it"),
    (b"[}", "invalid_json: unexpected '}' at byte 1"),
    (b"[", "invalid_json: unexpected end at byte 1"),
    (b"[1", "invalid_json: unexpected end at byte 2"),
    (b'{"a"', "invalid_json: unexpected end at byte 4"),
    (b'{"a":}', "invalid_json: unexpected '}' at byte 5"),
    (b'{"a" 1}', "invalid_json: unexpected '1' at byte 5: a comma or a colon is missing before it"),
    (b'{"a":1,}', "invalid_json: unexpected '}' at byte 7: JSON allows no comma before a closing bracket"),
    (b'{"a":1 "b":2}', "invalid_json: unexpected '\"' at byte 7: a comma or a colon is missing before it"),
    (b"{a:1}", "invalid_json: unexpected 'a' at byte 1: strings stand in double quotes in JSON, whose only words are null, true and false"),
    (b"{1:1}", "invalid_json: unexpected '1' at byte 1: a key stands in double quotes in JSON"),
    (b'{"a":1]', "invalid_json: unexpected ']' at byte 6"),
    (b"NaN", "invalid_json: unexpected 'N' at byte 0: JSON has no NaN: write null"),
    (b"[-Infinity]", "invalid_json: unexpected 'I' at byte 2: JSON has no Infinity: write null"),
    (b"+1", "invalid_json: unexpected '+' at byte 0: a number in JSON does not begin with a plus sign"),
    (b".5", "invalid_json: unexpected '.' at byte 0: a number in JSON has a digit before its point"),
    (b"1.", "invalid_json: unexpected end at byte 2"),
    (b"[1.]", "invalid_json: unexpected ']' at byte 3"),
    (b"[1e]", "invalid_json: unexpected ']' at byte 3"),
    (b"-", "invalid_json: unexpected end at byte 1"),
    (b"tru", "invalid_json: unexpected end at byte 3"),
    (b"nulL", "invalid_json: unexpected 'L' at byte 3: strings stand in double quotes in JSON, whose only words are null, true and false"),
    (b"truee", "invalid_json: trailing data at byte 4"),
    (b"\x00", "invalid_json: unexpected byte 0x00 at byte 0"),
    (b"[\x0b1]", "invalid_json: unexpected byte 0x0b at byte 1"),
    (b"[\xc2\xa01]", "invalid_json: unexpected byte 0xc2 at byte 1"),
    (b'"abc', "invalid_json: string is not closed, at byte 0"),
    (b'["abc\\"', "invalid_json: string is not closed, at byte 1"),
    (b'"a\nb"', "invalid_json: control character in a string at byte 2"),
    (b'"a\\x"', "invalid_json: wrong escape in a string at byte 2"),
    (b'"\\u12g4"', "invalid_json: wrong escape in a string at byte 1"),
    (b'["\xff"]', "invalid_encoding: the message is not UTF-8 at byte 2"),
    (b'["\xed\xa0\x80"]', "invalid_encoding: the message is not UTF-8 at byte 2"),
    (b'[1,,"\xff"]', "invalid_encoding: the message is not UTF-8 at byte 5"),
    (b'"\xc3"', "invalid_encoding: the message is not UTF-8 at byte 1"),
    (b"{} \xc0\xaf", "invalid_encoding: the message is not UTF-8 at byte 3"),
    (b"\xff\xfe{\0}\0", "invalid_encoding: the message is not UTF-8 at byte 0"),
])
def test_refuses_and_says_why(data, text):
    with pytest.raises(ValueError) as caught:
        loads(data)
    assert str(caught.value) == text


# Nesting


@pytest.mark.parametrize("opening, inner, closing", [
    (b"[", b"", b"]"), (b'{"a":', b"0", b"}"), (b'[{"a":', b"[]", b"}]"), (b' [ 1 , ', b"2", b" ] "),
])
def test_a_thousand_levels_and_no_more(opening, inner, closing):
    levels = opening.count(b"[") + opening.count(b"{")
    depth = (DEPTH - inner.count(b"[")) // levels
    assert category(opening * depth + inner + closing * depth) == "ok"
    for more in (depth + 1, 100000):
        data = opening * more + inner + closing * more
        with pytest.raises(ValueError, match="invalid_json: more than 1000 levels of nesting at byte"):
            loads(data)


def test_depth_is_per_place_not_in_all():
    assert len(loads(b"[" + b",".join([b"[" * 999 + b"]" * 999] * 5) + b"]")) == 5


@pytest.mark.parametrize("byte", [b"[", b'{"a":'])
def test_ten_million_levels_with_the_recursion_limit_lifted(byte):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        assert category(byte * (10**7 // len(byte))) == "invalid_json"
    finally:
        sys.setrecursionlimit(limit)


# Numbers


def test_doubles_agree_with_float(dice):
    texts = check_doubles.fixed_texts()
    assert check_doubles.check(loads, texts) > 20000
    count = 10000 if SANITIZED else 100000
    assert check_doubles.check(loads, check_doubles.random_texts(dice, count)) > count


def test_doubles_of_very_many_digits(dice):
    for digits in (20, 100, 766, 767, 768, 769, 770, 771, 1000, 100000):
        for text in ("1." + "3" * digits, "0." + "0" * digits + "7", "9" * digits + ".5e-%d" % digits,
                     "0.%d%s1" % (dice.getrandbits(64), "0" * digits), "1" + "0" * digits + "e-%d" % digits,
                     "1.00000000000000011102230246251565404236316680908203125" + "0" * digits + "1"):
            assert repr(loads(text.encode())) == repr(float(text)), text[:80]


def test_integers_agree_with_int(dice):
    texts = [str(base**power + more) for base in (2, 10) for power in range(0, 80) for more in (-1, 0, 1)]
    texts += [str(dice.getrandbits(bits) * sign) for bits in range(1, 200) for sign in (1, -1)]
    texts += ["-" + text for text in texts if text[0] != "-"]
    values = loads(("[" + ",".join(texts) + "]").encode())
    assert values == [int(text) for text in texts] and {type(value) for value in values} == {int}


@pytest.mark.skipif(not hasattr(sys, "get_int_max_str_digits"), reason="this CPython has no limit of digits")
def test_the_limit_of_digits_is_that_of_python():
    limit = sys.get_int_max_str_digits()
    assert loads(b"9" * limit) == 10**limit - 1 and loads(b"-" + b"9" * limit) == 1 - 10**limit
    for digits in (limit + 1, 10**6, 10**7):
        with pytest.raises(ValueError, match="invalid_json: integer with more digits than Python's limit at byte 4"):
            loads(b"[1, " + b"9" * digits + b"]")
    sys.set_int_max_str_digits(0)
    try:
        assert loads(b"1" + b"0" * 5000) == 10**5000
    finally:
        sys.set_int_max_str_digits(limit)


# Against json


forms = st.sampled_from([{}, {"indent": 1}, {"indent": "\t"}, {"separators": (",", ":")}, {"separators": (" ,\n", " : ")}])


@many
@given(values, forms)
def test_reads_what_json_writes(value, form):
    data = json.dumps(value, **form).encode()
    assert same(loads(data), json.loads(data))


@many
@given(values, forms)
def test_reads_what_json_writes_without_escapes(value, form):
    text = json.dumps(value, ensure_ascii=False, **form)
    assert agrees(text.encode("utf-8", "surrogatepass"))


@many
@given(values, st.lists(st.tuples(st.integers(0), st.binary(max_size=3)), min_size=1, max_size=3))
def test_judges_broken_texts_as_json_does(value, cuts):
    data = json.dumps(value, ensure_ascii=len(cuts) == 1).encode("utf-8", "replace")
    for place, bytes_in in cuts:
        place %= len(data) + 1
        data = data[:place] + bytes_in + data[place + place % 3:]
    assert agrees(data)


@many
@given(st.lists(st.sampled_from(['{', '}', '[', ']', ',', ':', '"', '"a"', '\\', '\\u', 'd83d', '0', '-', '1', '.', 'e', '+', 'true',
                                 'null', 'NaN', ' ', '\n', 'é', '世', '\ufeff', '\x01', '1.5', '"b":']), max_size=12))
@example(["-", "0"])
def test_judges_any_sequence_of_tokens_as_json_does(tokens):
    assert agrees("".join(tokens).encode())


def test_every_beginning_of_a_document_is_refused():
    text = '{"a": [1, -2.5e+3, true, null, "x\\u00e9\\n世\U0001f600"], "b\\"": {"c": "\u00e9"}}'
    data = text.encode()
    assert same(loads(data), json.loads(text))
    for size in range(len(data)):
        assert category(data[:size]) == expected(data[:size])[0] != "ok"
        for byte in b'\x00"\\]}\xff':
            assert agrees(data[:size] + bytes([byte]) + data[size + 1:])


def test_random_texts_are_read_as_by_json_and_node(dice):
    node = differential.have_node()
    count = 10000 if SANITIZED else 100000
    done, accepted = differential.check(loads, same, dice, count, node)
    assert done == count and count // 10 < accepted < count // 2
    if not node:
        pytest.skip("node is not installed (apt-get install nodejs): only json was asked")


# Large documents


def test_long_arrays_and_objects_are_filled_in_portions(dice):
    count = 300000
    array = [dice.choice((0, "x", None, 1.5, [], {})) for _ in range(count)]
    assert same(loads(json.dumps(array).encode()), array)
    pairs = [("k%d" % dice.randrange(count // 2), i) for i in range(count)]
    text = "{" + ",".join('"%s":%d' % pair for pair in pairs) + "}"
    assert same(loads(text.encode()), json.loads(text))
    assert same(loads(("[[" + text + "]," + json.dumps(array) + "]").encode()), [[json.loads(text)], array])


def test_values_wait_at_every_level_at_once():
    data = b"[" + b"0," * 2000 + (b"[" + b"0," * 300) * 500 + b"1" + b"]" * 501
    assert same(loads(data), json.loads(data))


def test_long_strings():
    for character in "aé世\U0001f600":
        for size in (1, 15, 16, 17, 63, 64, 65, 1000, 10**6):
            for tail in ("", "\\n", "é", "\\ud800"):
                assert loads(('"' + character * size + tail + '"').encode()) == character * size + json.loads('"%s"' % tail)


# Keys


def test_a_key_that_comes_again_is_the_same_object():
    first, second = loads(b'[{"some key": 1}, {"some key": 2}]')
    (one,), (two,) = first, second
    assert one is two


def test_a_key_that_comes_again_and_again_is_interned():
    """In a process of its own: the number of keys that are ever interned is limited."""
    program = "from asya_runtime import loads; import sys; keys = [*loads(b'{\"some_key\":1}'), *loads(b'{\"some_key\":1}')];" \
              "assert keys[1] is sys.intern('some_' + 'key')"
    subprocess.run([sys.executable, "-c", program], check=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))


def test_keys_of_every_length_and_kind(dice):
    keys = ["k" * size for size in range(130)] + ["é" * size for size in range(1, 70)] + ["世" * size for size in range(1, 50)]
    keys += ["\U0001f600" * size for size in range(1, 30)] + ["a\0%d" % i for i in range(30)] + ["\ud800%d" % i for i in range(9)]
    keys += ["".join(dice.choices("abé", k=dice.randrange(80))) for _ in range(2000)]
    value = dict.fromkeys(keys, 0)
    for _ in range(3):
        assert same(loads(json.dumps(value, ensure_ascii=True).encode()), value)
        assert same(loads(json.dumps([value, value], ensure_ascii=False).encode("utf-8", "backslashreplace")), [value, value])


def test_keys_that_never_come_again_are_not_kept():
    def load(start):
        return len(loads(json.dumps({"key %d" % i: 0 for i in range(start, start + 50000)}).encode()))

    load(0)
    before = sys.getallocatedblocks()
    assert load(10**6) == load(2 * 10**6) == 50000
    assert sys.getallocatedblocks() - before < 5000


# The collector


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("data", [b"[" + b"[]," * 50000 + b"0]", b"[" + b"[]," * 50000 + b"]", b"[]", b"["])
def test_the_collector_rests_and_is_what_it_was(data, on):
    runs = []
    was = gc.isenabled()
    (gc.enable if on else gc.disable)()
    gc.callbacks.append(lambda phase, info: runs.append(gc.isenabled()))
    try:
        category(data)
        ran = list(runs)
        assert gc.isenabled() == on
    finally:
        gc.callbacks.pop()
        (gc.enable if was else gc.disable)()
    assert len(ran) <= 2  # at most one, when all is done and the collector is on again


# Memory

PEAK = """
import resource, sys
from asya_runtime import loads
data = %s
loads(b"[]")
def now():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak counts from here on
before = now()
value = loads(data)
print(now() - before, %s)
"""


@pytest.mark.skipif(SANITIZED, reason="measures the memory of CPython's own allocator")
@pytest.mark.parametrize("data, objects", [
    ("b'\"' + b'a' * 40000000 + b'\"'", "sys.getsizeof(value)"),
    ("('\"' + 'é' * 20000000 + '\"').encode()", "sys.getsizeof(value)"),
    ("b'\"' + b'\\\\n' * 20000000 + b'\"'", "sys.getsizeof(value)"),
    ("b'[' + b'12.5,' * 1000000 + b'1]'", "sys.getsizeof(value) + 32 * len(value)"),
    ("b'[' + b'[],' * 500000 + b'1]'", "sys.getsizeof(value) + 64 * len(value)"),
    ("b'{' + b','.join(b'\"key %d\":%d' % (i, i + 5000) for i in range(300000)) + b'}'", "sys.getsizeof(value) + (64 + 32) * len(value)"),
], ids=["ASCII string", "Latin-1 string", "escapes", "doubles", "lists", "keys"])
def test_memory_peaks_at_the_buffer_and_the_objects(data, objects):
    """In a process of its own, whose malloc gives large blocks back at once. What waits to be put into an array, and what
    an array grows ahead, is within the tenth allowed beyond."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    run = subprocess.run([sys.executable, "-c", PEAK % (data, objects)], check=True, stdout=subprocess.PIPE, env=environment)
    peak, size = map(int, run.stdout.split())
    assert 0.9 * size < peak < 1.1 * size + 4e6


# What it leaves behind

ERRORS = [
    b"", b" ", b"[", b"[1", b"[1,", b'["a",', b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":[1.5,"xyz"],"b":{"c":[[', b'{"a b c d":"',
    b'["long enough to be no single character", 123456789, "\\x"]', b'[123456789012345678901234567890, 1.5, tru', b"[1]]", b'{"a":1}x',
    b'{"a":{"b":{"c":{}}},"d":]', '["世界世界","é\\n",'.encode(), b'["\xff"]', b'{"\xc3\xa9":1,"\xc3\xa9":2', b"9" * 5000,
    b"[" * 1001, b'{"key":' * 1001, b'["abc\x01"]', b'["ab\\u12"]', b"[" + b"[]," * 8000 + b"]", b"{" + b'"k":[],' * 4000 + b"}",
]


@pytest.mark.skipif(SANITIZED, reason="counts blocks of CPython's own allocator")
@pytest.mark.parametrize("data", ERRORS, ids=range(len(ERRORS)))
def test_errors_leave_nothing_behind(data):
    rounds = max(50, 10**5 // (1 + len(data) // 100))

    def fail(count):
        for _ in range(count):
            try:
                loads(data)
            except ValueError:
                continue
            raise AssertionError("accepted")

    fail(50)
    gc.collect()
    blocks, counts = sys.getallocatedblocks(), [sys.getrefcount(x) for x in (None, True, False, 1, "", "a")]
    fail(rounds)
    gc.collect()
    assert sys.getallocatedblocks() - blocks < max(50, rounds // 100)
    if sys.version_info < (3, 12):  # these are immortal from 3.12 on
        assert all(abs(sys.getrefcount(x) - count) < 50 for x, count in zip((None, True, False, 1, "", "a"), counts))


@pytest.mark.skipif(SANITIZED, reason="counts blocks of CPython's own allocator")
def test_results_leave_nothing_behind():
    data = ('[null,true,false,1,-1,1e5,1.5,123456789012345678901,"","a","abc","é","世","\\n\\ud800",[],{},[[1]],'
            '{"a":1,"a":2,"bc":[{}],"é":null,"\\u0061b":[]}]').encode()
    for _ in range(50):
        loads(data)
    gc.collect()
    blocks, counts = sys.getallocatedblocks(), [sys.getrefcount(x) for x in (None, True, False)]
    for _ in range(20000):
        loads(data)
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 200  # a hundredth of one for each; the test runner has threads of its own
    if sys.version_info < (3, 12):
        assert all(abs(sys.getrefcount(x) - count) < 50 for x, count in zip((None, True, False), counts))


def test_no_allocation_that_fails_does_harm():
    testcapi = pytest.importorskip("_testcapi")
    data = ('{"a":[1000,-1.5,123456789012345678901,0.1234567890123456789012345],"%d":{"é\\n":"世界","x":[[[]]]},"b":"%s"}'
            % (random.randrange(10**9), "y" * 100)).encode()
    value = loads(data)
    failures, results = 0, []
    for nth in range(60):
        testcapi.set_nomemory(nth, nth + 1)
        try:
            results.append(loads(data))
        except MemoryError:
            failures += 1
        finally:
            testcapi.remove_mem_hooks()
    assert all(same(result, value) for result in results)
    assert failures > 5
    assert same(loads(data), value)
