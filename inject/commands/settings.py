"""Settings as flags and in groups. Their names, defaults and meanings come from the table in src/base/options.c."""
import difflib
import os

from . import EXTENSION, Refusal

# The groups of --help and of docs/configuration.md, in their order; a setting that is in none of them is an error there.
GROUPS = [
    ("What is served", ["ASYA_PROCESS_MODULE", "ASYA_HANDLER", "ASYA_HANDLER_MODE", "ASYA_HANDLER_ARG_TYPE",
                        "ASYA_ENABLE_VALIDATION", "ASYA_TYPED_PAYLOADS", "ASYA_GENERATION", "ASYA_STATE_PROXY_MOUNTS",
                        "ASYA_STATE_PROXY_DIR"]),
    ("Where, to whom and how", ["ASYA_SOCKET_PATH", "ASYA_SOCKET_DIR", "ASYA_SOCKET_NAME", "ASYA_SOCKET_CHMOD",
                                "ASYA_ALLOWED_UIDS", "ASYA_PROTOCOL", "ASYA_MAX_MESSAGE_SIZE"]),
    ("How much at once", ["ASYA_WORKERS", "ASYA_SPARES", "ASYA_PRELOAD", "ASYA_CONCURRENCY"]),
    ("Deadlines", ["ASYA_READ_TIMEOUT", "ASYA_KEEPALIVE_TIMEOUT", "ASYA_WRITE_TIMEOUT", "ASYA_HANDLER_TIMEOUT",
                   "ASYA_HANDLER_GRACE", "ASYA_STARTUP_TIMEOUT", "ASYA_HEALTHCHECK_INTERVAL", "ASYA_HEALTHCHECK_TIMEOUT",
                   "ASYA_GRACE_PERIOD", "ASYA_CANCEL_ON_DISCONNECT"]),
    ("Memory and renewal", ["ASYA_MEMORY_LIMIT", "ASYA_MAX_RSS", "ASYA_MAX_REQUESTS", "ASYA_MAX_BUFFERED"]),
    ("Looking after it", ["ASYA_CONTROL_PATH", "ASYA_HTTP_ADDR", "ASYA_RECORD_DIR"]),
    ("Log", ["ASYA_LOG_LEVEL", "ASYA_LOG_FORMAT", "ASYA_ACCESS_LOG", "ASYA_CAPTURE_OUTPUT"]),
]


class Setting:
    def __init__(self, name, value, default, meaning, is_switch):
        self.name, self.value, self.default, self.meaning, self.is_switch = name, value, default, meaning, is_switch
        self.flag = "--" + name[5:].lower().replace("_", "-")


def known():
    """All settings, in the order of the table."""
    return [Setting(*row) for row in EXTENSION._options()]


def groups():
    """(title, settings) of each group; what is in none comes last."""
    left = {setting.name: setting for setting in known()}
    found = [(title, [left.pop(name) for name in names if name in left]) for title, names in GROUPS]
    return found + ([("Others", list(left.values()))] if left else [])


def nearest(word, words):
    close = difflib.get_close_matches(word, words, 1, 0.7)
    return ": did you mean %s?" % close[0] if close else ""


given = set()  # names of the settings that came as flags


def put(name, value):
    os.environ[name] = value
    given.add(name)


def take(arguments, own=()):
    """Puts the flags that are settings into the environment, and returns the other arguments. `own` are the flags of the
    command: what begins with -- and is neither is refused here, with the nearest of both."""
    flags = {setting.flag: setting for setting in known()}
    flags["--record"] = flags["--record-dir"]
    rest, left = [], list(arguments)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in own or not word.startswith("--") or word == "--":
            rest.append(word)
        elif name not in flags:
            raise Refusal("unknown argument '%s'%s" % (name, nearest(name, list(own) + list(flags)) or "; see --help"))
        elif equals:
            put(flags[name].name, value)
        elif flags[name].is_switch and (not left or left[0].startswith("-")):
            put(flags[name].name, "true")
        elif left:
            put(flags[name].name, left.pop(0))
        else:
            raise Refusal("%s needs a value: %s" % (name, flags[name].meaning))
    return rest
