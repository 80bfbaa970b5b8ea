"""Shorter Python for sources that travel compressed: the same code with names of one letter for the variables and
parameters of functions, indented by tabs. It takes 12 % off the streams.

Kept are names that somebody may use from elsewhere: those of modules, classes, functions, attributes; names that are global
anywhere in a source; names that are written as a text, or by which an argument is given, anywhere in the sources. So
where others call functions with arguments by name, keep those names (`public`), or write each as a keyword once.
"""
import ast
import re
import string
import symtable

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = FUNCTIONS + (ast.ClassDef,)


def imported(node):
    return [(alias.asname or alias.name).split(".")[0] for alias in node.names]


def shared(table):
    """Names that are no function's own: of the module and of classes, and what functions take from there."""
    is_function = table.get_type() == "function"
    names = {symbol.get_name() for symbol in table.get_symbols() if not is_function or symbol.is_global()}
    return names.union(*map(shared, table.get_children()))


def spoken(tree):
    """Names by which an argument is given, or that are written as a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


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
    counts, bound, fixed = {}, set(), set(kept)
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


def parameters(tree):
    return {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def shorten(sources, public=()):
    """The texts of modules that belong together, shorter; parameters of those whose indices are `public` stay."""
    trees = [ast.parse(source) for source in sources]
    given = {name for tree in trees for name in spoken(tree)}
    for index, (source, tree) in enumerate(zip(sources, trees)):
        kept = given | shared(symtable.symtable(source, "source", "exec")) | (parameters(tree) if index in public else set())
        for function in functions_of(tree):
            rename(function, kept)
    texts = [ast.unparse(tree).encode("ascii", "backslashreplace").decode() for tree in trees]
    return [re.sub(r"(?m)^(?:    )+", lambda match: "\t" * (len(match.group()) // 4), text) for text in texts]
