"""Functions whose first parameter says what its payload is."""
from __future__ import annotations

import dataclasses
import enum
import functools
import typing

import msgspec
import pydantic
import pydantic.v1


class Item(pydantic.BaseModel):
    name: str
    price: float


class Order(pydantic.BaseModel):
    id: int
    items: typing.List[Item]


class OldOrder(pydantic.v1.BaseModel):
    id: int
    note: str = ""


class Packed(msgspec.Struct):
    id: int
    tags: typing.List[str] = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


@dataclasses.dataclass
class Shape:
    points: typing.List[Point]
    colour: Colour = Colour.RED
    label: typing.Optional[str] = None
    inner: typing.Optional["Shape"] = None
    data: typing.Dict[str, int] = dataclasses.field(default_factory=dict)


class Entry(typing.TypedDict):
    key: str
    count: int


class Loose(typing.TypedDict, total=False):
    key: str
    entry: Entry


def pydantic2(order: Order):
    assert isinstance(order, Order)
    return {"kind": type(order).__name__, "order": order}


def pydantic1(order: OldOrder):
    assert isinstance(order, OldOrder)
    return order


def struct(packed: Packed):
    assert isinstance(packed, Packed)
    return packed


def dataclass(shape: Shape):
    assert isinstance(shape, Shape) and all(isinstance(point, Point) for point in shape.points)
    assert isinstance(shape.colour, Colour) and (shape.inner is None or isinstance(shape.inner, Shape))
    return shape


def typed_dict(entry: Entry):
    assert type(entry) is dict
    return entry


def loose(entry: Loose):
    return entry


def optional(order: typing.Optional[Order] = None):
    return "none" if order is None else order.id


def many(orders: typing.List[Order]):
    return [order.id for order in orders]


def either(value: typing.Union[Point, Packed]):
    return type(value).__name__


async def task(order: Order):
    return order.id


def generator(order: Order):
    for item in order.items:
        yield item.name


class Handler:
    def method(self, order: Order):
        return order.id

    def __call__(self, order: Order):
        return order.id


instance = Handler()
partial = functools.partial(lambda unused, order: order, 1)


def _late(flag, order: Order):
    return order.id


bound = functools.partial(_late, True)


def plain_dict(payload: dict):
    return [type(payload).__name__, payload]


def anything(payload: typing.Any):
    return [type(payload).__name__, payload]


def text(payload: str):
    """A builtin type is documentation, not a demand."""
    return [type(payload).__name__, payload]


@dataclasses.dataclass
class Strict:
    error: str

    def __post_init__(self):
        raise {"ValueError": ValueError, "TypeError": TypeError, "MemoryError": MemoryError}[self.error]("by the class")


def strict(payload: Strict):
    return payload


def unknown(payload: NoSuchClass):  # noqa: F821
    return payload


class Part:
    pass


@dataclasses.dataclass
class Whole:
    part: Part


def plain_class(payload: Whole):
    return payload


def depth(shape: Shape):
    levels = 0
    while shape.inner is not None:
        shape, levels = shape.inner, levels + 1
    return levels


class Money:
    def __init__(self, cents):
        self.cents = cents


def defaulted(payload):
    if payload == "nothing":
        return {"price": object()}
    return {"price": Money(payload), "again": {"1.50": [Money(1)]}}


def _write_money(money):
    if not isinstance(money, Money):
        raise TypeError("no money: %s" % type(money).__name__)
    return "%d.%02d" % divmod(money.cents, 100)


defaulted.default = _write_money
