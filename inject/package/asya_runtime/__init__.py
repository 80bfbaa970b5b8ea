"""The Asya runtime: serves a Python function over a Unix socket. Start: asya-runtime [--help], or python -m asya_runtime.

As a module it offers what __init__.pyi declares, and starts nothing.
"""
import os
import sys


def _refuse_other_builds():
    """As the single file does, before the image is loaded: pip keeps the wheel from them, but a folder on sys.path is for all."""
    if "t" in sys.abiflags:
        unfit = "free-threaded CPython"
    elif hasattr(sys, "gettotalrefcount"):
        unfit = "debug builds of CPython"
    else:
        return
    why = "asya_runtime: does not support %s; use the ordinary build" % unfit
    if os.path.basename((getattr(sys, "argv", None) or [""])[0]) not in ("-m", "asya-runtime"):
        raise ImportError(why)
    sys.stderr.write(why + "\n")  # it is started, not imported
    sys.exit(78)


_refuse_other_builds()

from . import _asya  # noqa: E402
from ._asya import *  # noqa: E402, F403
from ._asya import __version__  # noqa: E402, F401


def _load_commands():
    from . import _commands

    _commands.START = [sys.executable, "-m", "asya_runtime"]
    return _commands


_asya._commands = _load_commands
