"""A SERVER span for each request, by the function's own opentelemetry-api."""
import pytest

from harness.protocols import Stream, actors, framed, hops, invoke
from harness.runtime import skip_unless_importable

skip_unless_importable("opentelemetry.sdk", allow_module_level=True)

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MODULE = '''
import asyncio, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

def seen():
    return [{"name": span.name, "kind": span.kind.name, "trace": trace.format_trace_id(span.context.trace_id),
             "parent": trace.format_span_id(span.parent.span_id) if span.parent else None, "status": span.status.status_code.name,
             "state": span.context.trace_state.to_header(), "attributes": dict(span.attributes),
             "events": [dict(event.attributes) for event in span.events],
             "id": trace.format_span_id(span.context.span_id)} for span in exporter.get_finished_spans()]

def current():
    with trace.get_tracer("mine").start_as_current_span("inner") as span:
        return trace.format_span_id(span.parent.span_id) if span.parent else None

def work(payload):
    if payload == "spans": return {"spans": seen()}
    if payload == "raise": raise LookupError("no such thing")
    if payload == "refuse": raise ValueError("no")
    if payload == "result": return {"x": object()}
    return {"current": current()}

process = work

async def coroutine(payload):
    await asyncio.sleep(0)
    return work(payload)

def generator(payload):
    yield work(payload)

async def async_generator(payload):
    await asyncio.sleep(0)
    yield work(payload)
'''
SHAPES = [("process", 1), ("process", 3), ("coroutine", 3), ("generator", 1), ("async_generator", 2)]


@pytest.fixture(params=SHAPES, ids=["%s-%d" % shape for shape in SHAPES])
def traced(runtime, short_folder, request):
    name, concurrency = request.param
    (short_folder / "traced.py").write_text(MODULE)
    env = {"PYTHONPATH": str(short_folder), "ASYA_CONCURRENCY": concurrency}
    with runtime("traced:" + name, env=env, allow_log=["ERROR", "WARNING"], worker_descriptors=True) as server:
        server.name = name
        yield server


def ask(server, payload, headers=None):
    message = hops(payload, id="order-7", headers=headers or {})
    if "generator" in server.name:
        with Stream(server.path, message) as stream:
            got = [event for event in stream][0][1]
            return got.get("payload")
    status, body = invoke(server.path, message)
    return body["frames"][0]["payload"] if status == 200 else None


def server_spans(server):
    return [span for span in ask(server, "spans")["spans"] if span["kind"] == "SERVER"]


def test_each_request_has_a_span_that_is_current_in_the_function(traced):
    answers = [ask(traced, 1, {"traceparent": TRACE, "tracestate": "a=b"}), ask(traced, 2)]
    first, second = server_spans(traced)
    assert [answer["current"] for answer in answers] == [first["id"], second["id"]]
    assert (first["trace"], first["parent"], first["state"]) == (TRACE.split("-")[1], TRACE.split("-")[2], "a=b")
    assert second["parent"] is None and second["trace"] != first["trace"], "no span is the parent of the next request's"
    assert first["name"] == "traced:" + traced.name and first["status"] == "UNSET"
    assert first["attributes"] == {"faas.trigger": "pubsub", "faas.coldstart": True, "faas.invocation_id": "order-7"}
    assert second["attributes"]["faas.coldstart"] is False


@pytest.mark.parametrize("payload, kind, recorded", [("raise", "LookupError", True), ("refuse", "ValueError", True),
                                                     ("result", "TypeError", False)])
def test_what_fails_is_recorded(traced, payload, kind, recorded):
    ask(traced, payload)
    [span] = server_spans(traced)
    assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", kind)
    assert [event["exception.type"] for event in span["events"]] == ([kind] if recorded else [])


def test_in_the_other_protocols(runtime, short_folder):
    (short_folder / "traced.py").write_text(MODULE)
    with runtime("traced:process", env={"PYTHONPATH": str(short_folder)}) as server:
        framed(server.path, actors(1, headers={"traceparent": TRACE}))
        server.call(b"2")
        spans = [span for span in server.result("spans")["spans"] if span["kind"] == "SERVER"]
        assert [span["parent"] for span in spans] == [TRACE.split("-")[2], None]


def test_without_opentelemetry_nothing_of_it_is_imported(runtime):
    code = "import sys\nreturn [name for name in sys.modules if name.startswith('opentelemetry')]"
    with runtime("snippets:run") as server:
        assert server.result(code) == []
