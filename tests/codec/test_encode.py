"""dumps: what it writes for every type, with CPython's json as the oracle; what it refuses, and where it says the fault
is; and what it leaves behind: nothing."""
import array
import collections
import dataclasses
import datetime
import decimal
import enum
import gc
import json
import os
import pathlib
import random
import sys
import threading
import typing
import uuid

import pytest
from asya_runtime import dumps, loads
from harness.conformance import json_suite
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, os.path.dirname(__file__))
import check_doubles  # noqa: E402
from documents import SANITIZED, compact, many, same, scalars, texts, values  # noqa: E402

DEPTH = 1000


def refusal(value):
    """(type, text) of the exception dumps raises."""
    try:
        return None, dumps(value)
    except Exception as error:  # whichever it is: the test compares it
        return type(error), str(error)


# json's own types


@many
@given(values)
def test_writes_what_json_writes(value):
    assert dumps(value) == compact(value)


@many
@given(values)
def test_what_is_written_reads_back_as_the_same(value):
    data = dumps(value)
    data.decode("utf-8", "strict")
    assert same(json.loads(data), json.loads(json.dumps(value)))
    assert same(loads(data), json.loads(json.dumps(value)))


@many
@given(st.dictionaries(st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False), texts), scalars))
def test_keys_are_those_of_json(value):
    assert dumps(value) == compact(value)


def test_jsontestsuite_survives_being_read_and_written():
    cases = [case for case in json_suite() if case.label in "yi"]
    done = 0
    for case in cases:
        try:
            value = loads(case.data)
        except ValueError:
            assert case.label == "i", case.name
            continue
        if "inf" in repr(value):  # a number too large to be a double, which loads accepts as json does
            assert refusal(value)[0] is ValueError, case.name
            continue
        assert dumps(value) == compact(json.loads(case.data.decode("utf-8"))), case.name
        assert same(loads(dumps(value)), json.loads(json.dumps(value))), case.name
        done += 1
    assert done >= 95


class Str(str):
    def __len__(self):
        return 10**9

    def __str__(self):
        return "not asked"


class Int(int):
    __str__ = __repr__ = lambda self: "not asked"


class Float(float):
    __str__ = __repr__ = lambda self: "not asked"


class List(list):
    def __getitem__(self, index):
        raise AssertionError("json does not ask either")


class Lazy(list):
    """A proxy: its storage is empty, as json finds out too."""

    def __iter__(self):
        return iter(["loaded"])


class LazyTuple(tuple):
    def __iter__(self):
        return iter(["loaded"])


class Tuple(tuple):
    pass


class Dict(dict):
    def items(self):
        return [(key, value * 2) for key, value in super().items()]


class DataFrame:
    pass


class AttrDict(dict):
    def __init__(self, **members):
        super().__init__(**members)
        self.__dict__ = self


Point = collections.namedtuple("Point", "x y")
Colour = enum.Enum("Colour", {"RED": 1, "GREEN": "green", "BOTH": [1, "green"]})
Level = enum.IntEnum("Level", {"LOW": 1})
Flags = enum.IntFlag("Flags", {"A": 1, "B": 2})


class Word(str, enum.Enum):
    YES = "yes"


@dataclasses.dataclass
class Order:
    id: int = 1
    lines: list = dataclasses.field(default_factory=lambda: [Point(1, 2.5)])
    shop: typing.ClassVar[str] = "no field"
    seed: dataclasses.InitVar[int] = 0


@dataclasses.dataclass
class Discounted(Order):
    percent: decimal.Decimal = decimal.Decimal("12.50")


@dataclasses.dataclass(frozen=True)
class Slots:
    __slots__ = ("name",)
    name: str


AFTERNOON = datetime.datetime(2024, 2, 29, 13, 30, 59, 6, datetime.timezone(datetime.timedelta(hours=-3)))

WRITTEN = {
    "a str subclass is its characters": (Str('a"b'), b'"a\\"b"'),
    "a str subclass beyond ASCII": (Str("\xe9\u4e16\U0001f600\ud800"), '"\xe9\u4e16\U0001f600\\ud800"'.encode()),
    "an int subclass is its number": (Int(-5), b"-5"),
    "a large int subclass": (Int(-2**70), b"-1180591620717411303424"),
    "a float subclass is its number": (Float(1.5), b"1.5"),
    "a list subclass is its storage": (List([1, [2]]), b"[1,[2]]"),
    "a list or tuple with an __iter__ of its own is asked": ([Lazy(), LazyTuple()], b'[["loaded"],["loaded"]]'),
    "a tuple": ((1, (), ("a",)), b'[1,[],["a"]]'),
    "a tuple subclass": (Tuple([1]), b"[1]"),
    "a named tuple is a list": (Point(1, None), b"[1,null]"),
    "a dict subclass decides by its items": (Dict(a=1, b=2), b'{"a":2,"b":4}'),
    "an ordered dict keeps the order it was given": (collections.OrderedDict([("b", 1), ("a", 2)]), b'{"b":1,"a":2}'),
    "a default dict": (collections.defaultdict(list, a=[1]), b'{"a":[1]}'),
    "a counter": (collections.Counter("aab"), b'{"a":2,"b":1}'),
    "keys that are no str": ({1: 1, 2.5: 2, None: 3, False: 4, 2**70: 5, -0.0: 6},
                             b'{"1":1,"2.5":2,"null":3,"false":6,"1180591620717411303424":5}'),
    "keys of subclasses": ({Str("k"): 1, Int(7): 2, Float(0.5): 3, Level.LOW: 4, Word.YES: 5},
                           b'{"k":1,"7":2,"0.5":3,"1":4,"yes":5}'),
    "keys that stand for others": ({"a": 1, Colour.GREEN: 2, uuid.UUID(int=1): {decimal.Decimal("1.5"): [3]}, datetime.date(2024, 1, 2): 4, "z": 5},
                                   b'{"a":1,"green":2,"00000000-0000-0000-0000-000000000001":{"1.5":[3]},"2024-01-02":4,"z":5}'),
    "such keys in a dict subclass": (collections.defaultdict(int, {Colour.RED: 1, "b": {Colour.RED: 2}}), b'{"1":1,"b":{"1":2}}'),
    "a dict that is its own __dict__": (AttrDict(items=[1, 2]), b'{"items":[1,2]}'),
    "an Enum is its value": ([Colour.RED, Colour.GREEN, Colour.BOTH], b'[1,"green",[1,"green"]]'),
    "an IntEnum is its number": ([Level.LOW, Flags.A | Flags.B], b"[1,3]"),
    "a str Enum is its text": (Word.YES, b'"yes"'),
    "a dataclass is its fields": (Order(), b'{"id":1,"lines":[[1,2.5]]}'),
    "a dataclass that inherits": (Discounted(lines=[]), b'{"id":1,"lines":[],"percent":"12.50"}'),
    "a dataclass with slots": ({"x": Slots("n")}, b'{"x":{"name":"n"}}'),
    "dates and times are ISO 8601": ([datetime.date(1, 2, 3), datetime.time(4, 5), datetime.datetime(2024, 1, 1), AFTERNOON],
                                     b'["0001-02-03","04:05:00","2024-01-01T00:00:00","2024-02-29T13:30:59.000006-03:00"]'),
    "a UUID": (uuid.UUID(int=2**127), b'"80000000-0000-0000-0000-000000000000"'),
    "a Decimal keeps its digits": ([decimal.Decimal("1.10"), decimal.Decimal("1E+30")], b'["1.10","1E+30"]'),
    "paths": ([pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:\\x"), pathlib.Path("r\xe9l")],
              '["/a/b","c:\\\\x","r\xe9l"]'.encode()),
    "bytes are base64": ([b"", b"a", b"ab", b"abc", bytes(range(256))[-7:]], b'["","YQ==","YWI=","YWJj","+fr7/P3+/w=="]'),
    "bytearray and memoryview too": ([bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"abcdef")[::2]], b'["YWJjZA==","YWJjZA==","YWNl"]'),
    "sets are lists": ([{1}, frozenset(["a"]), set()], b'[[1],["a"],[]]'),
    "an array.array is its numbers": (array.array("d", [1.5, -2]), b"[1.5,-2.0]"),
    "a surrogate is an escape": (["\ud800", "a\udfffb", "\ud83d\ude00"], b'["\\ud800","a\\udfffb","\\ud83d\\ude00"]'),
    "a surrogate in a key": ({"\udc00": 1}, b'{"\\udc00":1}'),
    "integers around 64 bits": ([2**63 - 1, 2**63, -2**63, -2**63 - 1, 2**64, 10**100], b"[%d,%d,%d,%d,%d,%d]" % (2**63 - 1, 2**63, -2**63, -2**63 - 1, 2**64, 10**100)),
    "integers around their digits in memory": ([2**30 - 1, 2**30, -2**30, 1 - 2**30, 2**60, -2**60 + 1], b"[%d,%d,%d,%d,%d,%d]" % (2**30 - 1, 2**30, -2**30, 1 - 2**30, 2**60, 1 - 2**60)),
}


@pytest.mark.parametrize("value, data", WRITTEN.values(), ids=WRITTEN)
def test_writes(value, data):
    assert dumps(value) == data
    assert dumps([value, {"k": value}]) == b"[" + data + b',{"k":' + data + b"}]"


def test_a_tree_of_everything_at_once():
    parts = {name: value for name, (value, _) in WRITTEN.items()}
    expected = ",".join("%s:%s" % (json.dumps(name), data.decode()) for name, (_, data) in WRITTEN.items())
    assert dumps(parts).decode() == "{" + expected + "}"


# Models


def test_pydantic_models_decide_themselves():
    pydantic = pytest.importorskip("pydantic", minversion="2")

    class Item(pydantic.BaseModel):
        price: decimal.Decimal = decimal.Decimal("1.50")
        when: datetime.date = datetime.date(2024, 1, 2)
        tags: set = {"a"}
        blob: bytes = b"plain"
        note: typing.Optional[str] = None

        @pydantic.computed_field
        @property
        def double(self) -> int:
            return 2

        @pydantic.field_serializer("note")
        def say(self, value):
            return "said"

    assert dumps([Item()]) == b"[" + Item().model_dump_json().encode() + b"]"
    assert json.loads(dumps(Item()))["note"] == "said" and json.loads(dumps(Item()))["double"] == 2


def test_pydantic_models_of_version_1():
    pydantic = pytest.importorskip("pydantic.v1")

    class Item(pydantic.BaseModel):
        price: decimal.Decimal = decimal.Decimal("1.50")
        when: datetime.date = datetime.date(2024, 1, 2)
        inner: dict = {"a": (1, 2)}

    assert dumps([Item()]) == b'[{"price":1.5,"when":"2024-01-02","inner":{"a":[1,2]}}]'  # as json() has it
    assert json.loads(dumps(Item())) == json.loads(Item().json())


def test_msgspec_structs():
    msgspec = pytest.importorskip("msgspec")

    class Item(msgspec.Struct):
        name: str
        count: int = 2

    assert dumps({"item": Item("n")}) == b'{"item":{"name":"n","count":2}}'


def test_a_class_that_becomes_a_dataclass_late_is_known_then():
    class Late:
        a: int = 1

    assert refusal(Late())[0] is TypeError
    assert dumps(dataclasses.dataclass(Late)()) == b'{"a":1}'


def test_more_types_than_are_remembered():
    kinds = [dataclasses.make_dataclass("C%d" % i, ["f%d" % i]) for i in range(500)]
    for _ in range(3):
        for i, kind in enumerate(kinds):
            assert dumps(kind(i)) == b'{"f%d":%d}' % (i, i)


def test_an_object_with_tolist():
    class Tensor:
        def tolist(self):
            return [[1, 2.5], [True]]

    assert dumps({"t": Tensor()}) == b'{"t":[[1,2.5],[true]]}'


# What is refused, and where


class Raising(dict):
    def items(self):
        raise KeyError("no such thing")


class OddItems(dict):
    def items(self):
        return [(1, 2), 3]


@dataclasses.dataclass
class Missing:
    there: int
    gone: int


def without_field():
    value = Missing(1, 2)
    del value.gone
    return value


class Endless:
    def tolist(self):
        return Other()


class Other:
    def tolist(self):
        return Endless()


NAN = float("nan")
JSONLESS = "an object of type %s cannot be written as JSON"
REFUSED = {
    "NaN deep inside": ({"items": [0, 1, 2, {"score": NAN}]}, ValueError, "obj.items[3].score: NaN is not a JSON number"),
    "Infinity alone": (float("inf"), ValueError, "obj: Infinity is not a JSON number"),
    "minus Infinity in a tuple": ((1, -float("inf")), ValueError, "obj[1]: -Infinity is not a JSON number"),
    "NaN as a key": ({"a": {NAN: 1}}, ValueError, "obj.a: NaN is not a JSON number"),
    "a tuple as a key": ([{(1, 2): 3}], TypeError, "obj[0]: a key must be str, int, float, bool or None, not tuple"),
    "bytes as a key": ({b"x": 1}, TypeError, "obj: a key must be str, int, float, bool or None, not bytes"),
    "an Enum as a key whose value is none": ({"a": {Colour.BOTH: 1}}, TypeError, "obj.a: a key must be str, int, float, bool or None, not Colour"),
    "an object as a key behind others": ({Level.LOW: 1, Colour.RED: 2, "x": 3, None: [{object(): 1}]}, TypeError, "obj.None[0]: a key must be str, int, float, bool or None, not object"),
    "an object of no known type": ({"a b": [object()]}, TypeError, 'obj["a b"][0]: ' + JSONLESS % "object"),
    "a key with quotes on the way": ({'"\n': {"\xe9": 1j}}, TypeError, 'obj["\\"\\n"]["\xe9"]: ' + JSONLESS % "complex"),
    "a number as a key on the way": ({1: {None: 1j}}, TypeError, 'obj["1"].None: ' + JSONLESS % "complex"),
    "a complex number in a set": ([{1j}], TypeError, "obj[0][0]: " + JSONLESS % "complex"),
    "a coroutine that was forgotten": ((x for x in ()), TypeError, "obj: " + JSONLESS % "generator" + ": make it a list"),
    "a map": ({"a": map(str, [1])}, TypeError, "obj.a: " + JSONLESS % "map" + ": make it a list"),
    "an object of a class in a module": ([pathlib], TypeError, "obj[0]: " + JSONLESS % "module"),
    "a table": (DataFrame(), TypeError, "obj: " + JSONLESS % (__name__ + ".DataFrame") + ": return its .to_dict('records')"),
    "a class instead of an instance": ([Order], TypeError, "obj[0]: " + JSONLESS % "type"),
    "a field of a dataclass": (Order(lines=[1, NAN]), ValueError, "obj.lines[1]: NaN is not a JSON number"),
    "a field that is gone": ({"m": without_field()}, AttributeError, "'Missing' object has no attribute 'gone'"),
    "items() that raises": ({"x": [Raising(a=1)]}, KeyError, "no such thing"),
    "items() that gives no pairs": ([OddItems(a=1)], ValueError, "obj[0]: items() of a dict subclass must give pairs"),
    "an object that stands for another without end": ([Endless()], ValueError, "obj[0]: an object stands for another, and that for another, without end"),
    "an int with more digits than Python's limit": ([0, 10**5000], ValueError, "obj[1]: Exceeds the limit"),
    "a float subclass that is NaN": ([Float("nan")], ValueError, "obj[0]: NaN is not a JSON number"),
    "NaN in an array.array": ({"a": array.array("d", [1, NAN])}, ValueError, "obj.a[1]: NaN and Infinity are no JSON numbers"),
}


@pytest.mark.parametrize("value, kind, text", REFUSED.values(), ids=REFUSED)
def test_refuses_and_says_where(value, kind, text):
    found, said = refusal(value)
    # what the object's own code raised is passed on by name: as TypeError if it is one, else as ValueError
    assert found is (TypeError if kind is TypeError else ValueError)
    assert text in said and said.startswith("obj")


@dataclasses.dataclass
class Box:
    x: object


WRAPS = {
    "list": lambda x: [x], "tuple": lambda x: (x,), "dict": lambda x: {"k": x}, "ordered dict": lambda x: collections.OrderedDict(k=x),
    "list subclass": lambda x: List([x]), "dataclass": Box,
}


def nested(levels, wrap=WRAPS["list"]):
    value = 0
    for _ in range(levels):
        value = wrap(value)
    return value


def circle(kind):
    if kind == "list":
        value = []
        value.append({"x": value})
        return value, "obj[0].x"
    if kind == "dict":
        value = {}
        value["self"] = {"again": value}
        return value, "obj.self.again"
    if kind == "inner":
        inner = []
        inner.append(inner)
        return {"deep": [1, inner]}, "obj.deep[1][0]"
    if kind == "tuple":
        inner = []
        value = (inner, 1)
        inner.append(value)
        return value, "obj[0][0]"
    if kind == "dataclass":
        value = Order()
        value.lines = [value]
        return value, "obj.lines[0]"
    value = collections.OrderedDict()
    value["m"] = value
    return value, "obj.m"


@pytest.mark.parametrize("kind", ["list", "dict", "inner", "tuple", "dataclass", "ordered dict"])
def test_refuses_a_circle_where_it_closes(kind):
    value, where = circle(kind)
    assert refusal(value) == (ValueError, where + ": circular reference")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 63, 64, 65, 299, 499, 511, 999, 1000])
def test_finds_circles_of_any_size(size):
    links = [[] for _ in range(size)]
    for link, following in zip(links, links[1:] + links[:1]):
        link.append(following)
    found, said = refusal({"x": links[0]} if size < 1000 else links[0])
    assert found is ValueError and said.endswith("[0]: circular reference")


def test_the_same_object_twice_is_no_circle():
    shared = [1]
    assert dumps([shared, shared, {"a": shared, "b": (shared,)}]) == b'[[1],[1],{"a":[1],"b":[[1]]}]'


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_thousand_levels_and_no_more(wrap):
    opening, closing = dumps(wrap(0)).split(b"0", 1)
    assert dumps(nested(DEPTH, wrap)) == opening * DEPTH + b"0" + closing * DEPTH
    found, said = refusal(nested(DEPTH + 1, wrap))
    assert found is ValueError and said.endswith(": more than 1000 levels of nesting") and len(said) < 500


def test_a_long_path_keeps_its_beginning_and_its_end():
    value = {"score": NAN}
    for i in range(100):
        value = {"a key that is long %d" % i: value}
    found, said = refusal({"first": value})
    assert said.startswith('obj.first["a key that is long 99"]') and said.endswith('["a key that is long 0"].score: NaN is not a JSON number')
    assert len(said) < 450 and "..." in said


# Code of the object that does harm while it is written


class Clearing:
    """tolist() empties the containers it is in."""

    def __init__(self, *containers):
        self.containers = containers

    def tolist(self):
        for container in self.containers:
            container.clear()
        gc.collect()
        return [1, "x" * 100]


def test_a_container_that_is_emptied_on_the_way():
    for _ in range(3):
        inner = [1, None, "after"]
        outer = {"a" * 40: inner, "b": 2}
        top = [outer, 3]
        inner[1] = Clearing(inner, outer, top)
        assert json.loads(dumps(top)) == [{"a" * 40: [1, [1, "x" * 100]], "b": 2}]  # a dict as it was, lists as they are


class Growing:
    def __init__(self, container):
        self.container = container

    def tolist(self):
        for i in range(1000):
            if isinstance(self.container, dict):
                self.container[object()] = 1
                self.container["new %d" % i] = i
            else:
                self.container.append(i)
        return 0


def test_a_list_that_grows_on_the_way_is_written_to_its_end():
    value = [0]
    value[0] = Growing(value)
    assert json.loads(dumps(value)) == [0, *range(1000)]


def test_a_dict_that_grows_on_the_way_does_no_harm():
    value = {}
    value["a"] = Growing(value)
    found, said = refusal(value)
    assert found in (None, TypeError)


class Hostile(str):
    def __hash__(self):
        return 1

    def __eq__(self, other):
        raise RuntimeError("compared")


def test_keys_with_code_of_their_own_are_not_asked():
    assert dumps({Hostile("a"): 1}) == b'{"a":1}'


def test_an_object_that_calls_dumps_itself():
    class Inner:
        def tolist(self):
            return [dumps({"x": [1, 2, "three" * 50]}).decode(), refusal([NAN])[1]]

    assert json.loads(dumps([Inner(), Inner()])) == [['{"x":[1,2,"%s"]}' % ("three" * 50), "obj[0]: NaN is not a JSON number"]] * 2


# Texts


def test_every_character():
    for start in range(0, 0x110000, 0x1000):
        characters = [chr(c) for c in range(start, start + 0x1000)]
        assert dumps(characters) == compact(characters)
        text = "".join(characters)
        assert dumps(text) == compact(text) and dumps({text: 0}) == compact({text: 0})


def test_texts_of_every_length_and_kind(dice):
    for widest in (0x7F, 0xFF, 0xFFFF, 0x10FFFF):
        for size in [*range(140), 1023, 1024, 1025, 5000, 100000]:
            text = "".join(chr(dice.choice((dice.randrange(0x20, 0x7F), dice.randrange(widest + 1)))) for _ in range(size))
            assert dumps(text) == compact(text)
            assert dumps({text: text}) == compact({text: text})


def test_characters_to_be_escaped_at_every_place():
    for size in range(1, 80):
        for place in range(size):
            for character in '"\\\n\x1f\x00\x7f\x80\ud800':
                text = "x" * place + character + "y" * (size - place - 1)
                assert dumps(text) == compact(text)


def test_output_that_is_nearly_all_escapes():
    for text in ("\0" * 10**5, '"' * 10**5, "\ud800" * 10**5, ("\x01" * 63 + "a") * 1000):
        assert dumps([text, text]) == compact([text, text])


# Numbers


def test_doubles_are_written_as_by_repr(dice):
    numbers = [*check_doubles.fixed_doubles(), *check_doubles.random_doubles(dice, 10000 if SANITIZED else 100000)]
    assert check_doubles.check_written(dumps, numbers) == len(numbers) > 20000


def test_integers_are_written_as_by_str(dice):
    numbers = [sign * (base**power + more) for sign in (1, -1) for base in (2, 10) for power in range(80) for more in (-1, 0, 1)]
    numbers += [dice.getrandbits(bits) * sign for bits in range(1, 200) for sign in (1, -1)]
    assert dumps(numbers) == compact(numbers)


# Large results


def test_a_large_tree(dice):
    value = [{"id": i, "name": "item-%d" % i, "score": dice.random(), "tags": ["a", "\xe9", "\u4e16"], "on": i % 2 == 0, "none": None} for i in range(20000)]
    assert dumps(value) == compact(value)


def test_many_brackets():
    value = [[], {}, [[]], ()] * 20000
    assert dumps(value) == compact(value)


# What changes while it is written


class Changes:
    """Written by code of its own, which changes the dict that it is in."""

    def __init__(self, change):
        self.change = change

    def tolist(self):
        self.change()
        return "changed"


CHANGES = {
    "a member that goes to the end": lambda d: d.__setitem__("a", d.pop("a")),
    "members that go": lambda d: [d.pop(key) for key in "bcd"],
    "members that come": lambda d: d.update({str(i): i for i in range(100)}),
    "all of it": lambda d: d.clear(),
    "its key": lambda d: d.pop("x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_a_dict_is_written_as_it_was(change, kind):
    value = kind(a=1, x=None, b=2, c=[3], d={"e": 4})
    value["x"] = Changes(lambda: change(value))
    assert dumps([value, 5]) == b'[{"a":1,"x":"changed","b":2,"c":[3],"d":{"e":4}},5]'


def test_a_key_that_changes_its_dict():
    class Key(enum.Enum):
        ONE = 1

        @property
        def value(self):
            there.clear()
            return "one"

    there = {"a": 1, Key.ONE: [2], "b": {"c": 3}}
    assert dumps(there) == b'{"a":1,"one":[2],"b":{"c":3}}'


def test_a_dict_that_another_thread_changes_has_each_member_once():
    shared = {"k%03d" % i: uuid.UUID(int=i) for i in range(500)}
    over = threading.Event()

    def touch():
        while not over.is_set():
            for key in list(shared)[::7]:
                shared[key] = shared.pop(key)

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=touch)
    thread.start()
    try:
        for _ in range(100):
            keys = [key for key, _ in json.loads(dumps(shared), object_pairs_hook=list)]
            assert len(keys) == len(set(keys)) and len(keys) >= 499  # one may be out between pop and store
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(switching)


# What it leaves behind

LEAVING = [(name, row[0]) for name, row in REFUSED.items() if "coroutine" not in name]
LEAVING += [("a circle of a " + kind, circle(kind)[0]) for kind in ("list", "inner", "dataclass", "ordered dict")]
LEAVING += [("1001 levels", nested(DEPTH + 1)), ("1001 levels of dataclasses", nested(DEPTH + 1, Box))]
CONSTANTS = (None, True, False, 1, "", "a", Order, Colour, collections.OrderedDict)


def left_behind(value, count):
    """(blocks, references to constants) that `count` calls leave behind."""
    def write(times):
        for _ in range(times):
            try:
                dumps(value)
            except (TypeError, ValueError):
                pass

    write(1000)  # fills the interpreter's own caches and free lists, as the collections do
    gc.collect()
    write(1000)
    gc.collect()
    blocks, counts = sys.getallocatedblocks(), [sys.getrefcount(x) for x in CONSTANTS]
    write(count)
    gc.collect()
    blocks = sys.getallocatedblocks() - blocks
    return blocks, max(abs(sys.getrefcount(x) - count) for x, count in zip(CONSTANTS, counts))


@pytest.mark.skipif(SANITIZED, reason="counts blocks of CPython's own allocator")
@pytest.mark.parametrize("value", [value for _, value in LEAVING], ids=[name for name, _ in LEAVING])
def test_errors_leave_nothing_behind(value):
    assert refusal(value)[0] is not None
    blocks, references = left_behind(value, 2000 if "levels" in refusal(value)[1] else 10**5)  # a thousand levels take their time
    assert blocks < 200  # a thousandth of one for each
    assert references < 50 or sys.version_info >= (3, 12)  # where some are immortal


@pytest.mark.skipif(SANITIZED, reason="counts blocks of CPython's own allocator")
@pytest.mark.parametrize("value", [row[0] for row in WRITTEN.values()], ids=WRITTEN)
def test_results_leave_nothing_behind(value):
    blocks, references = left_behind(value, 5000)
    assert blocks < 200
    assert references < 50 or sys.version_info >= (3, 12)


def test_no_allocation_that_fails_does_harm():
    """Where CPython is 3.12 or newer, without dataclasses: dataclasses.fields() has a generator expression, and these
    interpreters free its generator twice if there is no memory for it, so that they crash some time later."""
    testcapi = pytest.importorskip("_testcapi")
    rows = [row[0] for name, row in WRITTEN.items() if sys.version_info < (3, 12) or "dataclass" not in name]
    value = rows + [random.random(), "y" * 5000, {"\xe9": ["\u4e16" * 2000, Str("x" * 2000)]}]
    data = dumps(value)
    failures = 0
    for nth in range(400):
        testcapi.set_nomemory(nth, nth + 1)
        try:
            result = dumps(value)
        except MemoryError:
            failures += 1
        else:
            assert result == data
        finally:
            testcapi.remove_mem_hooks()
    assert failures > 50
    assert dumps(value) == data
