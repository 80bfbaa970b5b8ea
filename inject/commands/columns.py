"""Of a CSV file: what the function's annotation makes of a column's text."""
import json
import subprocess
import sys

# In an interpreter of its own: the function's module is none of ours. Whatever goes wrong here, the start of the function
# says it better.
SCRIPT = """
import importlib, inspect, json, sys, typing
module, _, path = sys.argv[1].partition(":")
thing = importlib.import_module(module)
owner = None
for part in (path or "process").split("."):
    owner, thing = thing, getattr(thing, part)
parameters = list(inspect.signature(thing).parameters)
takes_self = inspect.isclass(owner) and inspect.isfunction(thing) and inspect.isfunction(vars(owner).get(part))
function = thing if hasattr(thing, "__code__") or inspect.ismethod(thing) else type(thing).__call__
annotation = typing.get_type_hints(function).get(parameters[takes_self])

def kind(hint):
    if hint in (int, float, bool):
        return hint.__name__
    others = [other for other in getattr(hint, "__args__", None) or () if other is not type(None)]
    return kind(others[0]) + "?" if len(others) == 1 and len(hint.__args__) == 2 and kind(others[0]) else ""

fields = typing.get_type_hints(annotation) if inspect.isclass(annotation) else {}
print("\\n" + json.dumps({name: kind(hint) for name, hint in fields.items()}))
"""
BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
READERS = {"int": int, "float": float, "bool": lambda text: BOOLS[text.strip().lower()]}


def value_of(kind, text):
    """A text that is none of the kind stays one: the annotation refuses it, with the field's name."""
    if kind.endswith("?") and not text:
        return None
    try:
        return READERS[kind.rstrip("?")](text)
    except (ValueError, KeyError):
        return text


def kinds_of(handler):
    """Name of a column -> a function that makes its value out of its text."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT, handler], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=False)
    if ended.returncode:
        return {}
    kinds = json.loads(ended.stdout.decode().splitlines()[-1])
    return {name: lambda text, kind=kind: value_of(kind, text) for name, kind in kinds.items() if kind}
