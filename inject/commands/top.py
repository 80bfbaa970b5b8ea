"""`top`: how a running runtime is, second by second."""
import os
import select
import shutil
import signal
import sys
import time

from . import Refusal, control, display

BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
PLAIN_BARS = "_.-:=+*#"  # for a terminal that knows ASCII only
OPEN, CLOSE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"  # another screen, without a cursor; and back
ERRORS_SHOWN = 6
LATELY = 10  # as many samples back are the latencies counted


class Rate:
    """Requests per second, and how long they took lately, from what /metrics counts."""

    def __init__(self):
        self.count, self.time, self.rates, self.latency, self.counted = None, 0, [], "", []

    def note(self, metrics, now):
        count, self.errors = display.tally(metrics)
        if self.count and count < self.count:  # another runtime is there now
            self.counted = []
        if self.count is not None:
            self.rates = self.rates[-299:] + [max(count - self.count, 0) / max(now - self.time, 1e-3)]
        self.count, self.time, self.ends = count, now, display.ends(metrics)
        self.counted = self.counted[-LATELY:] + [display.durations(metrics)]
        self.latency = display.latency(self.counted[-1], self.counted[0] if len(self.counted) > 1 else None)

    def plot(self, width):
        try:
            BARS.encode(sys.stdout.encoding or "ascii")
            bars = BARS
        except UnicodeError:
            bars = PLAIN_BARS
        rates = self.rates[-width:]
        most = max(rates + [1e-9])
        return "".join(bars[min(int(rate / most * 7.999), 7)] for rate in rates)

    def line(self, width):
        if not self.rates:
            return "requests: counting"
        text = "%.4g requests/s  " % self.rates[-1]
        most = "  most %.4g" % max(self.rates)
        return text + self.plot(max(width - len(text) - len(most), 1)) + most


def frame(status, rate, width, height):
    """The lines of one screen; what does not fit is counted."""
    errors = [display.error(entry) for entry in status["errors"]][-ERRORS_SHOWN:][::-1]
    workers, requests = display.table(display.workers(status)), display.table(display.requests(status))
    room = max(height - 11 - len(errors), 6)
    lines = display.head(status) + [rate.line(width), "%d requests; lately %s" % (rate.count, rate.latency), ""]
    most = min(len(workers), max(room - len(requests), room // 2))
    for rows, size in ((workers, most), (requests, room - most)):
        left = len(rows) - size
        lines += rows if left <= 0 else rows[: size - 1] + ["and %d more" % (left + 1)]
        lines.append("")
    waiting = status["waiting"]
    lines += ["%d running, %d waiting; workers ended: %s" % (status["running_count"], sum(waiting.values()), rate.ends),
              "errors: " + rate.errors]
    return [display.cut(line, width) for line in (lines + errors)[: height - 1]]


class Terminal:
    """The keyboard key by key, and a screen of its own; as it was afterwards."""

    def __enter__(self):
        import termios
        import tty
        self.module, self.saved = termios, termios.tcgetattr(0)
        tty.setcbreak(0)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        sys.stdout.write(OPEN)
        return self

    def __exit__(self, *_):
        sys.stdout.write(CLOSE)
        sys.stdout.flush()
        self.module.tcsetattr(0, self.module.TCSADRAIN, self.saved)

    def show(self, lines):
        """In one write, over what is there: nothing flickers."""
        sys.stdout.write("\033[H" + "\033[K\n".join(lines) + "\033[K\033[J")
        sys.stdout.flush()

    def is_left(self, seconds):
        """Waits; whether q was pressed, or the terminal has gone."""
        until = time.monotonic() + seconds
        while select.select([0], [], [], max(until - time.monotonic(), 0))[0]:
            if os.read(0, 1) in (b"q", b"Q", b"\x04", b""):
                return True
        return False


def watch(path, seconds):
    rate, status, silent = Rate(), None, ""
    with Terminal() as terminal:
        while True:
            width, height = shutil.get_terminal_size()
            try:
                status, silent = control.status(path), ""
                rate.note(control.metrics(path), time.monotonic())
            except Refusal as refusal:
                if status is None:
                    raise
                silent = str(refusal)  # it may be restarted: top waits for it
            lines = frame(status, rate, width, height - 1)
            terminal.show(lines + [display.cut(silent or "every %g s; q ends" % seconds, width)])
            if terminal.is_left(seconds):
                return 0


def run(arguments):
    parser = control.parser("top")
    parser.add_argument("--interval", type=float, default=1)
    options = control.parse(parser, arguments, ("--interval",))
    if not 0.1 <= options.interval <= 3600:
        raise Refusal("--interval takes 0.1 to 3600 seconds")
    if sys.stdin.isatty() and sys.stdout.isatty():
        return watch(options.control, options.interval)
    rate = Rate()
    for last in (False, True):
        status = control.status(options.control)
        rate.note(control.metrics(options.control), time.monotonic())
        if not last:
            time.sleep(options.interval)
    print("\n".join(frame(status, rate, 80, 200)))
    return 0
