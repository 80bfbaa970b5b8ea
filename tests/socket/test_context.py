"""asya_runtime.context(), and the request's name in its log lines."""
import concurrent.futures
import json
import time

import pytest

from harness import protocols
from harness.protocols import actors, framed, hops, invoke

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-00"
MEMBERS = {"headers": {"traceparent": TRACE, "h": 1}, "id": "m-7", "parent_id": "p-1"}
PLACES = {"a plain function": ("plain", 1), "a thread": ("plain", 4), "a task": ("coroutine", 4),
          "a task of a task": ("nested", 4), "a generator": ("generator", 1), "an asynchronous generator": ("async_generator", 4),
          "a thread's generator": ("generator", 4)}


@pytest.fixture(scope="module", params=PLACES.values(), ids=PLACES)
def serving(runtime, request):
    name, concurrency = request.param
    with runtime("contexts:" + name, env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True) as server:
        yield server


def seen(server, answer):
    """What the function saw, from whichever shape of reply."""
    if "generator" in server.env["ASYA_PROCESS_MODULE"] and isinstance(answer, list) and answer and "who" in answer[0]:
        return answer[0]
    return answer


def over_http(server, message, headers=None):
    if "generator" in server.env["ASYA_PROCESS_MODULE"]:
        with protocols.Stream(server.path, message) as stream:
            return next(stream)[1]["payload"]
    status, body = invoke(server.path, message, headers)
    assert status == 200, body
    return body["frames"][0]["payload"]


def test_over_http(serving):
    got = over_http(serving, hops("w", **MEMBERS))
    assert got == {"who": "w", "id": "m-7", "parent_id": "p-1", "headers": MEMBERS["headers"], "traceparent": TRACE,
                   "route": {"prev": ["x"], "curr": "a", "next": ["b", "c"]}, "deadline": None, "cancelled": False}


def test_under_a_length_prefix(serving):
    [item] = framed(serving.path, actors("w", **MEMBERS))
    got = item["payload"]
    assert (got["id"], got["headers"], got["route"]["actors"]) == ("m-7", MEMBERS["headers"], ["a", "b"])
    assert got["traceparent"] == TRACE


def test_bare_json_has_no_names(serving):
    got = seen(serving, serving.result("w"))
    assert got == {"who": "w", "id": "", "parent_id": "", "headers": {}, "route": {}, "traceparent": "",
                   "deadline": None, "cancelled": False}


def test_many_requests_each_see_their_own(serving):
    for number in range(50):
        assert over_http(serving, hops(str(number), id="m-%d" % number))["id"] == "m-%d" % number


@pytest.mark.parametrize("name, concurrency", [("generator", 1), ("generator", 4), ("async_generator", 4)])
def test_clients_that_leave_do_not_disturb_the_others(runtime, name, concurrency, dice):
    """Many streams at once, half of them left after the first event: each sees its own request, the worker lives."""
    leave = [[dice.random() < 0.5 for _ in range(60)] for _ in range(8)]
    wrong = []

    def ask(server, row):
        for number, leaves in enumerate(leave[row]):
            mark = "%d-%d" % (row, number)
            with protocols.Stream(server.path, hops(mark, id=mark)) as stream:
                got = next(stream)[1]["payload"]
                if (got["who"], got["id"]) != (mark, mark) or not leaves and next(stream) != ("done", {}):
                    wrong.append((mark, got))

    with runtime("contexts:" + name, env={"ASYA_CONCURRENCY": concurrency}, worker_descriptors=True,
                 allow_log=["WARNING .*went away"]) as server:
        workers = server.worker_pids()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda row: ask(server, row), range(8)))
        assert not wrong
        assert server.worker_pids() == workers


def test_names_from_the_http_head(runtime):
    with runtime("contexts:plain") as server:
        message = hops("w")
        del message["id"]
        got = over_http(server, message, {"X-Request-ID": "head-1", "traceparent": TRACE})
        assert (got["id"], got["traceparent"]) == ("head-1", TRACE)
        got = over_http(server, hops("w", headers={"traceparent": OTHER}), {"X-Request-ID": "head-1", "traceparent": TRACE})
        assert (got["id"], got["traceparent"]) == ("m-1", OTHER), "the message's own come first"


@pytest.mark.parametrize("name, concurrency", [("plain", 1), ("plain", 3), ("coroutine", 3)])
def test_the_deadline_is_on_the_monotonic_clock(runtime, name, concurrency):
    with runtime("contexts:" + name, env={"ASYA_HANDLER_TIMEOUT": 30, "ASYA_CONCURRENCY": concurrency},
                 worker_descriptors=True) as server:
        before = time.monotonic()
        deadline = server.result("w")["deadline"]
        assert before + 29 < deadline < time.monotonic() + 31


def test_what_is_kept_outlives_its_request(runtime):
    with runtime("contexts:keep", env={"ASYA_CONCURRENCY": 1}) as server:
        assert over_http(server, hops("first", id="m-1", headers={"h": 1})) is True
        assert over_http(server, hops("second", id="m-2")) == ["m-1", {"h": 1}, False]


def test_outside_of_a_request_there_is_none(runtime):
    with runtime("contexts:elsewhere", allow_log=GIVEN_NOTHING) as server:
        assert server.result("w") == [None, None]


@pytest.mark.supervised
def test_a_function_can_look_whether_it_is_cancelled(runtime):
    """A thread in C code sees no exception; the flag it can ask."""
    with runtime("contexts:ask", env={"ASYA_CONCURRENCY": 2, "ASYA_HANDLER_TIMEOUT": 0.5},
                 allow_log=["(ERROR|WARNING) .*"]) as server:
        assert server.call("w")["type"] == "HandlerTimeout"
        assert server.result("told") is True


# -- threads that the function starts ---------------------------------------------------------------------------------------

GIVEN_NOTHING = [r"RuntimeWarning: asya_runtime.context\(\) is None in this thread.*copy_context\(\).run.* asyncio.to_thread",
                 r"^  \S"]  # Python shows the line of the source below
OF_ITS_OWN = ["in_a_thread", "in_an_executor", "in_a_thread_of_a_thread", "in_a_loop_of_its_own", "on_a_loop_in_the_background",
              "by_to_thread", "generator_in_a_thread"]


@pytest.fixture(scope="module", params=[(name, concurrency) for name in OF_ITS_OWN for concurrency in (1, 3)],
                ids=lambda param: "%s, %d at a time" % param)
def threading_server(runtime, request):
    name, concurrency = request.param
    with runtime("contexts:" + name, env={"ASYA_CONCURRENCY": concurrency, "ASYA_HANDLER_TIMEOUT": 60}, worker_descriptors=True) as server:
        yield server


def test_a_copy_of_the_context_carries_the_request_into_any_thread(threading_server):
    before = time.monotonic()
    got = over_http(threading_server, hops("w", **MEMBERS))
    assert before + 58 < got.pop("deadline") < before + 90
    assert got == {"who": "w", "id": "m-7", "parent_id": "p-1", "headers": MEMBERS["headers"], "traceparent": TRACE,
                   "route": {"prev": ["x"], "curr": "a", "next": ["b", "c"]}, "cancelled": False}


def test_threads_of_many_requests_each_see_their_own(threading_server):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        seen_ids = list(pool.map(lambda n: over_http(threading_server, hops("w", id="m-%d" % n))["id"], range(30)))
    assert seen_ids == ["m-%d" % n for n in range(30)]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_context_that_outlives_its_request_says_what_was(runtime, concurrency):
    """Freed memory is overwritten here, so that nothing can be read from it."""
    env = {"ASYA_CONCURRENCY": concurrency, "ASYA_HANDLER_TIMEOUT": 60, "MALLOC_PERTURB_": 165}
    with runtime("contexts:late", env=env) as server:
        before = time.monotonic()
        assert over_http(server, hops("first", **{**MEMBERS, "id": "m-1"})) is False
        for _ in range(5):
            got = over_http(server, hops("second", id="m-2"))
            assert before + 58 < got.pop("deadline") < before + 90
            assert got == {"who": "late", "id": "m-1", "parent_id": "p-1", "headers": MEMBERS["headers"], "traceparent": TRACE,
                           "route": {"prev": ["x"], "curr": "a", "next": ["b", "c"]}, "cancelled": False, "ended": True,
                           "own": "m-2"}


def test_a_thread_that_is_given_nothing_is_told_how_once(runtime):
    with runtime("contexts:bystander", expect_log=GIVEN_NOTHING[:1], allow_log=GIVEN_NOTHING) as server:
        assert server.result("w") == server.result("w") == [None, None, None]
        assert server.log_text().count("RuntimeWarning") == 1


@pytest.mark.supervised
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_thread_of_the_function_can_look_whether_its_request_is_cancelled(runtime, concurrency):
    with runtime("contexts:told_in_a_thread", env={"ASYA_CONCURRENCY": concurrency, "ASYA_HANDLER_TIMEOUT": 0.5},
                 allow_log=["(ERROR|WARNING) .*"]) as server:
        assert server.call("w")["type"] == "HandlerTimeout"
        assert server.result("told") == [True, True]


def test_records_of_such_a_thread_have_the_requests_id(runtime):
    with runtime("contexts:logs_in_a_thread") as server:
        assert over_http(server, hops("w", id="order-7")) == "w"
        server.wait_for_log("thread: without")
        assert {line.message for line in server.logs() if "thread: " in line.text} == {
            "[order-7] thread: with its request", "thread: without"}


def test_copying_a_context_looks_as_ever(runtime):
    with runtime("contexts:lengths") as server:
        first, second, name, kind = server.result("w")
        assert (first, name, kind) == (second, "copy_context", "builtin_function_or_method")


# -- the log --------------------------------------------------------------------------------------------------------------


def line_of(server, code, **members):
    with server.watched(allow_log=["(ERROR|WARNING).*marked"]):
        before = len(server.logs())
        invoke(server.path, hops(code, **members))
        server.wait_for_log("marked", count=1)
        [line] = [line for line in server.logs()[before:] if not line.quiet]
        return line


@pytest.mark.parametrize("name, concurrency", [("run", 1), ("run", 3)])
def test_the_line_of_a_failed_request_names_it(runtime, name, concurrency):
    with runtime("snippets:" + name, env={"ASYA_CONCURRENCY": concurrency}) as server:
        line = line_of(server, "raise KeyError('marked')", **MEMBERS)
        assert line.message.startswith("[m-7 %s] processing_error: KeyError: 'marked'" % TRACE)
        line = line_of(server, "raise KeyError('marked')")
        assert line.message.startswith("[m-1] processing_error: ")


def test_a_task_names_its_request_as_well(runtime):
    with runtime("snippets:run_async", worker_descriptors=True) as server:
        assert line_of(server, "raise ValueError('marked')", **MEMBERS).message.startswith("[m-7 %s] validation_error" % TRACE)


def test_in_a_json_log_the_names_are_members(runtime):
    with runtime("snippets:run", env={"ASYA_LOG_FORMAT": "json"}) as server:
        record = json.loads(line_of(server, "raise KeyError('marked')", **MEMBERS).text)
        _, trace_id, span_id, _ = TRACE.split("-")
        assert (record["request_id"], record["trace_id"], record["span_id"]) == ("m-7", trace_id, span_id)
        assert record["message"].startswith("processing_error: KeyError: 'marked'")


def test_no_name_can_forge_a_line(runtime):
    forged = "a\n2026-01-01T00:00:00.000Z ERROR forged\r\x1b[31m\u2028" + "x" * 1000
    with runtime("snippets:run") as server:
        line = line_of(server, "raise KeyError('marked')", id=forged)
        assert line.level == "ERROR" and len(line.text) < 4096 and "x" * 129 not in line.text
