"""counter(), gauge() and histogram() of asya_runtime.metrics: names, labels, and which metric is the same as another.

Its globals are the module's, with what python/metrics.c gives: _cell, _has_cell, _children.
"""

_known = globals().setdefault("_known", {})  # run twice where two threads want it first
_MODES = ("sum", "max", "min", "last")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TEXT, _BOUNDS, _VALUE = 1000, 64, 255


def _is_name(text, colon):
    """[a-zA-Z_][a-zA-Z0-9_]*, in a metric's name also colons; at most 200 characters."""
    return (isinstance(text, str) and len(text) <= 200 and all(c < "\x80" for c in text)
            and (text.replace(":", "_") if colon else text).isidentifier())


def _check_labels(labels, taken):
    if isinstance(labels, str):
        raise ValueError("labels is the str %r, should be a tuple or list of names" % labels)
    labels = tuple(labels)
    for label in labels:
        if not _is_name(label, False) or label.startswith("__") or label == taken:
            raise ValueError("%r is no name of a label: letters, digits and _, not first a digit or __%s"
                             % (label, ", not %s" % taken if taken else ""))
    if len(set(labels)) < len(labels) or len(labels) > 16:
        raise ValueError("labels should be at most 16, each once")
    return labels


def _text(text, most=_TEXT):
    """At most so many bytes of UTF-8, and the NUL that base/series.h wants."""
    data = str(text).replace("\0", "?").encode("utf-8", "replace")
    return (data if len(data) <= most else data[:most].decode("utf-8", "ignore").encode()) + b"\0"


def _maker(name, labels, spec, parent):
    """What finds or makes a child by the values of its labels."""
    def make(values, named):
        if named:
            if values or set(named) != set(labels):
                raise ValueError("%s has the labels %s" % (name, ", ".join(labels)))
            values = tuple(named[label] for label in labels)
        if len(values) != len(labels):
            raise ValueError("%s has the labels %s, not %d" % (name, ", ".join(labels), len(values)))
        values = tuple(str(value) for value in values)
        children = _children(parent[0])  # noqa: F821
        child = children.get(values)
        if child is None:
            child = _cell(spec, b"".join(_text(value, _VALUE) for value in values), None)  # noqa: F821
            if _has_cell(child):  # noqa: F821
                child = children.setdefault(values, child)
        return child

    return make


def _register(kind, name, help, labels, mode=0, bounds=()):
    if not _is_name(name, True):
        raise ValueError("%r is no name of a metric: letters, digits, _ and :, not first a digit" % (name,))
    if name.startswith(("asya_runtime_", "process_")):
        raise ValueError("%r: names that begin with asya_runtime_ or process_ are the runtime's" % name)
    labels = _check_labels(labels, "le" if kind == 2 else None)
    if kind == 0 and not name.endswith("_total"):
        name += "_total"
    spec = (kind, mode, len(labels), bounds, b"".join(map(_text, (name, help) + labels)))
    known = _known.get(name)
    if known is None:
        parent = []
        made = _cell(spec, None if labels else b"", _maker(name, labels, spec, parent))  # noqa: F821
        parent.append(made)
        known = _known.setdefault(name, (spec, made))
    if known[0] != spec:
        raise ValueError("%s was made before with another kind, help, labels or buckets" % name)
    return known[1]


def counter(name, help="", labels=()):
    """A count that only grows. Its name ends with _total; that is added where it is missing."""
    return _register(0, name, help, labels)


def gauge(name, help="", labels=(), mode="sum"):
    """A value that goes up and down. Each worker has its own; they are shown as one by `mode`: sum, max, min, or last
    (what any of them has set last)."""
    if mode not in _MODES:
        raise ValueError("mode is %r, should be one of %s" % (mode, ", ".join(_MODES)))
    return _register(1, name, help, labels, _MODES.index(mode))


def histogram(name, help="", labels=(), buckets=_BUCKETS):
    """How often values lie below each of some bounds, and their sum."""
    bounds = tuple(float(bound) for bound in buckets)
    if bounds and bounds[-1] == float("inf"):
        bounds = bounds[:-1]
    if not 0 < len(bounds) <= _BOUNDS or any(not a < b for a, b in zip(bounds, bounds[1:])) or bounds[-1] - bounds[0] != (
            bounds[-1] - bounds[0]):
        raise ValueError("buckets should be 1 to %d bounds, each larger than the one before" % _BOUNDS)
    return _register(2, name, help, labels, 0, bounds)
