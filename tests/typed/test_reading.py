"""How payloads are read: what it costs, what is refused at the start, and what a library decides."""
import abc
import dataclasses
import datetime
import decimal
import enum
import functools
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


class Strange:
    """As what some libraries make: it says that it is a type variable, and has nothing that one has."""

    __class__ = typing.TypeVar


class Stranger:
    def __getattr__(self, name):
        raise RuntimeError("asked for " + name)


@dataclasses.dataclass
class Abstract(abc.ABC):
    x: int

    @abc.abstractmethod
    def area(self):
        pass


NOT_UNDERSTOOD = {
    "a class of the user's": (Unknown, "Unknown is no class that a payload can be read into"),
    "in a field": (typing.List[Holds], "field 'what' of Holds: Unknown is no class"),
    "a field that cannot be resolved": (Absent, "field 'x' of Absent: it cannot be resolved (NameError"),
    "a function": (typing.Callable[[int], int], "is nothing a payload can be read into"),
    "keys that JSON has not": (typing.Dict[typing.Tuple[int], int], "tuple cannot be the key of an object"),
    "ever other types": (Ever[int], "it refers to itself with ever other types"),
    "an __init__ that takes no fields": (OtherInit, "OtherInit cannot be made of its fields"),
    "an abstract class": (Abstract, "Abstract is abstract"),
    "what is no type variable": (Strange(), "is nothing a payload can be read into"),
    "what does not let itself be asked": (Stranger(), "RuntimeError: asked for "),
}
if sys.version_info >= (3, 11):
    UNPACKED = eval("tuple[int, *tuple[str, ...]]")  # no syntax of the Pythons before
    NOT_UNDERSTOOD["a tuple within"] = UNPACKED, "*tuple[str, ...] is nothing a payload can be read into"


@pytest.mark.parametrize("annotation, text", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_what_is_not_understood_is_refused(annotation, text):
    said, = reading.converter(annotation)
    assert said.startswith("the annotation of 'payload' is not understood: ") and text in said
    assert said.endswith("; Any takes it as it is")


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


class Mute(ValueError):
    def __str__(self):
        raise RuntimeError("no text")


class Listed(ValueError):
    def errors(self):
        return {"x": ["no such order"]}


@dataclasses.dataclass
class Silent:
    x: int

    def __post_init__(self):
        raise Mute


@dataclasses.dataclass
class Listing:
    x: int

    def __post_init__(self):
        raise Listed("no such order")


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
    "a number that is none any more": (decimal.Decimal, float("inf"), "Decimal expected"),
    "a key that is too large": (typing.Dict[float, int], {"1e999": 1}, "[...]: a key that is a float expected"),
    "a key that has no hash": (typing.Dict[decimal.Decimal, int], {"sNaN": 1}, "a key that is a number expected"),
    "an error without a text": (Silent, {"x": 1}, "payload: Mute"),
    "an error with errors() of its own": (Listing, {"x": 1}, "payload: no such order"),
}


@pytest.mark.parametrize("annotation, payload, text", UNFIT.values(), ids=UNFIT)
def test_says_what_is_wrong_without_the_value(annotation, payload, text):
    said = refusal(annotation, payload)
    assert text in said and "secret" not in said


def test_a_missing_of_the_users_may_find_the_member():
    assert read(Soft, "A") is Soft.A


class Upper(str, enum.Enum):
    """dumps writes its text, and its value is another."""

    A = "a"

    def __new__(cls, value):
        member = str.__new__(cls, value.upper())
        member._value_ = value
        return member


def test_a_member_whose_text_is_not_its_value_is_read_from_both():
    assert read(Upper, "A") is read(Upper, "a") is Upper.A


@pytest.mark.parametrize("text", ["", "aGk=", "aA==", "aGkh", "aGkhaGkh", "aGkh" * 3000000])
def test_base64_is_read(text):
    assert len(read(bytes, text)) == len(text) // 4 * 3 - text.count("=")


@pytest.mark.parametrize("text", ["aGk", "a===", "====", "aGk=aGk=", "aG=h", "aGk=\n", "aG k", "_-8=", "aGkhaGk*", "aGkh aGk"])
def test_what_is_no_base64_is_refused(text):
    assert "base64 expected" in refusal(bytes, text)


def test_missing_keys_are_made_as_deep_as_the_annotation_says():
    made = read(typing.DefaultDict[str, typing.DefaultDict[str, int]], {"a": {"b": 1}})
    made["a"]["c"] += 1
    made["x"]["y"] += 1
    assert made == {"a": {"b": 1, "c": 1}, "x": {"y": 1}}


def test_fields_without_a_type_are_taken_as_they_are():
    assert read(dataclasses.make_dataclass("Made", ["x"]), {"x": [1]}).x == [1]


def test_a_long_path_is_shown_by_its_ends():
    said = refusal(reading.Node, chain(400, lambda inner: {"kids": [inner]}, {"kids": 5}))
    assert said == "kids[0].kids[0].kids[0].kids[0][785 more][0].kids[0].kids[0].kids[0].kids: list expected, not int"


# Whose parameter it is


def with_model(function):
    @functools.wraps(function)
    def called(order):
        return function("a model", order)

    return called


def with_anything(function):
    @functools.wraps(function)
    def called(payload):
        return function(payload)

    return called


def converter_of(function):
    return reading.NAMES["converter_of"](function, function)


def test_a_decorator_that_gives_an_argument_is_not_taken_for_the_sender():
    @with_model
    def process(model: Unknown, order: reading.Line):
        pass

    assert converter_of(process)({"name": "tea"}) == reading.Line("tea")


def test_a_decorator_that_hands_on_is_looked_through():
    @with_anything
    def process(order: reading.Line):
        pass

    assert converter_of(process)({"name": "tea"}) == reading.Line("tea")


def test_the_annotation_of_many_arguments_is_that_of_the_one():
    def process(*orders: reading.Line):
        pass

    assert converter_of(process)({"name": "tea"}) == reading.Line("tea")


if sys.version_info >= (3, 11):
    class Keyed(typing.TypedDict, typing.Generic[reading.T]):
        v: reading.T
        more: typing.NotRequired[typing.List[reading.T]]

    class KeyedByDay(Keyed[datetime.date]):
        n: int

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
    assert read(KeyedByDay, {"v": "2024-02-29", "n": 1}) == {"v": day, "n": 1}
    assert "v: date expected" in refusal(KeyedByDay, {"v": 5, "n": 1})
    assert read(Twin[datetime.date], ["2024-02-29", ["2024-02-29"]]) == Twin(day, Twin(day))
    assert read(Linked, {"next": {"next": {}}}) == Linked(Linked(Linked()))


# What libraries decide

pydantic = pytest.importorskip("pydantic", minversion="2")
msgspec = pytest.importorskip("msgspec")
typing_extensions = pytest.importorskip("typing_extensions")


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


class Sealed(msgspec.Struct, forbid_unknown_fields=True):
    x: int


try:
    import attr
except ImportError:
    attr = None
else:
    @attr.s
    class Checked:
        """In the style of attrs' that has no annotations: a validator is all that looks at the value."""

        number = attr.ib(default=1, validator=attr.validators.instance_of(int))
        low = attr.ib(default=1, validator=attr.validators.lt(10))
        word = attr.ib(default="a", validator=attr.validators.optional(attr.validators.in_(["a", "b"])))
        card = attr.ib(default="1", validator=attr.validators.matches_re("[0-9]"))


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


Limited = typing_extensions.Annotated[int, pydantic.Field(gt=3)]
LimitedByMsgspec = typing_extensions.Annotated[int, msgspec.Meta(gt=3)]
Either = typing_extensions.Annotated[typing.Union[Pet, OtherPet], pydantic.Field(discriminator="kind")]
Later = typing_extensions.Annotated[typing.List["Strict"], pydantic.Field(max_length=1)]


@dataclasses.dataclass
class Conditions:
    a: Limited = 5
    b: LimitedByMsgspec = 5
    c: typing.Optional[pydantic.PositiveInt] = None
    d: typing_extensions.Annotated[str, "for people", typing_extensions.Doc("more")] = ""


@dataclasses.dataclass
class Configured:
    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    x: int


class Sealed2(typing_extensions.TypedDict, closed=True):
    x: int


class SealedMore(Sealed2, closed=True):
    y: typing_extensions.NotRequired[int]


class Extra(typing_extensions.TypedDict, extra_items=int):
    x: int


CONDITIONS = {
    "pydantic's": (Limited, 4, 3, "Input should be greater than 3"),
    "pydantic's own names": (pydantic.PositiveInt, 1, -1, "Input should be greater than 0"),
    "msgspec's": (LimitedByMsgspec, 4, 3, "Expected `int` >= 4"),
    "in a list": (typing.List[Limited], [4], [4, 3], "[1]: 1 validation error for the value: Input should be greater than 3"),
    "in a field": (Conditions, {"a": 4, "b": 4, "c": 1, "d": "x"}, {"a": 3}, "a: 1 validation error"),
    "in a field by msgspec": (Conditions, {}, {"b": 3}, "b: Expected `int` >= 4"),
    "in an Optional": (Conditions, {"c": None}, {"c": 0}, "c: 1 validation error"),
    "of a key": (typing.Dict[Limited, int], {"4": 1}, {"3": 1}, "Input should be greater than 3"),
    "of a union": (Either, {"kind": "dog"}, {"kind": "secret"}, "Input tag does not match any of the expected tags: 'cat', 'dog'"),
    "of a class": (Configured, {"x": 1}, {"x": 1, "secret-1": 1}, "[...]: Unexpected keyword argument"),
    "of a closed TypedDict": (Sealed2, {"x": 1}, {"x": 1, "secret-1": 1}, "[...]: Sealed2 has no such key"),
    "of one made from it": (SealedMore, {"x": 1, "y": 2}, {"x": 1, "z": 2}, "z: SealedMore has no such key"),
}


@pytest.mark.parametrize("annotation, fits, unfit, text", CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_of_an_annotation_are_kept(annotation, fits, unfit, text):
    read(annotation, fits)
    said = refusal(annotation, unfit)
    assert text in said and "secret" not in said


def test_conditions_of_a_class_that_stands_as_a_text():
    def process(models: Later):
        pass

    convert = converter_of(process)
    assert convert([STRICT]) == [Strict.model_validate_json(json.dumps(STRICT))]
    with pytest.raises(ValueError, match="List should have at most 1 item"):
        convert([STRICT, STRICT])


def test_the_kind_of_the_value_decides_before_conditions():
    assert read(typing.Union[pydantic.PositiveInt, str, None], "5") == "5"
    assert read(typing_extensions.Annotated[int, pydantic.BeforeValidator(len)], "abc") == 3


def test_conditions_that_cannot_be_checked_are_refused_at_the_start():
    unbound = typing_extensions.Annotated[reading.T, pydantic.Field(gt=3)]
    unknown = typing_extensions.Annotated[typing.List["NoSuchName"], pydantic.Field(max_length=1)]  # noqa: F821
    for annotation in (unbound, Extra):
        said, = reading.converter(annotation)
        assert "is not understood: " in said
    assert "NoSuchName" in reading.converter(unknown)


def test_a_million_errors_are_counted_and_not_listed():
    class Numbers(pydantic.BaseModel):
        x: typing.List[int]

    convert = reading.converter(Numbers)

    def fails(count):
        with pytest.raises(ValueError) as caught:
            convert({"x": ["a"] * count})
        return str(caught.value)

    assert fails(3).count("Input should be") == 3
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fails(300000) == "payload: 300000 validation errors for Numbers: too many to name them"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 600 * 300  # kB: pydantic itself takes some 440 bytes for each


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
    "msgspec: a key": (Sealed, {"x": 1, "secret-1": 1}, "Object contains unknown field [...]"),
    "msgspec: a date": (Reading, {"type": "reading", "firstName": "a", "by": {"1": "secret-1"}}, "Invalid RFC3339 encoded date"),
}


if attr is not None:
    SECRETS.update({
        "attrs: a type": (Checked, {"number": "secret-1"}, "number: refused by <instance_of validator for type <class 'int'>>"),
        "attrs: a number": (Checked, {"low": 1357}, "low: refused by <Validator for x < 10>"),
        "attrs: one of several": (Checked, {"word": "secret-1"}, "word: refused by <in_ validator"),
        "attrs: a text": (Checked, {"card": "secret-1"}, "card: refused by <matches_re validator"),
    })


@pytest.mark.parametrize("annotation, payload, text", SECRETS.values(), ids=SECRETS)
def test_the_text_has_no_value_of_the_payload(annotation, payload, text):
    said = refusal(annotation, payload)
    assert text in said and "secret" not in said and "1357" not in said


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
