"""The commands of the runtime that are written in Python, with the standard library of CPython 3.7 alone.

NAME.py has run(arguments), which returns the exit code. src/app/commands.c calls main() here; the single file carries
these sources without their comments (tools/bundle.py), the wheel as asya_runtime._commands.
"""
import importlib
import os
import sys

EXTENSION = None  # the module _asya, in C
START = []  # the words that start this program, set by whoever has loaded this package
FAILED, OPTION, INTERRUPTED = 1, 64, 130
VERBS = ("stacks", "log-level", "drain", "undrain", "recycle")  # one module has them all


class Refusal(Exception):
    """A command cannot do what it was asked to: one line that says what to do, and the exit code."""

    def __init__(self, text, code=OPTION):
        Exception.__init__(self, text)
        self.code = code


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def load(name):
    """A module of this package."""
    return importlib.import_module("." + name, __name__)


def main(extension, name, program, arguments):
    global EXTENSION
    EXTENSION = extension
    module, words = ("verbs", [name] + arguments) if name in VERBS else (name, arguments)
    try:
        return load(module).run(words) or 0
    except Refusal as refusal:
        say("asya_runtime %s: %s" % (name, refusal))
        return refusal.code
    except ModuleNotFoundError as error:
        if error.name != "%s.%s" % (__name__, module):
            raise
        say("asya_runtime %s: this file comes from a ConfigMap, which leaves this command out: use the whole file" % name)
        return OPTION
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has ended; Python would complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except OSError as error:
        say("asya_runtime %s: %s" % (name, reason_of(error)))
        return FAILED


def reason_of(error):
    """What the system says, with the file that it is about."""
    return "%s: %s" % (error.filename, error.strerror) if error.filename else error.strerror or str(error)
