"""`call`: one message. Without --socket the function is served in this very process, to this one client."""
import argparse
import json
import os
import re
import signal
import socket
import sys
import tempfile
import threading

from . import EXTENSION, FAILED, INTERRUPTED, Refusal, client, reason_of, recorded, say, settings

HANDLER = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?\Z", re.ASCII)
OWN = ("--socket", "--protocol", "--timeout")


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refusal("%s; `asya_runtime.py help %s` shows how" % (message, self.prog))


def parse(arguments):
    parser = Parser("call", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--socket")
    parser.add_argument("--protocol", choices=["raw", "framed", "http"])
    parser.add_argument("--timeout", type=float)
    left = settings.take(arguments, OWN)
    # "-" and JSON such as -1 are no options; argparse would take them for some
    words = [word for word in left if word == "-" or re.match(r"-\d", word)]
    options = parser.parse_intermixed_args([word for word in left if word not in words])
    options.words += words
    return options


def read_payload(word):
    if word == "-":
        return sys.stdin.buffer.read()
    if not word.startswith("@"):
        return word.encode("utf-8", "surrogateescape")
    try:
        with open(word[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise Refusal("cannot read the payload: %s" % reason_of(error), FAILED) from None


def split(options):
    """Which of the words is the function and which the payload."""
    words = list(options.words)
    is_handler = words and HANDLER.match(words[0]) and words[0] not in ("null", "true", "false")
    if is_handler and (len(words) == 2 or not options.socket):
        settings.put("ASYA_PROCESS_MODULE", words.pop(0))
        if options.socket:
            raise Refusal("with --socket the runtime has its function already: leave out '%s'"
                          % os.environ["ASYA_PROCESS_MODULE"])
    if len(words) > 1:
        raise Refusal("unexpected argument '%s': quote JSON for the shell, as in call pkg.module:name '{\"a\": 1}'" % words[1])
    if not words and sys.stdin.isatty():
        raise Refusal("no payload: give JSON, @FILE, or - for standard input, as in call pkg.module:name '{\"a\": 1}'")
    return read_payload(words[0] if words else "-")


def message_of(payload, protocol):
    """What is sent: over the length prefix and HTTP a message around the payload, unless it is one already."""
    if protocol == "raw":
        return payload
    try:
        value = EXTENSION.loads(payload)
    except ValueError:
        return payload  # refused by the runtime, which says why
    whole = isinstance(value, dict) and "payload" in value and "route" in value
    return payload if whole else client.wrap(payload, protocol)


def show(data):
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # as if SIGPIPE, which Python ignores, had ended this process
        os._exit(128 + signal.SIGPIPE)


def report(reply, protocol):
    """Shows the reply; the exit code."""
    value = EXTENSION.loads(reply) if reply else None
    failure = value[0] if protocol == "framed" and value else value
    if isinstance(failure, dict) and "error" in failure:
        details = failure.get("details", failure)
        kind = details.get("type")
        say("%s: %s%s" % (failure["error"], kind + ": " if kind else "", details.get("message")))
        return client.CODES.get(failure["error"], FAILED)
    if protocol == "raw":
        reply = reply[len(b'{"status":"ok","result":') : -1]
    text = reply
    if sys.stdout.isatty():
        text = json.dumps(json.loads(reply.decode()), indent=2, ensure_ascii=False).encode("utf-8", "replace") if reply else b""
    if text:
        show(text + b"\n")
    return 0


def ask(connection, protocol, message, fields):
    """One exchange, shown; the exit code."""
    codes = [0]

    def show_event(event):
        for name, data in client.events_of(event):
            if name == b"error":
                codes.append(client.CODES.get(EXTENSION.loads(data).get("error"), FAILED))
        show(event + b"\n\n")

    try:
        reply = client.exchange(connection, protocol, message, show_event, fields)
        return codes[-1] if reply is None else report(reply, protocol)
    except client.NoReply as error:
        raise Refusal(str(error), FAILED) from None


class Foreground:
    """Serves this one message in the main thread, where signals and a debugger work; a thread is its client."""

    def __init__(self, *what):
        self.what, self.code, self.interrupts = what, FAILED, 0
        self.refusal = None

    def on_interrupt(self, number, frame):
        self.interrupts += 1
        if self.interrupts > 1:
            os._exit(INTERRUPTED)
        if "bdb" not in sys.modules:  # in a debugger, Ctrl-C is for it alone
            timer = threading.Timer(1, os._exit, [INTERRUPTED])
            timer.daemon = True
            timer.start()
        raise KeyboardInterrupt

    def run_client(self, connection, control):
        try:
            with connection:
                self.code = ask(connection, *self.what)
        except Refusal as refusal:
            self.refusal = refusal
        finally:
            control.close()

    def run(self):
        path = os.path.join(tempfile.mkdtemp(prefix="asya-"), "s")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(1)
        listener.setblocking(False)
        connection = client.connect(path)
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        signal.signal(signal.SIGINT, self.on_interrupt)
        thread = threading.Thread(target=self.run_client, args=(connection, ours), daemon=True)
        thread.start()
        code = EXTENSION._serve_foreground((listener.fileno(), theirs.fileno()))
        if self.interrupts:
            return INTERRUPTED
        if code != 0:
            return code  # the log says why
        thread.join()
        if self.refusal:
            raise self.refusal
        return self.code


def run(arguments):
    options = parse(arguments)
    payload = split(options)
    if recorded.is_one(payload):
        what = recorded.replay(payload, options.protocol)
    else:
        protocol = options.protocol or "raw"
        what = protocol, message_of(payload, protocol), b""
    if not options.socket:
        os.environ.pop("ASYA_PROTOCOL", None)
        return Foreground(*what).run()
    try:
        connection = client.connect(options.socket, options.timeout)
    except OSError as error:
        raise Refusal("no runtime answers at %s (%s): start one, or leave out --socket"
                      % (options.socket, error.strerror or error), FAILED) from None
    with connection:
        return ask(connection, *what)
