"""The Asya runtime: serves a Python function over a Unix socket. Start: asya-runtime [--help], or python -m asya_runtime.

As a module it offers what __init__.pyi declares, and starts nothing.
"""
from . import _asya
from ._asya import *  # noqa: F403
from ._asya import __version__  # noqa: F401


def _load_commands():
    import sys

    from . import _commands

    _commands.START = [sys.executable, "-m", "asya_runtime"]
    return _commands


_asya._commands = _load_commands
