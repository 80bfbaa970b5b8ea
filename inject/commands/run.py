"""`run`: a file of messages through the function, with workers, and resumable."""
import os
import signal
import sys
import time

from . import EXTENSION, FAILED, Refusal, columns, reason_of, retry, say, settings
from .call import Parser
from .feed import Feed, Runtime
from .journal import Journal
from .lines import BLANK, CsvRows, JsonLines

OWN = ("--output", "--numbered", "--retry-errors", "--restart", "--format")
SOME_FAILED = 2


def parse(arguments):
    parser = Parser("run", add_help=False, allow_abbrev=False)
    parser.add_argument("handler", metavar="HANDLER")
    parser.add_argument("input", metavar="IN")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--numbered", action="store_true")
    parser.add_argument("--retry-errors", action="store_true")
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--format", choices=["jsonl", "csv"])
    options = parser.parse_intermixed_args(settings.take(arguments, OWN))
    options.format = options.format or ("csv" if options.input.lower().endswith(".csv") else "jsonl")
    options.kinds = None
    os.environ["ASYA_PROCESS_MODULE"] = options.handler
    refused = EXTENSION._refusal()
    if refused:
        raise Refusal(refused)
    return options


def open_input(path):
    try:
        return open(path, "rb")
    except OSError as error:
        raise Refusal("cannot read the input: %s" % reason_of(error), FAILED) from None


def counted(number, noun):
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")


class Progress:
    """A line on a terminal: how far, how fast, how long still."""

    def __init__(self, size, state):
        self.size, self.state = size, state
        self.shown = sys.stderr.isatty()
        self.began, self.line, self.offset, self.next = time.monotonic(), state["line"], state["offset"], 0

    def show(self, last=False):
        now = time.monotonic()
        if not self.shown or now < self.next and not last:
            return
        self.next = now + 0.2
        rate = (self.state["line"] - self.line) / max(now - self.began, 1e-3)
        speed = (self.state["offset"] - self.offset) / max(now - self.began, 1e-3)
        left = (self.size - self.state["offset"]) / speed if speed else 0
        text = "%d lines  %.1f %%  %d/s  %d errors" % (self.state["line"], 100 * self.state["offset"] / max(self.size, 1), rate,
                                                       self.state["failed"])
        if left >= 0.5:
            text += "  ETA %d:%02d:%02d" % (left // 3600, left // 60 % 60, left % 60)
        sys.stderr.write("\r\033[K" + text + ("\n" if last else ""))
        sys.stderr.flush()


class Stop:
    """Ctrl-C and SIGTERM: the first lets finish what runs, the second ends at once."""

    def __init__(self):
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.note)

    def note(self, number, frame):
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        say("\nstopping when the lines that run are done; again to stop at once")


def commit(journal, batches, options):
    """Writes the results of these batches, and the record about them."""
    out, errors, raw = [], [], []
    for batch in batches:
        results = batch.results
        raw.extend(batch.raws)
        for index in range(len(batch.payloads)):
            result = results[index]
            if result.__class__ is bytes:
                out.append(b'{"line":%d,"result":%b}' % (batch.line_of(index)[0], result) if options.numbered else result)
            elif result is not BLANK:
                line, offset = batch.line_of(index)
                error = {"line": line, "offset": offset, "input": "%s:%d" % (options.input, line), "error": result[0],
                         "type": result[1], "message": result[2]}
                errors.append(EXTENSION.dumps({key: value for key, value in error.items() if value is not None}))
    data = b"".join(raw)
    journal.commit(batches[-1].last, journal.state["offset"] + len(data), data, joined(out), joined(errors),
                   len(out), len(errors))


def joined(lines):
    return b"\n".join(lines) + b"\n" if lines else b""


def drive(journal, options):
    """Until the end of the input, or until somebody stops it; the signal that did."""
    workers, concurrency = (int(os.environ.get(name) or 1) for name in ("ASYA_WORKERS", "ASYA_CONCURRENCY"))
    log = os.open(options.paths.log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    progress = Progress(os.path.getsize(options.input), journal.state)
    stop, runtime = Stop(), Runtime(log, journal.state)
    try:
        try:
            runtime.start()
        except Refusal:
            journal.forget()
            raise
        feed = Feed(options.source, runtime, workers, concurrency)
        while feed.turn(not stop.number):
            done = feed.take_done()
            if done:
                commit(journal, done, options)
            progress.show()
            runtime.watch()
        done = feed.take_done()
        if done:
            commit(journal, done, options)
    except KeyboardInterrupt:
        pass
    finally:
        progress.show(last=True)
        runtime.stop()
    return stop.number


def source_of(options, file, offset, line):
    if options.format != "csv":
        return JsonLines(file, offset, line)
    if options.kinds is None:
        options.kinds = columns.kinds_of(options.handler)
    return CsvRows(file, offset, line, options.kinds)


def run(arguments):
    options = parse(arguments)
    about = {"format": "asya-run 1", "handler": options.handler, "input": os.path.abspath(options.input),
             "kind": options.format, "numbered": options.numbered}
    paths = options.paths = retry.Paths(options.output)
    with open_input(options.input) as file:
        if os.path.exists(options.output) and os.path.samefile(options.input, options.output):
            raise Refusal("%s is the input itself: name another output" % options.output)
        paths.take_places()
        journal = Journal(paths.output, paths.errors, paths.journal, about, options.restart)
        journal.check_input(file, options.input)
        state = journal.state
        if state["done"] and state["offset"] == os.path.getsize(options.input):
            if options.retry_errors and state["failed"]:
                return run_again(journal, options, file, about)
            say("nothing to do: all %d lines are done" % state["line"])
            return report(state, options)
        if options.retry_errors:
            if not state["sequence"]:
                journal.forget()
            raise Refusal("first run it to the end: the same command without --retry-errors")
        if state["offset"]:
            say("goes on after line %d" % state["line"])
        try:
            options.source = source_of(options, file, state["offset"], state["line"])
        except Refusal:
            journal.forget()
            raise
        stopped = drive(journal, options)
    if stopped:
        journal.sync()
        say("stopped after line %d; the same command goes on from there" % state["line"])
        return 128 + stopped
    journal.finish()
    return report(state, options)


def run_again(journal, options, file, about):
    """The lines that have errors. `journal`, of the first run, stays locked."""
    failed = retry.read_errors(options.paths.errors)
    again = retry.open_journal(options.paths, about, failed)
    numbered, options.numbered = options.numbered, True
    options.source = retry.Listed(lambda *place: source_of(options, file, *place), failed, again.state["line"])
    stopped = drive(again, options)
    if stopped:
        again.sync()
        say("stopped after %d of %d lines; the same command goes on from there" % (again.state["line"], len(failed)))
        return 128 + stopped
    again.sync()
    whole = source_of(options, file, 0, 0)
    return report(retry.merge(options.paths, whole, numbered, {error["line"] for error in failed}, about, journal.state), options)


def report(state, options):
    say("%s in %s" % (counted(state["results"], "result"), options.output))
    if state["failed"]:
        say("%s in %s" % (counted(state["failed"], "error"), options.paths.errors))
    return SOME_FAILED if state["failed"] else 0
