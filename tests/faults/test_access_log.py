"""The access log: a record for each request, and never a wait."""
import json
import os

import pytest

from harness.protocols import Stream, actors, framed, hops, invoke

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def finished(server, count):
    records = [json.loads(line.text) for line in server.wait_for_log("request_finished", count=count)]
    assert len(records) == count
    return records


@pytest.fixture(params=[1, 4], ids=["the main thread", "threads"])
def all_of(runtime, request):
    env = {"ASYA_ACCESS_LOG": "all", "ASYA_LOG_FORMAT": "json", "ASYA_CONCURRENCY": request.param}
    with runtime("snippets:run", env=env, allow_log=["ERROR", "WARNING"]) as server:
        yield server


def test_each_request_is_a_record_with_what_is_known_of_it(all_of):
    message = json.dumps("return 1")
    all_of.call(message.encode())
    framed(all_of.path, actors("raise KeyError('x')", id="m-1"))
    invoke(all_of.path, hops("return [1, 2]", id="m-2"), {"traceparent": TRACE})
    all_of.call(b"{]")
    raw, prefix, http, bad = finished(all_of, 4)
    assert (raw["protocol"], raw["received_bytes"], raw["sent_bytes"]) == ("raw", len(message), len('{"status":"ok","result":1}'))
    assert "category" not in raw and "request_id" not in raw and 0 < raw["duration_seconds"] < 5
    assert (prefix["protocol"], prefix["request_id"], prefix["category"], prefix["error_type"]) == (
        "framed", "m-1", "processing_error", "KeyError")
    assert (http["protocol"], http["request_id"], http["trace_id"]) == ("http", "m-2", TRACE.split("-")[1])
    assert bad["category"] == "invalid_json"


@pytest.mark.parametrize("handler", ["contexts:generator", "contexts:async_generator", "contexts:coroutine"])
def test_of_every_shape(runtime, handler):
    with runtime(handler, env={"ASYA_ACCESS_LOG": "all", "ASYA_LOG_FORMAT": "json"}) as server:
        if "generator" in handler:
            with Stream(server.path, hops("w", id="m-3")) as stream:
                sizes = len(list(stream))
        else:
            sizes = len(invoke(server.path, hops("w", id="m-3"))[1])
        [record] = finished(server, 1)
        assert record["request_id"] == "m-3" and record["sent_bytes"] > 10 and sizes


def test_sampled_is_one_in_a_hundred_and_each_that_fails(runtime):
    with runtime("snippets:run", env={"ASYA_ACCESS_LOG": "sampled"}, allow_log=["WARNING"]) as server:
        for _ in range(250):
            server.call("return 1")
        for _ in range(3):
            server.call("raise ValueError('x')")
        lines = server.wait_for_log("INFO raw ", count=6)
        assert len(lines) == 6 and sum("validation_error" in line.text for line in lines) == 3


def test_off_is_the_default(runtime):
    with runtime("snippets:run", env={"ASYA_LOG_FORMAT": "json"}) as server:
        server.call("return 1")
        server.stop()
        assert "request_finished" not in server.log_text()


def test_nobody_who_reads_it_holds_up_nobody(runtime):
    reader, end = os.pipe()
    with runtime("snippets:run", env={"ASYA_ACCESS_LOG": "all"}, stderr=end) as server:
        for i in range(4000):
            assert server.result("return %d" % i) == i
    os.close(end)
    os.close(reader)
