"""`stacks`, `log-level`, `drain`, `undrain` and `recycle`: what a running runtime can be told."""
from . import EXTENSION, FAILED, Refusal, control

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
SAID = {
    "log-level": "the log level is now {level}",
    "drain": "draining: probes fail, messages that come are served; undo with undrain",
    "undrain": "undrained: {status}",
    "recycle": "replacing workers, one after the other: {replacing}; status shows the progress",
}


def run(arguments):
    """The first word is the command."""
    name = arguments[0]
    parser = control.parser(name)
    if name == "log-level":
        parser.add_argument("level", metavar="|".join(LEVELS))
    options = control.parse(parser, arguments[1:])
    level = options.level.upper() if name == "log-level" else ""
    if level and level not in LEVELS:
        raise Refusal("there is no level '%s': %s" % (options.level, ", ".join(LEVELS)))
    code, text = control.ask(options.control, "/" + name, level.encode())
    if name == "stacks" and code == 200:
        print(text, end="")
        return 0
    answer = EXTENSION.loads(text.encode())
    if code != 200:
        raise Refusal(answer.get("message") or answer.get("error"), FAILED)
    print(SAID[name].format(**answer))
    return 0
