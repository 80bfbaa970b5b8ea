"""Texts and numbers as people read them."""
import re
import time
import unicodedata


def clean(text):
    """In one line, and nothing that a terminal would obey: what a function says may hold anything."""
    return "".join(c if c.isprintable() else " " if c in "\t\n\r" else c.encode("unicode_escape").decode() for c in text)


def width_of(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text, width):
    """The text in so many columns of a terminal at most."""
    text = clean(text)
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 2:
        text = text[:-1]
    return text + ".."


def span(seconds):
    """A time in two units at most, in 6 columns."""
    if seconds < 100:
        return "%.*fs" % (2 if seconds < 10 else 1, seconds)
    for unit, smaller, whole, part in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if seconds >= whole:
            return "%d%s%02d%s" % (seconds // whole, unit, seconds % whole // part, smaller)
    return ""


def size(number):
    """Bytes, in 5 columns."""
    if number is None:
        return "?"
    for unit in "BKMG":
        if number < 1000 or unit == "G":
            return ("%.0f%s" if number >= 100 or unit == "B" else "%.3g%s") % (number, unit)
        number /= 1024


def exits(workers):
    """How workers have ended, by cause, without those that were to."""
    causes = {}
    for worker in workers:
        for cause, count in worker["exits"].items():
            if count:
                causes[cause] = causes.get(cause, 0) + count
    return ", ".join("%d %s" % (count, cause) for cause, count in causes.items())


def when(text):
    """The time of a date, with the day if that is another one."""
    return text[11:19] if text[:10] == time.strftime("%Y-%m-%d", time.gmtime()) else text[5:10] + " " + text[11:19]


def head(status):
    """Two lines: which program this is, and how it is."""
    return ["asya-runtime %s, Python %s, %s; pid %d, up %s" % (
        status["version"], status["python"].split()[0], status["build"]["machine"], status["pid"], span(status["uptime_seconds"])),
            "%s since %s (%s)%s" % (status["state"], status["since"][:19] + "Z", span(status["seconds"]),
                                    ": " + status["reason"] if status["reason"] else "")]


def samples(text, name):
    """The samples of a metric in the text of GET /metrics: (labels, value)."""
    return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in
            re.findall(r"^asya_runtime_%s(?:\{(.*)\})? (\S+)" % name, text, re.MULTILINE)]


def durations(text):
    """How many requests took so long at most, for each limit of the histogram."""
    counts = {}
    for labels, value in samples(text, "request_duration_seconds_bucket"):
        limit = float(labels["le"])
        counts[limit] = counts.get(limit, 0) + value
    return counts


def latency(counts, before=None):
    """The median and the 99th percentile, as Prometheus computes them, of what came since `before`."""
    counts = {limit: count - (before or {}).get(limit, 0) for limit, count in counts.items()}
    said, whole = [], max(counts.values() or [0])
    for share in (50, 99):
        low, under, wanted = 0, 0, whole * share / 100
        for limit, count in sorted(counts.items()):
            if count >= wanted:
                break
            low, under = limit, count
        if whole:
            at = low if limit == float("inf") else low + (limit - low) * (wanted - under) / (count - under)
            said.append("p%d %s%.3g ms" % (share, "over " if at == low else "", at * 1e3))
    return ", ".join(said) or "no replies"


def tally(text):
    """How many requests there were, and the errors by category and type, the most frequent first."""
    whole, causes = 0, {}
    for labels, value in samples(text, "requests_total"):
        whole += value
        if labels["outcome"] != "ok" and value:
            cause = " ".join(filter(None, (labels["outcome"], clean(labels["error_type"]))))
            causes[cause] = causes.get(cause, 0) + value
    return int(whole), ", ".join("%d %s" % (count, cause) for cause, count in
                                 sorted(causes.items(), key=lambda item: -item[1])) or "none"


def ends(text):
    """How workers have ended, by cause."""
    found = [("%d %s" % (value, labels["signal"] or labels["cause"])) for labels, value in samples(text, "worker_exits_total")
             if value]
    return ", ".join(found) or "none"


def requests(status):
    """A row for each running request, the oldest first."""
    rows = [("running", "stage", "worker", "protocol", "id or trace")]
    for request in sorted(status["running"], key=lambda request: -request["seconds"]):
        rows.append((span(request["seconds"]), request["stage"], str(request["worker"]), request["protocol"],
                     clean(request["id"] or request["traceparent"])))
    return rows


def workers(status):
    rows = [("worker", "state", "pid", "requests", "running", "RSS", "PSS", "CPU", "up", "ended")]
    template = status.get("template")
    for worker in status["workers"] + ([template] if template else []):
        about = [str(worker.get("worker", "template")), worker["state"]]
        if "pid" in worker:
            about += [str(worker["pid"]), str(worker["requests"]), str(worker["running"]), size(worker["rss_bytes"]),
                      size(worker["pss_bytes"]), span(worker["cpu_seconds"]), span(worker["uptime_seconds"])]
        rows.append(about + [""] * (9 - len(about)) + ["exits" in worker and exits([worker]) or "-"])
    return rows


def error(entry):
    """One line about an error, without its stack."""
    words = [when(entry["time"]), entry["category"], entry["type"] and entry["type"] + ":", entry["message"]]
    where = [] if entry["worker"] is None else ["worker %d" % entry["worker"]]
    where += [entry["id"]] if entry["id"] else []
    return clean(" ".join(word for word in words if word) + (" (%s)" % ", ".join(where) if where else ""))


def table(rows):
    """Columns two spaces apart; what looks like a number is at the right."""
    widths = [max(map(width_of, column)) for column in zip(*rows)]
    right = [all(cell[:1].isdigit() or cell in ("", "-", "?") for cell in column[1:]) for column in zip(*rows)]
    pads = lambda cell, width: " " * (width - width_of(cell))
    return ["  ".join(pads(cell, width) + cell if is_right else cell + pads(cell, width)
                      for cell, width, is_right in zip(row, widths, right)).rstrip() for row in rows]
