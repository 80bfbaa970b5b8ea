"""A function of every shape, over every protocol, found out by looking at it and at what it returns (docs/protocol.md)."""
import pytest

from harness import protocols

PAYLOAD = {"count": 3, "text": "x"}
FRAMES = [{"number": 0}, {"number": 1}, {"number": 2}]
ONE, MANY = {"got": PAYLOAD}, FRAMES

SHAPES = {
    "a function": ("plain", ONE),
    "a callable instance": ("instance", ONE),
    "a method of a class with state": ("Counter.method", ONE),
    "a static method": ("Counter.static", ONE),
    "a class method": ("Counter.for_class", ONE),
    "a partial": ("partial", ONE),
    "a coroutine function": ("coroutine", ONE),
    "a coroutine function that never waits": ("immediate", ONE),
    "an instance whose call is a coroutine function": ("async_instance", ONE),
    "a coroutine method": ("Counter.async_method", ONE),
    "a partial of a coroutine function": ("async_partial", ONE),
    "a function that returns a coroutine": ("returns_coroutine", ONE),
    "a function that returns something to await": ("returns_awaitable", ONE),
    "a generator function": ("generator", MANY),
    "a generator method": ("Counter.generator_method", MANY),
    "an asynchronous generator function": ("async_generator", MANY),
    "a function that returns a generator": ("returns_generator", MANY),
    "a function that returns an asynchronous generator": ("returns_async_generator", MANY),
    "a coroutine function that returns a generator": ("coroutine_of_generator", MANY),
    "a coroutine function that returns an asynchronous generator": ("coroutine_of_async_generator", MANY),
}
HOP = {"prev": ["x", "a"], "curr": "b", "next": ["c"]}


def over_raw(server, payload):
    return server.result(payload)


def over_framed(server, payload):
    items = protocols.framed(server.path, protocols.actors(payload, headers={"h": 1}))
    assert all(item["route"] == {"actors": ["a", "b"], "current": 1} and item["headers"] == {"h": 1} for item in items)
    return [item["payload"] for item in items]


def over_http(server, payload):
    status, body = protocols.invoke(server.path, protocols.hops(payload))
    assert status == 200 and set(body) == {"frames"} and len(body["frames"]) == 1
    assert body["frames"][0]["route"] == HOP
    return body["frames"][0]["payload"]


def streamed(server, payload):
    with protocols.Stream(server.path, protocols.hops(payload)) as stream:
        assert stream.response.getheader("Content-Type") == "text/event-stream"
        events = list(stream)
    assert events[-1] == ("done", {}) and all(name == "downstream" for name, _ in events[:-1])
    assert all(frame["route"] == HOP for _, frame in events[:-1])
    return [frame["payload"] for _, frame in events[:-1]]


def without_count(result):
    """The class with state counts its calls: what else it says must be the same each time."""
    return {key: value for key, value in result.items() if key != "calls"} if isinstance(result, dict) else result


@pytest.mark.parametrize("concurrency", [1, 4], ids=["one at a time", "four at once"])
@pytest.mark.parametrize("name, result", SHAPES.values(), ids=SHAPES)
def test_every_shape_over_every_protocol(runtime, name, result, concurrency):
    # the event loop, which the first coroutine makes, has descriptors of its own
    with runtime("shapes:" + name, env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True) as server:
        for _ in range(2):
            assert without_count(over_raw(server, PAYLOAD)) == result
            if result is ONE:
                assert [without_count(item) for item in over_framed(server, PAYLOAD)] == [ONE]
                assert without_count(over_http(server, PAYLOAD)) == ONE
            else:
                assert over_framed(server, PAYLOAD) == MANY
                assert streamed(server, PAYLOAD) == MANY


def test_the_state_of_a_class_stays_between_requests(runtime):
    with runtime("shapes:Counter.method") as server:
        assert [server.result(1)["calls"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("name", ["generator", "async_generator", "returns_generator"])
def test_a_generator_without_frames_is_an_empty_list(runtime, name):
    with runtime("shapes:" + name, worker_descriptors=True) as server:
        assert over_raw(server, {"count": 0}) == []
        assert over_framed(server, {"count": 0}) == []
        assert streamed(server, {"count": 0}) == []


@pytest.mark.parametrize("name", ["generator", "async_generator"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_long_fan_out_is_whole(runtime, name, concurrency):
    with runtime("shapes:" + name, env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True) as server:
        numbers = [{"number": i} for i in range(5000)]
        assert over_raw(server, {"count": 5000}) == numbers
        assert streamed(server, {"count": 5000}) == numbers


def test_a_plain_function_never_imports_asyncio(runtime):
    """Importing it costs more than everything else at the start."""
    with runtime("snippets:run") as server:
        assert server.result("import sys\nreturn 'asyncio' in sys.modules") is False


ITERATORS = {
    "a map": "return map(str, [1])", "a range's iterator": "return iter(range(3))",
    "an endless count": "import itertools\nreturn itertools.count()",
}


@pytest.mark.parametrize("code", ITERATORS.values(), ids=ITERATORS)
def test_an_iterator_that_is_no_generator_is_a_result_that_cannot_be_written(runtime, code):
    with runtime("snippets:run", expect_log=["ERROR .*processing_error"]) as server:
        assert server.call(code)["error"] == "processing_error"


def test_a_yielded_tuple_is_a_list_where_it_is_no_command(runtime):
    code = "def g():\n    yield 1, 2\n    yield None\n    yield ('one',)\n    yield ('SET', '.headers', {'a': 1})\n    yield 3\nreturn g()"
    with runtime("snippets:run") as server:
        assert server.result(code) == [[1, 2], ["one"], 3]
