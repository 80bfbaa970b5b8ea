"""Reads rows of docs/handlers.md on any Python: converter(annotation) is the runtime's own, put together from its source.

As a program: a list of [what, expression, payload] comes in as JSON on standard input, and a list of what came of each
goes out. "read": the annotation and the JSON text; "write": the value, as dumps writes it.
"""
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import os
import pathlib
import sys
import types
import typing
import uuid

FOLDER = os.path.dirname(os.path.abspath(__file__))
GLUE = os.path.join(FOLDER, "..", "..", "src", "python", "glue")

try:
    import typing_extensions
except ImportError:
    typing_extensions = None


def glue():
    """The names that the worker's own run of it would have."""
    names = {}
    for name in ("readers.py", "typed.py"):
        with open(os.path.join(GLUE, name)) as source:
            exec(compile(source.read(), name, "exec"), names)
    return names


NAMES = glue()


def converter(annotation):
    """What the runtime calls with the payload: None, a str (warned), a tuple (refused), or the converter."""

    def function(payload):
        pass

    function.__annotations__["payload"] = annotation
    return NAMES["converter_of"](function, function)


T = typing.TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


class Rank(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Line:
    name: str
    price: float = 0.5


@dataclasses.dataclass
class Order:
    id: int
    lines: typing.List[Line] = dataclasses.field(default_factory=list)
    note: typing.Optional[str] = None
    total: float = dataclasses.field(default=0.0, init=False)


@dataclasses.dataclass
class Node:
    kids: typing.List["Node"] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Box(typing.Generic[T]):
    v: T


@dataclasses.dataclass
class Boxes(Box[typing.List[T]]):
    w: T


@dataclasses.dataclass
class Seeded:
    raw: dataclasses.InitVar[str]
    n: int = 0

    def __post_init__(self, raw):
        self.n = int(raw)


if hasattr(typing, "Literal"):
    @dataclasses.dataclass
    class Cat:
        kind: typing.Literal["cat"]
        lives: int

    @dataclasses.dataclass
    class Dog:
        kind: typing.Literal["dog"]
        good: bool


@dataclasses.dataclass
class Short:
    a: int


@dataclasses.dataclass
class Long:
    a: int
    b: int = 0


class Point(typing.NamedTuple):
    x: int
    y: float = 1.0


Pair = collections.namedtuple("Pair", "a b")
UserId = typing.NewType("UserId", int)


class Plain:
    pass


class Lazy(list):
    def __iter__(self):
        return iter(["loaded"])


# Annotations that are text when the class is made.
POSTPONED = """from __future__ import annotations

@dataclasses.dataclass
class Late:
    raw: dataclasses.InitVar[str]
    shop: ClassVar[Plain] = None
    date: Optional[date] = None
    kids: List[Late] = dataclasses.field(default_factory=list)
    by: Dict[int, Later] = dataclasses.field(default_factory=dict)

    def __post_init__(self, raw):
        self.length = len(raw)

@dataclasses.dataclass
class Later(Box[T]):
    late: Optional[Late] = None

class LatePoint(NamedTuple):
    x: date
    y: Optional[LatePoint] = None
"""
POSTPONED_KEYS = """from __future__ import annotations

class LateKeys(TypedDict):
    a: int
    note: NotRequired[str]
    deep: NotRequired[Annotated[LateKeys, "x"]]

class LooseLateKeys(LateKeys, total=False):
    b: Required[date]
    c: date
"""


def names():
    """In which the expressions of the table are evaluated."""
    known = {**vars(typing), **vars(typing_extensions), **globals()} if typing_extensions else {**vars(typing), **globals()}
    known.update({name: getattr(datetime, name) for name in ("datetime", "date", "time", "timedelta", "timezone")})
    known.update(Decimal=decimal.Decimal, UUID=uuid.UUID, Fraction=fractions.Fraction, Path=pathlib.Path,
                 PurePosixPath=pathlib.PurePosixPath, UserDict=collections.UserDict, deque=collections.deque)
    known.update({name: getattr(ipaddress, name) for name in vars(ipaddress) if name.startswith("IP")})
    extension = types.ModuleType("rows")
    sys.modules["rows"] = extension
    extension.__dict__.update(known, __name__="rows")
    if "TypedDict" in known:
        exec("class Stock(TypedDict):\n    key: str\n    count: int\n", extension.__dict__)
    if "NotRequired" in known:
        exec("class Entry(TypedDict):\n    key: str\n    count: NotRequired[int]\n\n"
             "class Loose(TypedDict, total=False):\n    key: Required[str]\n    inner: Entry\n", extension.__dict__)
    exec(POSTPONED, extension.__dict__)
    if "NotRequired" in known:
        exec(POSTPONED_KEYS, extension.__dict__)
    if sys.version_info >= (3, 12):
        exec("type Ints = list[int]\ntype Two[A] = tuple[A, A]\ntype Json = dict[str, Json] | list[Json] | str | int | None\n"
             "@dataclasses.dataclass\nclass New[A]:\n    v: A\n", extension.__dict__)
    return extension.__dict__


def libraries():
    """What the rows about libraries need, as far as it is there."""
    found = {}
    for name in ("attr", "msgspec", "numpy", "pandas", "pydantic"):
        try:
            found[name] = __import__(name)
        except ImportError:
            pass
    if "attr" in found:
        found["attrs"] = found["attr"]
        exec("@attr.s(auto_attribs=True)\nclass Priced:\n    x: int = 1\n    _y: str = 'b'\n", found)
    if "msgspec" in found:
        exec("class Renamed(msgspec.Struct, rename='camel', tag='renamed', omit_defaults=True):\n    first_name: str\n    n: int = 1\n\n"
             "class Array(msgspec.Struct, array_like=True):\n    a: int\n    b: int\n", found)
    if "pydantic" in found and hasattr(found["pydantic"], "RootModel"):
        exec("import typing\nclass Model(pydantic.BaseModel):\n"
             "    model_config = pydantic.ConfigDict(populate_by_name=True, serialize_by_alias=True, arbitrary_types_allowed=True)\n"
             "    first_name: str = pydantic.Field(alias='firstName')\n    score: float = float('nan')\n"
             "    secret: str = pydantic.Field(default='s', exclude=True)\n    extra: typing.Any = pydantic.Field(default=None)\n"
             "    @pydantic.field_serializer('first_name')\n    def loud(self, value):\n        return value.upper()\n"
             "    @pydantic.model_serializer(mode='wrap')\n    def short(self, handler):\n"
             "        return {k: v for k, v in handler(self).items() if k != 'extra' or v is not None}\n\n"
             "@pydantic.dataclasses.dataclass\nclass ModelDataclass:\n    name: str\n    secret: str = pydantic.Field(default='s', exclude=True)\n", found)
    return found


def read(known, annotation, payload):
    convert = converter(eval(annotation, known))
    if convert is None:
        return "as it is"
    if not callable(convert):
        return "refused at the start" if isinstance(convert, tuple) else "as it is, after a warning"
    try:
        return repr(convert(json.loads(payload)))
    except ValueError as error:
        return "error: %s" % error


def write(known, expression):
    import asya_runtime

    try:
        return asya_runtime.dumps(eval(expression, known)).decode()
    except (TypeError, ValueError) as error:
        return "error: %s" % error


def main():
    known, outcomes = names(), []
    known.update(libraries(), types=types)
    for what, expression, payload in json.load(sys.stdin):
        outcomes.append(read(known, expression, payload) if what == "read" else write(known, expression))
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
