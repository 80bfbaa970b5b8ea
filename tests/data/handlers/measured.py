"""Metrics of the function's own, made when the module is imported; the payload is code that uses them."""
import textwrap

from asya_runtime import metrics

jobs = metrics.counter("jobs", "Jobs.", ("kind",))
plain = metrics.counter("plain_total")
opened = metrics.gauge("open_now", "Open.")
largest = metrics.gauge("largest", mode="max")
latest = metrics.gauge("latest", mode="last")
sizes = metrics.histogram("sizes", "Sizes.", buckets=(1, 10, 100))


def run(code):
    scope = dict(globals())
    exec("def body():\n" + textwrap.indent(code, "    "), scope)
    return scope["body"]()
