"""dumps of arrays: what json.dumps(array.tolist()) gives, straight from the memory of numpy arrays and scalars."""
import array
import json
import math
import os
import sys

import pytest
from asya_runtime import dumps, loads

numpy = pytest.importorskip("numpy")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as numpy_st  # noqa: E402

sys.path.insert(0, os.path.dirname(__file__))
from documents import SANITIZED, compact, many  # noqa: E402

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
FLOATS = ["f2", "f4", "f8"]
KINDS = ["?", *INTEGERS, *FLOATS]


def plain(value):
    """The same as Python's own objects; a float of less than 64 bits has the digits that numpy shows for a float32."""
    if value.dtype.kind != "f" or value.dtype.itemsize == 8:
        return value.tolist()
    return numpy.array([float(str(one)) for one in value.astype("f4").flat]).reshape(value.shape).tolist()


def sample(kind, shape, dice):
    """An array of that shape with numbers of every size."""
    dtype = numpy.dtype(kind)
    count = math.prod(shape)
    if dtype.kind == "?" or dtype.kind == "b":
        numbers = [dice.random() < 0.5 for _ in range(count)]
    elif dtype.kind == "f":
        bits = numpy.frombuffer(dice.getrandbits(8 * dtype.itemsize * count or 1).to_bytes(dtype.itemsize * count or 1, "little"), dtype, count)
        numbers = numpy.where(numpy.isfinite(bits), bits, 1.5)
    else:
        bounds = numpy.iinfo(dtype)
        edges = (bounds.min, bounds.max, 0, 1, bounds.max // 2)
        numbers = [dice.choice((dice.choice(edges), dice.randint(bounds.min, bounds.max), dice.randint(0, 100))) for _ in range(count)]
    return numpy.array(numbers, dtype).reshape(shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (64,), (65,), (200,), (2, 3), (3, 0), (0, 3), (2, 3, 4), (1, 1, 1, 1), (5, 1, 70), (2, 0, 2), (1,) * 32], ids=str)
def test_every_kind_and_shape(kind, shape, dice):
    value = sample(kind, shape, dice)
    assert dumps(value) == compact(plain(value))
    assert dumps({"a": [value, value], "b": 1}) == compact({"a": [plain(value)] * 2, "b": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_in_memory(kind, dice):
    value = sample(kind, (6, 8, 10), dice)
    views = [
        numpy.asfortranarray(value), value.T, value[::2], value[:, ::-1], value[::-3, 1::2, ::-2], value[..., 3], value[2], value[1:1],
        value.swapaxes(0, 1), numpy.broadcast_to(value[0], (3, 8, 10)), value.reshape(-1)[5:77], value[:, numpy.newaxis], value[2, 3, 4, numpy.newaxis][0],
    ]
    for view in views:
        assert dumps(view) == compact(plain(view))


def test_memory_that_is_not_aligned():
    packed = numpy.zeros(20, dtype=[("pad", "u1"), ("x", "f8"), ("n", "i4")])
    packed["x"], packed["n"] = numpy.linspace(0, 1, 20), numpy.arange(20)
    assert dumps(packed["x"]) == compact(packed["x"].tolist())
    assert dumps(packed["n"]) == compact(packed["n"].tolist())


@pytest.mark.parametrize("kind", [">i4", ">f8", "c16", "g", "U3", "S3", "O", "M8[s]", "m8[s]", "i4,f8"])
def test_what_lies_in_memory_otherwise_goes_through_tolist(kind):
    value = numpy.zeros(3, kind)
    try:
        expected = dumps(value.tolist())
    except TypeError as error:
        with pytest.raises(TypeError, match=str(error).split(": ")[1][:20]):
            dumps(value)
    else:
        assert dumps(value) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_scalars(kind, dice):
    for number in sample(kind, (50,), dice):
        assert dumps(number) == compact(plain(number))
        assert dumps([number, {"x": number}]) == compact([plain(number), {"x": plain(number)}])


def test_other_scalars():
    assert dumps([numpy.str_("x"), numpy.bytes_(b"ab"), numpy.datetime64("2024-01-02")]) == b'["x","YWI=","2024-01-02"]'


def test_every_half_float():
    halves = numpy.arange(1 << 16, dtype="u2").view("f2")
    halves = halves[numpy.isfinite(halves)]
    assert dumps(halves) == compact(plain(halves))


def test_floats_of_every_size(dice):
    singles = numpy.frombuffer(dice.getrandbits(32 * 50000).to_bytes(200000, "little"), "f4")
    singles = singles[numpy.isfinite(singles)]
    assert dumps(singles) == compact(plain(singles))
    doubles = numpy.frombuffer(dice.getrandbits(64 * 50000).to_bytes(400000, "little"), "f8")
    doubles = doubles[numpy.isfinite(doubles)]
    assert dumps(doubles) == compact(doubles.tolist())


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named_by_its_place(kind, number):
    value = numpy.zeros((3, 100), kind)
    value[1, 77] = number
    with pytest.raises(ValueError) as caught:
        dumps({"embedding": [0, value]})
    assert str(caught.value) == "obj.embedding[1][1][77]: NaN and Infinity are no JSON numbers"
    with pytest.raises(ValueError) as caught:
        dumps([value.T])
    assert str(caught.value) == "obj[0][77][1]: NaN and Infinity are no JSON numbers"
    with pytest.raises(ValueError) as caught:
        dumps([numpy.array(number, kind)])
    assert str(caught.value) == "obj[0]: NaN and Infinity are no JSON numbers"


def test_dimensions_count_as_levels():
    value = numpy.zeros((1,) * 32)
    for _ in range(1000 - 32):
        value = [value]
    assert dumps(value) == b"[" * 1000 + b"0.0" + b"]" * 1000
    with pytest.raises(ValueError, match="more than 1000 levels of nesting"):
        dumps([value])


def test_masked_arrays_show_no_number_that_is_masked():
    assert dumps(numpy.ma.array([1, 2, 3], mask=[0, 1, 0])) == b"[1,null,3]"


def test_array_array():
    for code in "bBhHiIlLqQfd":
        assert dumps(array.array(code, [1, 2, 100])) == compact(array.array(code, [1, 2, 100]).tolist())


def test_arrays_in_dataclasses_and_models():
    dataclasses = pytest.importorskip("dataclasses")
    Embedding = dataclasses.make_dataclass("Embedding", ["vector", "norm"])
    assert dumps([Embedding(numpy.array([0.5, 1]), numpy.float32(1.25))]) == b'[{"vector":[0.5,1.0],"norm":1.25}]'


def test_large_arrays_read_back_as_they_were(dice):
    value = numpy.array([dice.gauss(0, 1) for _ in range(64 * 768)], "f4").reshape(64, 768)
    assert (numpy.array(loads(dumps(value)), "f4") == value).all()
    assert len(dumps(value)) < 0.6 * len(dumps(value.astype("f8")))
    assert json.loads(dumps(value.astype("f8"))) == value.tolist()


@many
@given(numpy_st.arrays(st.sampled_from([numpy.dtype(kind) for kind in KINDS]), numpy_st.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6),
                       elements=None).map(lambda a: a if a.dtype.kind != "f" else numpy.nan_to_num(a)))
def test_any_array(value):
    assert dumps(value) == compact(plain(value))
    assert dumps(value.T) == compact(plain(value.T))


@pytest.mark.skipif(SANITIZED, reason="counts blocks of CPython's own allocator")
def test_arrays_leave_nothing_behind():
    bad = numpy.array([[1, math.nan]])
    good = numpy.zeros((3, 4))

    def write():
        dumps([good, good[0], good[0, 0]])
        with pytest.raises(ValueError):
            dumps({"x": bad})

    for _ in range(500):
        write()
    blocks, references = sys.getallocatedblocks(), sys.getrefcount(good)
    for _ in range(3000):
        write()
    assert sys.getallocatedblocks() - blocks < 200 and sys.getrefcount(good) == references
