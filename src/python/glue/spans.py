"""A span for each request, by the function's own opentelemetry-api. Run once, if the function has imported that.

asya_runtime puts FUNCTION and VERSION here before. Names are those of OpenTelemetry's semantic conventions.
"""
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

# The provider may be set later: until then a tracer does nothing.
tracer = trace.get_tracer("asya_runtime", VERSION)
_extract = TraceContextTextMapPropagator().extract
_cold = True


def begin(request):
    """The span of a request, which is the current one in the function's context from now on."""
    global _cold
    attributes = {"faas.trigger": "pubsub", "faas.coldstart": _cold}
    _cold = False
    if request.id:
        attributes["faas.invocation_id"] = request.id
    carrier = {"traceparent": request.traceparent, "tracestate": request.tracestate} if request.traceparent else {}
    span = tracer.start_span(FUNCTION, _extract(carrier, context.Context()), trace.SpanKind.SERVER, attributes)
    context.attach(trace.set_span_in_context(span))  # for good: the context is this request's alone
    return span


def fail(span, kind, text, error):
    if span.is_recording():
        if error is not None:
            span.record_exception(error)
        span.set_attribute("error.type", kind)
        span.set_status(trace.Status(trace.StatusCode.ERROR, text))
