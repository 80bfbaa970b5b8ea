"""Results by each library's rules, where the table of docs/handlers.md has no room for it."""
import collections
import dataclasses
import datetime
import json
import typing

import pytest
from asya_runtime import dumps, loads

from . import reading

pydantic = pytest.importorskip("pydantic", minversion="2")
msgspec = pytest.importorskip("msgspec")
numpy = pytest.importorskip("numpy")


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    value: typing.Any = None


class Constants(Inner):
    model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")
    score: float = float("nan")


class OwnDump(pydantic.BaseModel):
    first: int = pydantic.Field(1, alias="First")

    def model_dump(self, **options):
        return super().model_dump(by_alias=True, **options)


class OwnJson(OwnDump):
    def model_dump_json(self, **options):
        return '{"all": "mine"}'


@pydantic.dataclasses.dataclass
class Base:
    x: int = 1


@dataclasses.dataclass
class PlainChild(Base):
    y: int = 2


class Holder(msgspec.Struct):
    value: typing.Any = None


class Tensor:
    """As torch's: tolist() is slow, numpy() shows the memory, where there is one."""

    def __init__(self, array, on_cpu=True):
        self.array, self.on_cpu = array, on_cpu

    def detach(self):
        return self

    def numpy(self):
        if not self.on_cpu:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.array

    def tolist(self):
        assert not self.on_cpu, "the memory is there"
        return self.array.tolist()


class Device:
    """As jax's: no detach(), and a tolist() that makes doubles of its numbers."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __array__(self, dtype=None, copy=None):
        return self.array

    def tolist(self):
        return self.array.tolist()


WRITTEN = {
    "a model with a method of its own": (OwnDump(), b'{"First":1}'),
    "a model with another": (OwnJson(), b'{"all":"mine"}'),
    "a dataclass made from pydantic's": (PlainChild(), b'{"x":1,"y":2}'),
    "an array in a model": (Inner(value=numpy.arange(3, dtype="f4")), b'{"value":[0.0,1.0,2.0]}'),
    "a Struct in a model in a Struct": (Holder(Inner(value=Holder(1))), b'{"value":{"value":{"value":1}}}'),
    "a tensor on the CPU": (Tensor(numpy.array([[0.1, 2]], "f4")), b"[[0.1,2.0]]"),
    "a tensor elsewhere": ({"t": Tensor(numpy.array([1, 2]), on_cpu=False)}, b'{"t":[1,2]}'),
    "masked dates": (numpy.ma.array(numpy.array(["2024-02-29", "2024-03-01"], "M8[ns]"), mask=[0, 1]), b'["2024-02-29T00:00:00",null]'),
    "dates of every unit": ([numpy.datetime64("2024-02-29T01:02:03.123456789", unit) for unit in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns")],
                            b'["2024-01-01","2024-02-01","2024-02-29","2024-02-29","2024-02-29T01:00:00","2024-02-29T01:02:00","2024-02-29T01:02:03",'
                            b'"2024-02-29T01:02:03.123000","2024-02-29T01:02:03.123456","2024-02-29T01:02:03.123456789"]'),
    "numbers of another library, as short as they can be": (Device(numpy.array([0.1, 2], "f4")), b"[0.1,2.0]"),
    "dates of another machine's bytes": (numpy.array(["2024-02-29", "NaT"], ">M8[D]"), b'["2024-02-29",null]'),
    "dates of another machine's bytes in a record": (numpy.array([("2024-02-29", 7)], [("day", ">M8[s]"), ("n", ">i4")]), b'[["2024-02-29T00:00:00",7]]'),
    "dates before the first year": (numpy.array(["-0001-01-01"], "M8[D]"), b'["-001-01-01"]'),
    "durations of every unit": (numpy.array([90, -1], "m8[m]"), b'["PT5400S","-PT60S"]'),
    "no durations": (numpy.array([[5]], "m8"), b"[[5]]"),
    "the longest durations": ([datetime.timedelta.max, datetime.timedelta.min], b'["P999999999DT86399.999999S","-P999999999D"]'),
    "records with dates": (numpy.array([("2024-02-29", 1.5, "a")], [("when", "M8[ns]"), ("x", "f4"), ("s", "U1")]), b'[["2024-02-29T00:00:00",1.5,"a"]]'),
    "a record with dates": (numpy.array([("NaT", ("2024-02-29", 7))], [("when", "M8[ns]"), ("in", [("day", "M8[D]"), ("n", "i4")])])[0], b'[null,["2024-02-29",7]]'),
    "records": (numpy.array([(1, 1.5)], [("n", "i4"), ("x", "f8")]), b"[[1,1.5]]"),
    "a mapping in a mapping": (collections.ChainMap({"a": collections.UserDict(b=1)}), b'{"a":{"b":1}}'),
}


@pytest.mark.parametrize("value, data", WRITTEN.values(), ids=WRITTEN)
def test_writes(value, data):
    assert dumps(value) == data
    assert dumps([value, {"k": value}]) == b"[" + data + b',{"k":' + data + b"}]"


def test_a_value_that_is_not_of_its_type_is_written_without_a_word(recwarn):
    """pydantic's warning would say: Expected `float`, input_value='4111-1111'."""
    assert dumps(Constants.model_construct(score="4111-1111")) == b'{"value":null,"score":"4111-1111"}'
    assert not recwarn


def test_durations_are_those_of_msgspec():
    for duration in (datetime.timedelta(0), datetime.timedelta(days=2), datetime.timedelta(hours=1), -datetime.timedelta(days=1, seconds=3.5)):
        assert dumps(duration) == msgspec.json.encode(duration)


def test_what_a_model_asks_for_and_json_has_not_is_refused_where_it_stands():
    with pytest.raises(ValueError, match=r"^obj\.score: NaN is not a JSON number"):
        dumps(Constants())


def test_what_a_library_cannot_write_is_named():
    for holder in (Inner, Holder):
        with pytest.raises((TypeError, ValueError), match=r"obj\.a: .*an object of type object cannot be written as JSON"):
            dumps({"a": holder(value=object())})


@pytest.mark.parametrize("holder", [Inner, Holder])
def test_a_circle_through_libraries_is_an_error(holder):
    there = holder(value=None)
    there.value = reading.Box([there])
    with pytest.raises(ValueError):
        dumps(there)
    assert loads(dumps(holder(value=1))) == {"value": 1}


def test_random_structs_are_what_msgspec_writes(dice):
    for _ in range(200):
        as_list = dice.random() < 0.5  # which has no place for UNSET
        made = msgspec.defstruct("Made", [("first_one", int), ("second", typing.Any, None)], rename=dice.choice([None, "camel", "kebab"]),
                                 tag=dice.choice([None, True, "t", 5]), omit_defaults=dice.random() < 0.5, array_like=as_list)
        value = made(dice.randrange(9), dice.choice([None, [1.5, "x"], 2 if as_list else msgspec.UNSET, datetime.date(2024, 2, 29), {1: b"x"}]))
        assert json.loads(dumps(value)) == json.loads(msgspec.json.encode(value))


def test_the_functions_own_default(runtime):
    with runtime("typed:defaulted", expect_log=["ERROR .*no money: object"]) as server:
        assert server.result(150) == {"price": "1.50", "again": {"1.50": ["0.01"]}}
        assert server.call("nothing")["error"] == "processing_error"
