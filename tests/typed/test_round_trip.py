"""What dumps writes of a type is read back as an equal value of the same type: random values of each annotation (all of them,
where there are only a few), and random annotations.

ASYA_TEST_EXAMPLES says how many of each annotation, ASYA_TEST_SEED which. Each test prints how many there were and how many of
them differ; `make round-trip` shows that for 200,000 of each.
"""
import collections
import dataclasses
import datetime
import decimal
import fractions
import ipaddress
import itertools
import os
import pathlib
import random
import typing
import uuid

import pytest
from asya_runtime import dumps, loads
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from . import reading

COUNT = int(os.environ.get("ASYA_TEST_EXAMPLES") or 10)
SEED = int(os.environ.get("ASYA_TEST_SEED") or random.SystemRandom().getrandbits(32))
TOGETHER = 50 if COUNT >= 1000 else 1  # values that hypothesis draws at a time: many times as fast
some = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))

offsets = st.timedeltas(-datetime.timedelta(hours=23, minutes=59), datetime.timedelta(hours=23, minutes=59))
zones = st.one_of(st.none(), st.just(datetime.timezone.utc), offsets.map(datetime.timezone))
texts = st.text()
floats = st.floats(allow_nan=False, allow_infinity=False)
dates, datetimes, times = st.dates(), st.datetimes(timezones=zones), st.times(timezones=zones)
decimals = st.builds(lambda digits, exponent: decimal.Decimal(digits).scaleb(exponent), st.integers(), st.integers(-400, 400)) | st.sampled_from(
    [decimal.Decimal(text) for text in ("-0", "0.000", "Infinity", "-Infinity")])
networks = st.builds(lambda address, bits: ipaddress.ip_network((address, bits), strict=False), st.ip_addresses(v=4), st.integers(0, 32))
lines = st.builds(reading.Line, texts, floats)
orders = st.builds(reading.Order, st.integers(), st.lists(lines, max_size=4), st.none() | texts)
nodes = st.recursive(st.builds(reading.Node), lambda inner: st.builds(reading.Node, st.lists(inner, max_size=3)), max_leaves=20)
colours, ranks = st.sampled_from(reading.Colour), st.sampled_from(reading.Rank)
T = reading.T


@dataclasses.dataclass
class Both(reading.Box[typing.Tuple[T, ...]]):
    more: typing.Optional[T] = None


# What can be the key of an object, and stand in a set.
KEYS = {
    "str": (str, texts), "int": (int, st.integers(-2**70, 2**70)), "float": (float, floats), "bool": (bool, st.booleans()),
    "None": (None, st.none()), "datetime": (datetime.datetime, datetimes), "date": (datetime.date, dates), "time": (datetime.time, times),
    "timedelta": (datetime.timedelta, st.timedeltas()), "Decimal": (decimal.Decimal, decimals),
    "Fraction": (fractions.Fraction, st.builds(fractions.Fraction, st.integers(), st.integers(1))), "UUID": (uuid.UUID, st.uuids()), "path": (pathlib.PurePosixPath, texts.map(pathlib.PurePosixPath)),
    "windows path": (pathlib.PureWindowsPath, texts.map(pathlib.PureWindowsPath)), "IPv4": (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    "IPv6": (ipaddress.IPv6Address, st.ip_addresses(v=6)), "network": (ipaddress.IPv4Network, networks), "Enum": (reading.Colour, colours),
    "IntEnum": (reading.Rank, ranks), "Optional": (typing.Optional[int], st.none() | st.integers()), "NewType": (reading.UserId, st.integers()),
}
OTHERS = {
    "bytes": (bytes, st.binary()), "bytearray": (bytearray, st.binary().map(bytearray)), "Flag": (reading.Bits, st.integers(0, 3).map(reading.Bits)),
    "dataclass": (reading.Order, orders), "recursive": (reading.Node, nodes), "NamedTuple": (reading.Point, st.builds(reading.Point, st.integers(), floats)),
    "namedtuple": (reading.Pair, st.builds(reading.Pair, texts, st.integers())),
    "generic": (reading.Box[datetime.date], st.builds(reading.Box, dates)),
    "generic that inherits": (Both[uuid.UUID], st.builds(Both, st.lists(st.uuids(), max_size=3).map(tuple), st.none() | st.uuids())),
    "union of numbers": (typing.Union[float, int, bool, None, datetime.date], st.one_of(floats, st.integers(), st.booleans(), st.none(), dates)),
    "union of times": (typing.Union[datetime.datetime, datetime.date, datetime.timedelta], st.one_of(datetimes, dates, st.timedeltas())),
    "union by fit": (typing.Union[reading.Short, reading.Long, typing.List[int]],
                     st.one_of(st.builds(reading.Short, st.integers()), st.builds(reading.Long, st.integers(), st.integers()), st.lists(st.integers(), max_size=3))),
    "Counter": (typing.Counter[str], st.dictionaries(texts, st.integers(1, 9), max_size=4).map(collections.Counter)),
    "Annotated": (typing.Annotated[typing.List[datetime.date], "x"] if hasattr(typing, "Annotated") else typing.List[datetime.date], st.lists(dates, max_size=3)),
}
if hasattr(typing, "Literal"):  # and TypedDict: since 3.8
    KEYS["Literal"] = typing.Literal["a", 1, True, None], st.sampled_from(["a", 1, True, None])
    cats, dogs = st.builds(reading.Cat, st.just("cat"), st.integers()), st.builds(reading.Dog, st.just("dog"), st.booleans())
    OTHERS["union by tag"] = typing.List[typing.Union[reading.Cat, reading.Dog]], st.lists(cats | dogs, max_size=4)
    Stock = typing.TypedDict("Stock", {"when": datetime.date, "by": typing.Dict[int, str]})
    OTHERS["TypedDict"] = Stock, st.fixed_dictionaries({"when": dates, "by": st.dictionaries(st.integers(), texts, max_size=3)})
ALL = {**KEYS, **OTHERS}
ALL.update({"Dict by %s" % name: (typing.Dict[key, int], st.dictionaries(values, st.integers(), max_size=4)) for name, (key, values) in KEYS.items()})
# Annotations that have no other values than these.
FINITE = {"bool": [False, True], "None": [None], "Enum": list(reading.Colour), "IntEnum": list(reading.Rank),
          "Literal": ["a", 1, True, None], "Flag": [reading.Bits(number) for number in range(4)]}


def same(left, right):
    if isinstance(left, (list, tuple, collections.deque)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left == right and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, (datetime.datetime, datetime.time)):
        return left == right and left.utcoffset() == right.utcoffset()
    return type(left) is type(right) and left == right


def check(convert, value):
    read = convert(loads(dumps(value))) if convert is not None else loads(dumps(value))
    assert same(value, read), (value, dumps(value), read)


def objects(keys, numbers, seed):
    """200 small ones of these members."""
    dice = random.Random(seed)
    return [{dice.choice(keys): dice.choice(numbers) for _ in range(dice.randrange(5))} for _ in range(200)]


def several(name):
    """A strategy for lists of values of an annotation, and how many each has. Objects of drawn members cost a tenth of drawn
    objects."""
    def lists(values):
        return st.lists(values, min_size=TOGETHER, max_size=TOGETHER)

    if TOGETHER > 1 and name.startswith("Dict by "):
        return st.builds(objects, lists(KEYS[name[len("Dict by "):]][1]), lists(st.integers()), st.integers(0, 2**64)), 200
    return lists(ALL[name][1]), TOGETHER


@pytest.mark.parametrize("name", sorted(set(ALL) - set(FINITE)))
def test_every_annotation(name):
    convert = reading.converter(ALL[name][0])
    values, size = several(name)
    count, seen = 0, set()
    print("ASYA_TEST_SEED=%d" % SEED)
    for run in itertools.count():  # hypothesis may end a run early
        @seed(SEED + run)
        @settings(some, max_examples=-(-(COUNT - count) // size))
        @given(values)
        def holds(drawn):
            nonlocal count
            count += len(drawn)
            for value in drawn:
                check(convert, value)
            seen.update(hash(dumps(value)) for value in drawn)

        holds()
        if count >= COUNT:
            break
    print("%s: %d values, %d of them different" % (name, count, len(seen)))


@pytest.mark.parametrize("name", sorted(set(ALL) & set(FINITE)))
def test_every_value_of_an_annotation_with_few(name):
    convert = reading.converter(ALL[name][0])
    for value in FINITE[name]:
        check(convert, value)
    print("%s: all its values, %d" % (name, len(FINITE[name])))


def larger(inner):
    """From pairs of an annotation and its values those of what can be made of them."""
    keys = st.sampled_from(list(KEYS.values()))
    return st.one_of(
        inner.map(lambda one: (typing.List[one[0]], st.lists(one[1], max_size=3))),
        inner.map(lambda one: (typing.Deque[one[0]], st.lists(one[1], max_size=3).map(collections.deque))),
        inner.map(lambda one: (typing.Tuple[one[0], ...], st.lists(one[1], max_size=3).map(tuple))),
        inner.map(lambda one: (typing.Optional[one[0]], st.none() | one[1])),
        inner.map(lambda one: (reading.Box[one[0]], st.builds(reading.Box, one[1]))),
        st.tuples(inner, inner).map(lambda two: (typing.Tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))),
        st.tuples(inner, inner).map(make_class),
        st.tuples(keys, inner).map(lambda two: (typing.Dict[two[0][0], two[1][0]], st.dictionaries(two[0][1], two[1][1], max_size=3))),
        keys.map(lambda one: (typing.FrozenSet[one[0]], st.frozensets(one[1], max_size=3))),
        keys.map(lambda one: (typing.Set[one[0]], st.sets(one[1], max_size=3))))


def make_class(two):
    made = dataclasses.make_dataclass("Made", [("first", two[0][0]), ("second", two[1][0])])
    return made, st.builds(made, two[0][1], two[1][1])


annotations = st.recursive(st.sampled_from(list({**KEYS, **OTHERS}.values())), larger, max_leaves=6)


def test_any_annotation():
    @seed(SEED)
    @settings(some, max_examples=min(4 * COUNT, 20_000))
    @given(st.data())
    def holds(data):
        annotation, values = data.draw(annotations)
        convert = reading.converter(annotation)
        assert not isinstance(convert, (str, tuple)), convert
        check(convert, data.draw(values))

    print("ASYA_TEST_SEED=%d" % SEED)
    holds()
