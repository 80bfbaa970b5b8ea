"""`status`: how a running runtime is, for somebody who was woken up."""
import sys

from . import control, display


def lines_of(status, metrics):
    settings = status["settings"]
    count, waiting = status["running_count"], status["waiting"]
    yield from display.head(status)
    yield "serves %s at %s" % (status["function"], settings["ASYA_SOCKET_PATH"]["value"])
    changed = [(name, about.get("value")) for name, about in settings.items() if about["set"]]
    yield "settings: " + (" ".join("%s=%s" % pair for pair in changed) or "the defaults")
    whole, errors = display.tally(metrics)
    yield ""
    yield "requests: %d, %s; errors: %s" % (whole, display.latency(display.durations(metrics)), errors)
    yield "%d running, %d waiting with workers, %d with the supervisor" % (count, waiting["with_workers"],
                                                                          waiting["with_supervisor"])
    if status["running"]:
        yield from display.table(display.requests(status))
    if count > len(status["running"]):
        yield "and %d more" % (count - len(status["running"]))
    yield ""
    yield from display.table(display.workers(status))
    rss = [worker.get("rss_bytes") or 0 for worker in status["workers"]]
    yield "all workers: %s; ended: %s" % (display.size(sum(rss)), display.ends(metrics))
    yield ""
    errors = status["errors"]
    yield "the last errors:" if errors else "no errors"
    for entry in errors:
        yield "  " + display.error(entry)
        for line in entry["stack"].rstrip("\n").split("\n") if entry["stack"] else []:
            yield "    " + display.clean(line)
        if entry["recorded"]:
            yield "    call @" + display.clean(entry["recorded"])


def run(arguments):
    parser = control.parser("status")
    parser.add_argument("--json", action="store_true")
    options = control.parse(parser, arguments, ("--json",))
    if options.json:
        sys.stdout.write(control.ask(options.control, "/status")[1])
    else:
        print("\n".join(lines_of(control.status(options.control), control.metrics(options.control))))
    return 0
