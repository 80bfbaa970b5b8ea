"""A request that was recorded (ASYA_RECORD_DIR, src/server/record.h), as `call @FILE` sends it again."""
import os

from . import EXTENSION, FAILED, Refusal, say, settings

FUNCTION = ("ASYA_PROCESS_MODULE", "ASYA_HANDLER")
SETTINGS = FUNCTION + ("ASYA_HANDLER_MODE", "ASYA_ENABLE_VALIDATION")
FIELDS = (("id", "X-Request-ID"), ("traceparent", "traceparent"), ("tracestate", "tracestate"))


def is_one(data):
    return data.startswith(b"asya-recorded: ")


def use(head):
    """The settings that it ran under, where the command line does not say otherwise."""
    if not settings.given.intersection(FUNCTION):
        for name in FUNCTION:
            os.environ.pop(name, None)
    elif head.keys() & FUNCTION:
        head = {name: value for name, value in head.items() if name not in FUNCTION}
    for name in SETTINGS:
        if name in head and name not in settings.given:
            os.environ[name] = head[name]


def without_deadline(message):
    """Its caller's deadline has passed long ago: with it the function would not be called."""
    try:
        value = EXTENSION.loads(message)
        del value["status"]["deadline_at"]
    except (ValueError, TypeError, KeyError):
        return message
    say("status.deadline_at is left out")
    return EXTENSION.dumps(value)


def replay(data, protocol):
    """(protocol, message, fields of HTTP's head)"""
    text, _, message = data.partition(b"\n\n")
    head = dict(line.split(": ", 1) for line in text.decode("utf-8", "replace").split("\n") if ": " in line)
    if head.get("size") != str(len(message)) or head.get("protocol") not in ("raw", "framed", "http"):
        raise Refusal("this recording is damaged: its head says %s bytes, and %d follow" % (head.get("size"), len(message)),
                      FAILED)
    if protocol not in (None, head["protocol"]):
        raise Refusal("this message came over %s, and can be sent again only so: leave out --protocol" % head["protocol"])
    use(head)
    if head["protocol"] == "raw":
        return "raw", message, b""
    fields = "".join("%s: %s\r\n" % (name, head[key]) for key, name in FIELDS if key in head)
    return head["protocol"], without_deadline(message), fields.encode("latin-1", "replace")
