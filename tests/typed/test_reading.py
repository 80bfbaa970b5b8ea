"""How payloads are read: what it costs, what is refused at the start, and what a library decides."""
import dataclasses
import datetime
import enum
import json
import random
import resource
import sys
import time
import typing
import uuid

import pytest

from . import reading


def read(annotation, payload):
    return reading.converter(annotation)(payload)


def refusal(annotation, payload):
    with pytest.raises(ValueError) as caught:
        read(annotation, payload)
    return str(caught.value)


# What it costs


@dataclasses.dataclass
class Add:
    left: "Expr"
    op: typing.Literal["add"]


@dataclasses.dataclass
class Mul:
    left: "Expr"
    op: typing.Literal["mul"]


@dataclasses.dataclass
class Plus:
    left: "Sum"
    right: int


@dataclasses.dataclass
class Minus:
    left: "Sum"
    right: str


Expr = typing.Union[Add, Mul, int]
Sum = typing.Union[Plus, Minus, int]


@dataclasses.dataclass
class Tree:
    left: typing.Optional["Tree"] = None
    right: typing.Optional["Tree"] = None


def chain(levels, wrap, value):
    for _ in range(levels):
        value = wrap(value)
    return value


def cheapest(convert, payload, times=5):
    """Seconds of the processor for one conversion."""
    def once():
        begun = time.process_time()
        convert(payload)
        return time.process_time() - begun
    return min(once() for _ in range(times))


DEEP = {
    "a tree": (reading.Node, lambda inner: {"kids": [inner]}, {}),
    "a union told by a tag": (Expr, lambda inner: {"left": inner, "op": "mul"}, 1),
    "a union whose second is right": (Sum, lambda inner: {"left": inner, "right": "x"}, 1),
}


@pytest.mark.parametrize("annotation, wrap, leaf", DEEP.values(), ids=DEEP)
def test_depth_costs_no_stack_and_only_its_length(annotation, wrap, leaf):
    """5,000 levels, five times what loads() takes. Each level twice over would be 2^5000."""
    convert = reading.converter(annotation)
    few, many = (cheapest(convert, chain(levels, wrap, leaf)) for levels in (500, 5000))
    assert many < 30 * few  # ten times as many


def test_a_payload_that_fails_at_every_level_costs_only_its_length():
    convert = reading.converter(Sum)

    def fails(payload):
        with pytest.raises(ValueError):
            convert(payload)

    few, many = (cheapest(fails, chain(levels, lambda inner: {"left": inner, "right": "x"}, None)) for levels in (100, 1000))
    assert many < 40 * few


def random_tree(dice, size):
    if size == 0:
        return None
    left = dice.randrange(size)
    return {"left": random_tree(dice, left), "right": random_tree(dice, size - 1 - left)}


def test_payloads_of_ever_other_shapes_leave_nothing(dice):
    convert = reading.converter(Tree)
    for count in (200, 2000):
        for _ in range(count):
            convert(random_tree(dice, 30))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first = used if count == 200 else first
    assert used - first < 2000  # kB


# What is refused at the start


class Unknown:
    pass


@dataclasses.dataclass
class Holds:
    when: datetime.date
    what: Unknown


@dataclasses.dataclass
class Absent:
    x: "NoSuchName"  # noqa: F821


@dataclasses.dataclass
class Ever(typing.Generic[reading.T]):
    inner: typing.Optional["Ever[typing.List[reading.T]]"] = None


@dataclasses.dataclass(init=False)
class OtherInit:
    x: int

    def __init__(self, something):
        self.x = something


NOT_UNDERSTOOD = {
    "a class of the user's": (Unknown, "Unknown is no class that a payload can be read into"),
    "in a field": (typing.List[Holds], "field 'what' of Holds: Unknown is no class"),
    "a field that cannot be resolved": (Absent, "field 'x' of Absent: it cannot be resolved (NameError"),
    "a function": (typing.Callable[[int], int], "is nothing a payload can be read into"),
    "keys that JSON has not": (typing.Dict[typing.Tuple[int], int], "tuple cannot be the key of an object"),
    "ever other types": (Ever[int], "it refers to itself with ever other types"),
    "an __init__ that takes no fields": (OtherInit, "OtherInit cannot be made of its fields"),
}


@pytest.mark.parametrize("annotation, text", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_what_is_not_understood_is_refused(annotation, text):
    said, = reading.converter(annotation)
    assert said.startswith("the annotation of 'payload' is not understood: ") and text in said


def test_such_a_function_does_not_start(refuse):
    refusal = refuse("typed:plain_class")
    assert refusal.code == 68
    assert "the annotation of 'payload' is not understood: field 'part' of Whole: Part is no class" in refusal.cause


# Unions


class Loud(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value):
        raise KeyError(value)


class Soft(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value):
        return cls(value.lower()) if value.lower() == "a" else None


UNFIT = {
    "no member fits": (typing.Union[reading.Short, reading.Point], 5, "payload: Short or Point expected, not int"),
    "each says why": (typing.Union[Plus, Minus], {"left": 1, "right": None},
                      "(Plus: right: int expected, not null; Minus: right: str expected, not null)"),
    "what a tag rules out says nothing": (Expr, {"left": {"left": "x", "op": "mul"}, "op": "add"}, "left.left: Add or Mul or int expected, not str"),
    "a tag that is none": (Expr, {"left": 1, "op": "secret"}, "(Add: op: one of 'add' expected; Mul: op: one of 'mul' expected)"),
    "a _missing_ that raises": (Loud, "secret", "one of 'a' expected"),
    "a list for an Enum": (Loud, [1], "one of 'a' expected"),
    "too large": (typing.List[typing.Union[float, reading.Line]], [10**400], "[0]: the number is out of range for a float"),
    "no base64": (bytes, "aGk\xe9", "base64 expected"),
    "no such day": (datetime.date, "2023-02-29", "date expected"),
    "a huge duration": (datetime.timedelta, "P%dD" % 10**12, "duration expected"),
}


@pytest.mark.parametrize("annotation, payload, text", UNFIT.values(), ids=UNFIT)
def test_says_what_is_wrong_without_the_value(annotation, payload, text):
    said = refusal(annotation, payload)
    assert text in said and "secret" not in said


def test_a_missing_of_the_users_may_find_the_member():
    assert read(Soft, "A") is Soft.A


if sys.version_info >= (3, 11):
    class Keyed(typing.TypedDict, typing.Generic[reading.T]):
        v: reading.T
        more: typing.NotRequired[typing.List[reading.T]]

    class Twin(typing.NamedTuple, typing.Generic[reading.T]):
        left: reading.T
        right: "typing.Optional[Twin[reading.T]]" = None

    @dataclasses.dataclass
    class Linked:
        next: typing.Optional[typing.Self] = None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this CPython has no generic TypedDict")
def test_generic_typed_dicts_and_named_tuples():
    day = datetime.date(2024, 2, 29)
    assert read(Keyed[datetime.date], {"v": "2024-02-29", "more": ["2024-02-29"]}) == {"v": day, "more": [day]}
    assert "more[0]: date expected" in refusal(Keyed[datetime.date], {"v": "2024-02-29", "more": [1]})
    assert read(Twin[datetime.date], ["2024-02-29", ["2024-02-29"]]) == Twin(day, Twin(day))
    assert read(Linked, {"next": {"next": {}}}) == Linked(Linked(Linked()))


# What libraries decide

pydantic = pytest.importorskip("pydantic", minversion="2")
msgspec = pytest.importorskip("msgspec")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    when: datetime.date
    id: uuid.UUID
    colour: reading.Colour = reading.Colour.RED
    tags: typing.Set[str] = set()
    by: typing.Dict[int, str] = {}
    kind: typing.Optional[str] = pydantic.Field(default=None, alias="type")


class Root(pydantic.RootModel):
    root: typing.List[datetime.date]


@pydantic.dataclasses.dataclass(config={"strict": True})
class Validated:
    when: datetime.date
    raw: bytes = b""


class Pet(pydantic.BaseModel):
    kind: typing.Literal["cat"]


class OtherPet(pydantic.BaseModel):
    kind: typing.Literal["dog"]


class Owner(pydantic.BaseModel):
    pet: typing.Union[Pet, OtherPet] = pydantic.Field(discriminator="kind")


class Anything(pydantic.BaseModel):
    value: typing.Any


class Own(pydantic.BaseModel):
    x: int

    @classmethod
    def model_validate(cls, value):
        return cls(x=value["y"])


class Reading(msgspec.Struct, rename="camel", tag="reading"):
    first_name: str
    by: typing.Dict[int, datetime.date] = {}
    raw: bytes = b""


class Sort(enum.Enum):
    RED = "red"


class Mixture(msgspec.Struct):
    colour: reading.Colour


class Incomplete(pydantic.BaseModel):
    x: "NoSuchName"  # noqa: F821


class Loose(msgspec.Struct):
    colour: Sort
    kind: typing.Literal["a"] = "a"


@dataclasses.dataclass
class Mixed:
    model: Strict
    struct: Reading
    url: typing.Optional[pydantic.HttpUrl] = None
    limited: typing.Optional[pydantic.conint(gt=3)] = None


STRICT = {"when": "2024-02-29", "id": str(uuid.UUID(int=5)), "colour": 2, "tags": ["a"], "by": {"1": "x"}, "type": "k"}


def test_a_strict_model_takes_what_json_can_say():
    assert read(Strict, STRICT) == Strict.model_validate_json(json.dumps(STRICT))
    assert read(typing.List[Root], [["2024-02-29"]]) == [Root([datetime.date(2024, 2, 29)])]
    assert read(Validated, {"when": "2024-02-29", "raw": "x"}) == Validated(datetime.date(2024, 2, 29), b"x")


def test_a_model_decides_by_its_own_method_where_it_has_one():
    assert read(Own, {"y": 5}) == Own(x=5)


def test_a_struct_has_text_for_keys():
    payload = {"type": "reading", "firstName": "ada", "by": {"1": "2024-02-29"}, "raw": "aGk="}
    assert read(Reading, payload) == Reading("ada", {1: datetime.date(2024, 2, 29)}, b"hi")


def test_libraries_within_classes_of_the_standard_library():
    mixed = read(Mixed, {"model": STRICT, "struct": {"type": "reading", "firstName": "a"}, "url": "http://a.b/"})
    assert mixed == Mixed(Strict.model_validate_json(json.dumps(STRICT)), Reading("a"), pydantic.HttpUrl("http://a.b/"))


def test_what_jiter_does_not_take_is_validated_as_it_is():
    deep = chain(300, lambda inner: [inner], 1)
    assert read(Anything, {"value": deep}).value == deep
    assert read(Anything, {"value": "\ud800"}).value == "\ud800"


@dataclasses.dataclass
class Checks:
    """A model of its own behind it."""

    raw: typing.Dict[str, typing.Any]

    def __post_init__(self):
        Strict.model_validate(self.raw)


class Half(enum.Enum):
    WHOLE = 1.0
    HALF = 0.5


def test_numbers_that_others_write_in_another_way():
    assert read(typing.List[Half], [1, 1.0, 0.5]) == [Half.WHOLE, Half.WHOLE, Half.HALF]
    assert read(Anything, {"value": float("inf")}).value == float("inf")  # as 1e999 is read


SECRETS = {
    "pydantic in a __post_init__": (Checks, {"raw": {"when": "secret-1"}}, "for Strict: when: Input should be a valid date"),
    "pydantic": (Strict, {**STRICT, "when": "secret-1"}, "when: Input should be a valid date"),
    "pydantic: a tag": (Owner, {"pet": {"kind": "secret-1"}}, "pet: Input tag does not match any of the expected tags: 'cat', 'dog'"),
    "pydantic within": (Mixed, {"model": {**STRICT, "tags": "secret-1"}, "struct": {}}, "model: 1 validation error for Strict: tags: "),
    "pydantic: a key": (Strict, {**STRICT, "by": {"secret-1": 5}}, "by.[...]"),
    "a key": (typing.Dict[str, reading.Line], {"secret-1": {"name": 5}}, "[...].name: str expected"),
    "msgspec: an Enum": (Loose, {"colour": "secret-1"}, "Invalid enum value - at `$.colour`"),
    "msgspec: a Literal": (Loose, {"colour": "red", "kind": "secret-1"}, "Invalid enum value - at `$.kind`"),
    "msgspec: a tag": (Reading, {"type": "secret-1"}, "Invalid value - at `$.type`"),
    "msgspec: a date": (Reading, {"type": "reading", "firstName": "a", "by": {"1": "secret-1"}}, "Invalid RFC3339 encoded date"),
}


@pytest.mark.parametrize("annotation, payload, text", SECRETS.values(), ids=SECRETS)
def test_the_text_has_no_value_of_the_payload(annotation, payload, text):
    said = refusal(annotation, payload)
    assert text in said and "secret" not in said


@pytest.mark.parametrize("annotation", [Mixture, typing.List[Mixture], Incomplete])
def test_what_a_library_cannot_read_is_refused_at_the_start(annotation):
    said, = reading.converter(annotation)
    assert "is not understood: " in said and ("Enums must contain" in said or "NoSuchName" in said)


def test_too_deep_for_a_library_is_the_payloads_fault():
    class Deep(msgspec.Struct):
        kids: "typing.List[Deep]" = []

    Deep.__annotations__["kids"] = typing.List[Deep]
    globals()["Deep"] = Deep
    assert "nested too deep" in refusal(Deep, chain(100_000, lambda inner: {"kids": [inner]}, {}))
