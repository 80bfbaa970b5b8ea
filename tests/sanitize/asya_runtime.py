"""Stands in for the single file where tests run against an ordinary build of the extension (sanitizers, coverage).

ASYA_EXTENSION names the extension to load.
"""

import importlib.machinery
import importlib.util
import os

_loader = importlib.machinery.ExtensionFileLoader("_asya", os.environ["ASYA_EXTENSION"])
_asya = importlib.util.module_from_spec(importlib.util.spec_from_loader("_asya", _loader))
_loader.exec_module(_asya)
loads, dumps, main, __version__ = _asya.loads, _asya.dumps, _asya.main, _asya.__version__
