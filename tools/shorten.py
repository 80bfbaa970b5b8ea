"""Shorter Python for sources that travel compressed: the same code with names of one letter for the variables and
parameters of functions, indented by tabs. It takes 12 % off the stream of the commands.

Kept are names that somebody may use from elsewhere: those of modules, classes, functions, attributes, and of parameters
that are given by name anywhere in these sources. So a parameter that only the standard library gives by name must not
be renamed either: write it as a keyword once, or give it one letter.
"""
import ast
import builtins
import re
import string

import embed

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = FUNCTIONS + (ast.ClassDef,)


def imported(node):
    return [(alias.asname or alias.name).split(".")[0] for alias in node.names]


def names_of_module(tree):
    """What the module's own level names, and the builtins: a function may mean these."""
    names = set(dir(builtins))
    for statement in tree.body:
        for node in [statement] if isinstance(statement, SCOPES) else ast.walk(statement):
            if isinstance(node, SCOPES):
                names.add(node.name)
            elif isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names.update(imported(node))
    return names


def functions_of(tree):
    """Functions of the module and methods of its classes; functions within them are parts of them."""
    for node in tree.body:
        if isinstance(node, FUNCTIONS):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (inner for inner in node.body if isinstance(inner, FUNCTIONS))


def name_of(node):
    """(which attribute of this node is the name of a variable, is it bound here)"""
    if isinstance(node, ast.Name):
        return "id", isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.arg):
        return "arg", True
    if isinstance(node, ast.ExceptHandler) and node.name:
        return "name", True
    return None, False


def rename(function, kept):
    around = function.args.defaults + function.args.kw_defaults + function.decorator_list  # of the scope around it
    counts, bound = {}, set()
    fixed = kept | {node.id for part in around if part for node in ast.walk(part) if isinstance(node, ast.Name)}
    for node in ast.walk(function):
        field, binds = name_of(node)
        if field:
            name = getattr(node, field)
            counts[name] = counts.get(name, 0) + 1
            bound.update([name] if binds else [])
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            fixed.update(node.names)
        elif isinstance(node, SCOPES) and node is not function:
            fixed.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            fixed.update(imported(node))
    names = sorted(bound - fixed, key=lambda name: (-counts[name], name))
    taken = (set(counts) | fixed) - set(names)
    short = dict(zip(names, (letter for letter in string.ascii_letters if letter not in taken)))
    for node in ast.walk(function):
        field, _ = name_of(node)
        if field:
            setattr(node, field, short.get(getattr(node, field), getattr(node, field)))


def shorten(sources):
    """The texts of modules that belong together, shorter."""
    trees = [ast.parse(source) for source in sources]
    given = {node.arg for tree in trees for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    for tree in trees:
        kept = names_of_module(tree) | given
        for function in functions_of(tree):
            rename(function, kept)
    tabs = lambda match: "\t" * (len(match.group()) // 4)
    return [embed.tight(re.sub(r"(?m)^(?:    )+", tabs, ast.unparse(tree))) for tree in trees]
