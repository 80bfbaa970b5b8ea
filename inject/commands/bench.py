"""`bench`: how many requests a second, and how long they take. The load loop is src/server/load.c."""
import array
import json
import struct
import sys
import tempfile
import time

from . import EXTENSION, FAILED, Refusal, call, client, reason_of, settings
from .feed import Runtime

SOME_FAILED = 2
OWN = ("--socket", "--protocol", "--timeout", "--clients", "--rate", "--seconds", "--requests", "--keep", "--json", "--compare")
OUTCOMES = ("ok", "errors", "lost", "late")
QUANTILES = (0.5, 0.9, 0.99, 0.999)
SECOND = 10**9
BITS = 6  # LOAD_BUCKET_BITS
WARM_UP = 0.2  # seconds that do not count
HEAD = b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"


def parse(arguments):
    parser = call.Parser("bench", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--socket")
    parser.add_argument("--protocol", choices=["raw", "framed", "http"], default="raw")
    parser.add_argument("--clients", type=int)
    for name, usual in (("timeout", 30), ("rate", 0), ("seconds", 5)):
        parser.add_argument("--" + name, type=float, default=usual)
    parser.add_argument("--requests", type=int, default=1 << 62)
    for name in ("keep", "json"):
        parser.add_argument("--" + name, action="store_true")
    parser.add_argument("--compare")
    options = parser.parse_intermixed_args(settings.take(arguments, OWN))
    if options.clients is None:
        options.clients = 64 if options.rate else 8
    if not (1 <= options.clients <= 4096 and 0 <= options.rate <= 1e8 and 0 < options.seconds <= 1e6 and options.requests > 0
            and 0 < options.timeout <= 1e6):
        raise Refusal("--clients takes 1 to 4096, --rate 0 to 1e8 requests a second, --seconds, --requests and --timeout more than 0")
    if options.keep and options.protocol != "http":
        raise Refusal("--keep is for --protocol http: the others end a connection with its reply")
    return options


def request_of(options, payload):
    """The bytes of a request, and how a reply begins: (prefix, behind so many bytes, is it that of a bad one)."""
    message = call.message_of(payload, options.protocol)
    if options.protocol == "raw":
        return message, (b'{"error"', 0, 1)
    if options.protocol == "framed":
        return struct.pack(">I", len(message)) + message, (b'[{"error"', 4, 1)
    return HEAD % (b"" if options.keep else b"Connection: close\r\n", len(message), message), (b"HTTP/1.1 2", 0, 0)


def load(path, options, payload, seconds, goes_on=lambda: True):
    request, prefix = request_of(options, payload)
    interval = int(SECOND / options.rate) if options.rate else 0
    data = EXTENSION._load(path.encode(), request, *prefix, options.protocol != "http", options.keep, options.clients, interval,
                           int(seconds * SECOND), options.requests, int(options.timeout * SECOND), goes_on)
    if isinstance(data, int):
        raise Refusal("the load could not begin: error %d" % -data, FAILED)
    return data


def end_of(bucket):
    """The largest number of nanoseconds that falls into it, in seconds."""
    shift = max((bucket >> BITS) - 1, 0)
    return ((bucket - (shift << BITS) + 1 << shift) - 1) / SECOND


def figures(data, options):
    """What the tally says, in requests and seconds."""
    numbers = array.array("Q", data[:-512])
    outcomes, (elapsed, busy, whole, most), buckets = numbers[:4], numbers[4:8], numbers[8:]
    good, elapsed = outcomes[0], max(elapsed, 1) / SECOND
    counts = [(end_of(bucket), count) for bucket, count in enumerate(buckets) if count]
    latency = {"mean": whole / SECOND / max(good, 1)}
    for share in QUANTILES:
        seen = 0
        for end, count in counts:
            seen += count
            if seen >= share * good:
                latency["p%g" % (share * 100)] = min(end, most / SECOND)
                break
    latency["max"] = most / SECOND
    return {"version": EXTENSION.__version__, "protocol": options.protocol, "clients": options.clients, "rate": options.rate,
            "seconds": elapsed, "requests_per_second": good / elapsed, "outcomes": dict(zip(OUTCOMES, outcomes)),
            "latency_seconds": latency, "client_busy": busy / SECOND / elapsed, "histogram": counts}


def bars(counts):
    """The histogram, two rows for a power of two."""
    rows = {}
    for end, count in counts:
        row = 1e-7
        while row < end:
            row *= 2**0.5
        rows[row] = rows.get(row, 0) + count
    most, whole = max(rows.values()), sum(rows.values())
    for row, count in sorted(rows.items()):
        yield "%10.3g ms %6.2f %%  %s" % (row * 1e3, 100 * count / whole, "#" * -(-50 * count // most))


def report(found, before):
    loop = "open loop, %g/s" % found["rate"] if found["rate"] else "closed loop"
    yield "%s, %d clients, %s, %.3g s" % (found["protocol"], found["clients"], loop, found["seconds"])
    yield ", ".join("%d %s" % (count, name) for name, count in found["outcomes"].items())
    rows = [("requests/s", 1, found["requests_per_second"], before and before["requests_per_second"])]
    rows += [(name + " ms", 1e3, value, before and before["latency_seconds"].get(name))
             for name, value in found["latency_seconds"].items()]
    yield ""
    for name, scale, value, other in rows:
        yield "%-12s%12.5g" % (name, value * scale) + ("%12.5g before%9.2f times" % (other * scale, value / other) if other else "")
    if found["histogram"]:
        yield ""
        yield from bars(found["histogram"])
    if found["client_busy"] > 0.9:
        yield "the load loop itself was busy %d %% of the time: the runtime may be faster" % (100 * found["client_busy"])
    if found["rate"] and found["requests_per_second"] < 0.98 * found["rate"]:
        yield "the rate was not reached: latencies run from when a request was due"


def read(path):
    try:
        with open(path) as file:
            found = json.load(file)
        return found if found["requests_per_second"] >= 0 and found["latency_seconds"] else {}
    except OSError as error:
        raise Refusal("cannot read --compare: %s" % reason_of(error), FAILED) from None
    except (ValueError, KeyError, TypeError):
        raise Refusal("%s is not an output of `bench --json`" % path, FAILED) from None


def measure(path, options, payload, before):
    with client.connect(path):
        pass  # a wrong path is one clear line
    warm = load(path, options, payload, WARM_UP)
    if not array.array("Q", warm[:8])[0]:
        said = warm[-512:].rstrip(b"\0").decode("utf-8", "replace")
        raise Refusal("no request got a good reply: %s" % (said or "no reply came"), FAILED)
    until = time.monotonic() + options.seconds

    def goes_on():
        if sys.stderr.isatty():
            sys.stderr.write("\r%3d s left \r" % max(until - time.monotonic(), 0))
        return True
    try:
        data = load(path, options, payload, options.seconds, goes_on)
    finally:
        sys.stderr.write("\r\033[K" if sys.stderr.isatty() else "")
    found = figures(data, options)
    print(json.dumps(found) if options.json else "\n".join(report(found, before)))
    return SOME_FAILED if sum(found["outcomes"].values()) > found["outcomes"]["ok"] else 0


def run(arguments):
    options = parse(arguments)
    before = read(options.compare) if options.compare else None
    payload = call.split(options)
    if options.socket:
        try:
            return measure(options.socket, options, payload, before)
        except OSError as error:
            raise Refusal("no runtime answers at %s (%s): start one, or name a function" % (options.socket, error.strerror),
                          FAILED) from None
    with tempfile.TemporaryFile() as log:
        runtime = Runtime(log.fileno(), {}, "auto")
        try:
            runtime.start()
            return measure(runtime.path, options, payload, before)
        finally:
            runtime.stop()
