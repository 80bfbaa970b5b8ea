"""A client of the control socket (docs/operating.md): where it is, one request, and why it does not answer."""
import os
import re
import socket

from . import EXTENSION, FAILED, Refusal, client, report, settings
from .call import Parser

PATIENCE = 10  # seconds


def parser(name):
    """A parser of the command's own flags, with those that say which runtime is asked."""
    made = Parser(name, add_help=False, allow_abbrev=False)
    made.add_argument("--control")
    made.add_argument("--socket")
    return made


def parse(made, arguments, own=()):
    """The command's options, with the path of the control socket in `control`."""
    options = made.parse_args(settings.take(arguments, ("--control", "--socket") + own))
    if not options.control:
        values = {setting.name: setting.value for setting in settings.known()}
        named = "" if options.socket else values["ASYA_CONTROL_PATH"] or ""
        if named.lower() == "off":
            raise Refusal("ASYA_CONTROL_PATH is off: this runtime has no control socket; start it without that, or name another "
                          "one's with --control PATH")
        options.control = named or (options.socket or report.socket_path(values)) + ".ctl"
    return options


def others():
    """Control sockets that somebody listens at, as an end of the sentence that one does not answer."""
    lines = report.read("/proc/net/unix").splitlines()
    # a socket is bound beside its place, and then moved there
    found = [re.match(r"\S+ \S+ \S+ 00010000 .* (/.*\.ctl)(\.new)?$", line) for line in lines]
    paths = sorted({match.group(1) for match in found if match and os.path.exists(match.group(1))})
    return "; there are --control %s" % ", ".join(paths[:4]) if paths else ""


def cause(path, error):
    if isinstance(error, PermissionError):
        try:
            owner = "user %d" % os.stat(path).st_uid
        except OSError:
            owner = "the user of the runtime"
        return "user %d may not connect to %s: only %s and root may" % (os.geteuid(), path, owner)
    if isinstance(error, FileNotFoundError):
        return "no control socket at %s: start the runtime, or name the socket of another with --socket PATH%s" % (path, others())
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens at %s any more: start the runtime again%s" % (path, others())
    return "cannot ask the control socket %s: %s" % (path, error.strerror or error)


def ask(path, target, body=None):
    """(status, text) of one request: a GET, or with a body a POST."""
    request = b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
        b"GET" if body is None else b"POST", target.encode(), len(body or b""), body or b"")
    try:
        with client.connect(path, PATIENCE) as connection:
            connection.sendall(request)
            head, _, text = b"".join(iter(lambda: connection.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    except (socket.timeout, BlockingIOError):
        raise Refusal("the runtime at %s does not answer within %d s: see whether its supervisor is stopped (state T in ps)"
                      % (path, PATIENCE), FAILED) from None
    except OSError as error:
        raise Refusal(cause(path, error), FAILED) from None
    status = re.match(rb"HTTP/1\.1 (\d+) ", head)
    if not status or status.group(1) == b"404":
        raise Refusal("%s is not a control socket: its name usually ends with .ctl" % path, FAILED)
    return int(status.group(1)), text.decode("utf-8", "replace")


def metrics(path):
    """What GET /metrics says, as text."""
    code, text = ask(path, "/metrics")
    return text if code == 200 else ""


def status(path):
    """What GET /status says."""
    code, text = ask(path, "/status")
    if code != 200:
        raise Refusal("the runtime at %s is out of memory for a reply: try again" % path, FAILED)
    return EXTENSION.loads(text.encode())
