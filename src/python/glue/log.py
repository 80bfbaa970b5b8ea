"""What a function logs with `logging` appears in the runtime's log, in its format and at its level.

This is done as the handler of last resort, so that whatever the function configures itself (basicConfig, dictConfig, a
handler of a library's) takes its place, as in any other program. Set from outside: level(), a name; JSON; EVENT, the name of
these lines; WORKER, a number; COLOURS, of each level or empty; context(); write(), where standard error is captured.
"""
import os
import sys
import time


def spec_of_logging():
    """How to import `logging`: as without us, and configured afterwards."""
    for finder in sys.meta_path:
        spec = finder.find_spec("logging", None) if hasattr(finder, "find_spec") else None
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                configure()

            spec.loader.exec_module = exec_module
            return spec
    return None


def configure():
    import logging

    class LastResort(logging.Handler):
        def emit(self, record):
            if record.name != "asya_runtime":  # what the function raises has its line already
                try:
                    write(line_of(record) + "\n")
                except Exception:
                    self.handleError(record)

    name = logging.root.handlers and level()
    while name != level():  # it may change meanwhile
        name = level()
        logging.root.setLevel(name)
    logging.lastResort = LastResort()
    logging.basicConfig = leave_defaults(logging.root, logging.basicConfig)


if "write" not in globals():
    def write(text):
        sys.stderr.write(text)


def set_level(before, name):
    """POST /log-level. A level that the function has chosen itself stays. Runs between any two lines of Python, so `logging`
    may be half imported; then configure() finds the new level."""
    logging = sys.modules.get("logging")
    if hasattr(logging, "root") and logging.root.level == logging.getLevelName(before):
        logging.root.setLevel(name)


def leave_defaults(root, basic_config):
    """basicConfig() without settings is what logging.info() and its like call when the root logger has no handler. That is no
    wish of the function's, so it changes nothing."""
    import functools

    @functools.wraps(basic_config)
    def basicConfig(**settings):
        if settings or root.handlers:
            basic_config(**settings)

    return basicConfig


def request():
    """The id of the request that is worked on, its trace and span; each may be empty."""
    here = context()
    trace = getattr(here, "traceparent", "").split("-")
    return (getattr(here, "id", ""), *(trace[1:3] if len(trace) > 3 else ("", "")))


def line_of(record):
    """One record: an object a line, or text whose further lines are indented, so that none looks like one of its own."""
    import logging

    stack = logging.Formatter().formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
    stack += ("\n" if stack else "") + record.stack_info if record.stack_info else ""
    when = "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)), record.created % 1 * 1000)
    message, (name, trace, span) = record.getMessage(), request()
    if JSON:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        members = {"time": when, "level": record.levelname, "message": message, "event": EVENT, "request_id": name,
                   "trace_id": trace, "span_id": span, "worker": WORKER, "pid": os.getpid(), "error_type": error,
                   "logger": record.name, "stack": stack}
        return sys.modules["asya_runtime"].dumps({key: value for key, value in members.items() if value != ""}).decode()
    text = "%s%s: %s" % ("[%s] " % name if name else "", record.name, message)
    text = "\n    ".join((text + "\n" + stack if stack else text).splitlines())
    text = "".join(char if char >= " " and not "\x7f" <= char <= "\x9f" or char in "\n\t" else repr(char)[1:-1] for char in text)
    level = record.levelname
    return "%s %s %s" % (when, "%s%s\x1b[0m" % (COLOURS[min(record.levelno // 10, 4) - 1], level) if COLOURS else level, text)


def report_error(line, raised):
    """An exception that the function did not catch, as a record: error trackers listen to these."""
    import logging

    logging.getLogger("asya_runtime").error("%s", line, exc_info=raised)


def report_warning(line, raised):
    """The same for a ValueError, which is the sender's fault."""
    import logging

    logging.getLogger("asya_runtime").warning("%s", line, exc_info=raised)
