"""Payloads by annotation: which callable turns a decoded payload into what the first parameter is annotated with.

One Reader is made for each class, at the start, with all that its fields hold. Whatever stands in an annotation and is not
known is refused there. Runs where python/glue/readers.py has run, in the same names.
"""
import inspect
import sys
import typing


FORWARDREF = 3  # annotationlib.Format


class Unresolved(Exception):
    """A name in it stands for nothing."""


def _word(form):
    """The name of a special form, whichever module it is of."""
    name = getattr(form, "__name__", None) or getattr(form, "_name", None) or str(form)
    return str(name).rsplit(".", 1)[-1]


def _said(annotation):
    return annotation.__qualname__ if issubclass(type(annotation), type) else _short(str(annotation).replace("typing.", ""))


class Where:
    """In whose words an annotation is written."""

    def __init__(self, names, own=None, bound=None, owner=None):
        self.names, self.own, self.bound, self.owner = names, own or {}, bound or {}, owner

    def resolve(self, text, module=None):
        names = vars(sys.modules[module]) if module in sys.modules else self.names
        try:
            return eval(text, names, self.own)
        except RecursionError:
            raise
        except Exception as error:
            raise Unresolved("%s: %s" % (type(error).__name__, error))


def _own_annotations(kind):
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(kind, format=FORWARDREF)
    if sys.version_info >= (3, 10):
        return getattr(kind, "__annotations__", {})
    return vars(kind).get("__annotations__", {})


def _nested(kind):
    """The classes in it. A field's default is no name for its annotation: `date: Optional[date] = None`."""
    return {name: one for name, one in vars(kind).items() if isinstance(one, type)}


def _is_typed_dict(kind):
    return issubclass(kind, dict) and hasattr(kind, "__total__")


SEQUENCES = {"list": list, "List": list, "Sequence": list, "MutableSequence": list, "Iterable": list, "Collection": list, "Reversible": list,
             "Container": list, "Iterator": iter, "set": set, "Set": set, "AbstractSet": set, "MutableSet": set, "frozenset": frozenset, "deque": None}
MAPPINGS = {"dict": dict, "frozendict": None, "Mapping": dict, "MutableMapping": dict, "OrderedDict": None, "defaultdict": None, "Counter": None}
PYDANTIC = {"pydantic", "pydantic_core", "annotated_types"}
THROUGH = ("Required", "NotRequired", "ReadOnly", "Annotated", "Final")


class Builder:
    """The readers of one annotation: one for each class and what it is bound to."""

    def __init__(self):
        self.known = {}
        self.any = Reader("Any", tuple(KINDS), _as_it_is, asks=False)

    def build(self, annotation, where):
        if annotation is None:
            annotation = NOTHING
        if isinstance(annotation, str):
            return self.build(where.resolve(annotation), where)
        if isinstance(annotation, typing.ForwardRef):
            return self.build(where.resolve(annotation.__forward_arg__, getattr(annotation, "__forward_module__", None)), where)
        if hasattr(annotation, "__metadata__") and hasattr(annotation, "__origin__"):
            return self.annotated(annotation, where)
        if annotation is object or _word(annotation) == "Any":
            return self.any
        if issubclass(type(annotation), typing.TypeVar):  # Unpack of typing_extensions says that it is one
            return self.variable(annotation, where)
        if hasattr(annotation, "__supertype__"):
            return self.build(annotation.__supertype__, where)
        if _word(type(annotation)) == "UnionType":
            return _union([self.build(part, where) for part in annotation.__args__])
        is_class = issubclass(type(annotation), type)
        origin = None if is_class else getattr(annotation, "__origin__", None)
        if origin is not None:
            is_bare = getattr(annotation, "_special", False) or not hasattr(annotation, "__args__")
            return self.generic(annotation, origin, None if is_bare else annotation.__args__, where)
        if _word(type(annotation)) == "TypeAliasType":
            return self.alias(annotation, (), where)
        if _word(type(annotation)) == "InitVar":
            return self.build(annotation.type, where)
        if is_class:
            return self.of_class(annotation, where)
        return self.special(annotation, where)

    def annotated(self, annotation, where):
        """What pydantic or msgspec has said about a type is for it to check. The rest is for people."""
        said = annotation.__metadata__
        packages = {base.__module__.split(".")[0] for one in said for base in type(one).__mro__}
        by_pydantic = packages & PYDANTIC or any(hasattr(one, "__get_pydantic_core_schema__") for one in said)
        if not by_pydantic and "msgspec" not in packages:
            return self.build(annotation.__origin__, where)
        try:
            inner = self.build(annotation.__origin__, where)
        except Misunderstood:  # by us
            inner = Reader(_said(annotation.__origin__), tuple(KINDS))
        if getattr(annotation, "__parameters__", ()):
            raise Misunderstood("%s: a type variable with conditions" % _said(annotation))
        find, names = (_adapted, ({**where.names, **where.own},)) if by_pydantic else (_struct, ())
        reader = self.library(annotation, find, inner.name, *names)
        if not any(type(one).__name__ in ("BeforeValidator", "WrapValidator", "PlainValidator", "Json") for one in said):
            reader.takes = inner.takes
        reader.shape, reader.values = inner.shape, inner.values
        if inner.key is not None:
            check, read_key = reader.leaf, inner.key
            reader.key = lambda text: check(read_key(text))
        return reader

    def special(self, annotation, where):
        if _word(annotation) == "Self" and where.owner is not None:
            return where.owner
        if _word(annotation) == "LiteralString":
            return _scalar(str)
        if _word(annotation) in ("Final", "ReadOnly"):
            return self.any
        raise Misunderstood("%s is nothing a payload can be read into" % _said(annotation))

    def variable(self, variable, where):
        if variable in where.bound:
            return where.bound[variable]
        default = getattr(variable, "__default__", None)
        if default is not None and _word(default) not in ("NoDefault", "NoDefaultType"):
            return self.build(default, where)
        if variable.__constraints__:
            return _union([self.build(part, where) for part in variable.__constraints__])
        return self.build(variable.__bound__, where) if variable.__bound__ is not None else self.any

    def generic(self, annotation, origin, arguments, where):
        word = _word(origin)
        if getattr(annotation, "__unpacked__", False):  # as in tuple[int, *tuple[str, ...]]
            raise Misunderstood("%s is nothing a payload can be read into" % _said(annotation))
        if origin is typing.Union:
            parts = [self.build(part, where) for part in arguments]
            return _union(parts) if len(parts) > 1 else parts[0]
        if word == "Literal":
            return _literal(arguments)
        if word in THROUGH or word == "ClassVar":
            return self.build(arguments[0], where)
        if _word(type(origin)) == "TypeAliasType":
            return self.alias(origin, arguments, where)
        if not isinstance(origin, type):
            raise Misunderstood("%s is nothing a payload can be read into" % _said(annotation))
        return self.container(origin, arguments, where) or self.parameterised(annotation, origin, arguments, where)

    def container(self, origin, arguments, where):
        """A standard container of such parts; None for what is none."""
        if origin.__module__ not in ("builtins", "collections", "collections.abc", "typing"):
            return None
        word = origin.__name__
        if word == "tuple":
            return self.tuple_of(arguments, where)
        parts = [self.any if arguments is None else self.build(part, where) for part in (arguments or ())[:2]] or [self.any]
        if word in SEQUENCES:
            return _list(parts[0], SEQUENCES[word] or origin, word)
        if word == "Counter":
            return _mapping(parts[0] if arguments else _scalar(str), _scalar(int), origin, word)
        if word in MAPPINGS:
            key, item = parts if len(parts) == 2 else (_scalar(str), self.any)
            return _mapping(_scalar(str) if key is self.any else key, item, MAPPINGS[word] or self.maker(origin, arguments), word)
        return None

    def maker(self, origin, arguments):
        if origin.__name__ != "defaultdict":
            return origin
        factory = self.factory(arguments[1]) if arguments else None
        return lambda members: origin(factory, members)

    def factory(self, annotation):
        kind, arguments = getattr(annotation, "__origin__", annotation), getattr(annotation, "__args__", ())
        if getattr(kind, "__name__", "") == "defaultdict":
            inner = self.factory(arguments[1]) if arguments else None
            return lambda: kind(inner)
        return kind if kind in (list, dict, set, int, float, str) else None

    def tuple_of(self, arguments, where):
        if arguments is None:
            return _list(self.any, tuple, "tuple")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _list(self.build(arguments[0], where), tuple, "tuple")
        parts = [self.build(part, where) for part in arguments if part != ()]
        return _row(parts, tuple, "tuple", len(parts)).settle(parts)

    def parameterised(self, annotation, origin, arguments, where):
        if hasattr(origin, "__struct_fields__"):
            return _struct(annotation, origin.__name__)
        if "__pydantic_validator__" in vars(origin):
            return _adapted(annotation, origin.__name__)
        variables = getattr(origin, "__parameters__", ())
        parts = [self.build(part, where) for part in arguments or ()]
        if len(parts) != len(variables) or not self.is_own(origin):
            raise Misunderstood("%s is nothing a payload can be read into" % _said(annotation))
        return self.of_own(origin, dict(zip(variables, parts)), tuple(parts))

    def alias(self, alias, arguments, where):
        parts = tuple(self.build(part, where) for part in arguments)
        if (alias, parts) not in self.known:
            reader = self.known[alias, parts] = Reader(alias.__name__)
            reader.node = lambda value, memo: real.node(value, memo) if real.leaf is None else _at_once(real, value)
            try:
                named = alias.__value__
            except NameError as error:
                raise Unresolved("NameError: %s" % error)
            inside = vars(sys.modules[alias.__module__]) if alias.__module__ in sys.modules else where.names
            real = self.build(named, Where(inside, None, dict(zip(alias.__type_params__, parts)), where.owner))
            if real.takes is None:
                raise Misunderstood("an alias that stands for itself")
            reader.become(*(getattr(real, slot) for slot in Reader.__slots__))
        return self.known[alias, parts]

    @staticmethod
    def is_own(kind):
        return (hasattr(kind, "__dataclass_fields__") or _is_typed_dict(kind) or hasattr(kind, "__attrs_attrs__") or
                issubclass(kind, tuple) and hasattr(kind, "_fields"))

    def of_class(self, kind, where):
        import enum

        if kind in (str, int, float, bool, NOTHING):
            return _scalar(kind)
        reader = self.container(kind, None, where) or _standard(kind) or self.library(kind, _library)
        if reader is not None:
            return reader
        if issubclass(kind, enum.Enum):
            return _enum(kind)
        if self.is_own(kind):
            return self.of_own(kind, {}, ())
        for base in (str, int, float):
            if issubclass(kind, base):
                return _derived(kind, base)
        raise Misunderstood("%s is no class that a payload can be read into" % _said(kind))

    @staticmethod
    def library(annotation, find, *more):
        try:
            return find(annotation, *more)
        except (RecursionError, Misunderstood):
            raise
        except Exception as error:
            raise Misunderstood("%s: %s" % (_said(annotation), _short(str(error).split("\n")[0])))

    def of_own(self, kind, bound, parts):
        """A dataclass, an attrs class, a TypedDict or a NamedTuple, once for each set of types it is bound to."""
        place = kind, parts
        if place not in self.known:
            reader = self.known[place] = Reader(kind.__name__, (list,) if issubclass(kind, tuple) else (dict,))
            hints = self.hints(kind, bound, reader)
            if hasattr(kind, "__dataclass_fields__"):
                self.dataclass(reader, kind, hints)
            elif _is_typed_dict(kind):
                self.typed_dict(reader, kind, hints)
            elif hasattr(kind, "__attrs_attrs__"):
                self.attrs(reader, kind, hints)
            else:
                self.named_tuple(reader, kind, hints)
        return self.known[place]

    def hints(self, kind, bound, reader):
        """name -> (annotation, in whose words). A base's are in its own, also its type variables."""
        found = {}
        for owner, variables in self.owners(kind, bound):
            names = vars(sys.modules[owner.__module__]) if owner.__module__ in sys.modules else {}
            own = {**({"typing": typing} if owner.__module__ == "types" else {}),  # make_dataclass() writes 'typing.Any'
                   **_nested(owner), **{one.__name__: one for one in getattr(owner, "__type_params__", ())}, owner.__name__: owner}
            where = Where(names, own, variables, reader)
            merged = found if _is_typed_dict(owner) else {}  # a TypedDict repeats those of its bases
            found.update((name, (hint, where)) for name, hint in _own_annotations(owner).items()
                         if merged.get(name, (MISSING,))[0] != hint)
        return found

    def owners(self, kind, bound):
        """The classes whose fields it has, the first base first, with what their variables stand for."""
        variables = {kind: bound}
        order = [one for one in kind.__mro__ if one not in (object, dict, tuple)]
        for one in order:
            for base in vars(one).get("__orig_bases__", ()):
                origin, arguments = getattr(base, "__origin__", base), getattr(base, "__args__", ())
                if isinstance(origin, type) and _is_typed_dict(origin) and origin not in order:
                    order.append(origin)  # it is not among its bases
                if not isinstance(origin, type) or not arguments or not getattr(origin, "__parameters__", ()):
                    continue
                names = vars(sys.modules[one.__module__]) if one.__module__ in sys.modules else {}
                where = Where(names, _nested(one), variables.get(one, {}))
                variables[origin] = {name: self.build(part, where) for name, part in zip(origin.__parameters__, arguments)}
        return [(one, variables.get(one, {})) for one in reversed(order)]

    def part(self, kind, hints, name):
        """The Reader of a field."""
        hint, where = hints.get(name, (typing.Any, None))
        try:
            return self.build(hint, where)
        except (Misunderstood, Unresolved) as error:
            unresolved = isinstance(error, Unresolved)
            raise Misunderstood("field '%s' of %s: %s" % (name, _said(kind), "it cannot be resolved (%s)" % error if unresolved else error))

    def dataclass(self, reader, kind, hints):
        import dataclasses

        plan = []
        for field in kind.__dataclass_fields__.values():
            role = _word(getattr(field, "_field_type", ""))
            if not field.init or role == "_FIELD_CLASSVAR":
                continue
            needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            hint, where = hints.get(field.name, (typing.Any, None))
            if role == "_FIELD_INITVAR":
                hints[field.name] = self.init_hint(kind, field, hint, where), where
            plan.append((field.name, field.name, self.part(kind, hints, field.name), needed))
        _members(reader, plan, _constructor(kind, [name for _, name, _, _ in plan]))

    @staticmethod
    def init_hint(kind, field, hint, where):
        try:
            hint = where.resolve(hint) if isinstance(hint, str) else hint
        except Unresolved as error:
            raise Misunderstood("field '%s' of %s: it cannot be resolved (%s)" % (field.name, _said(kind), error))
        return typing.Any if isinstance(hint, type) else hint.type  # 3.7 does not say of what

    def attrs(self, reader, kind, hints):
        plan = []
        for field in kind.__attrs_attrs__:
            if field.init:
                name = getattr(field, "alias", None) or field.name.lstrip("_")
                needed = _word(field.default) == "NOTHING" or repr(field.default) == "NOTHING"
                hints.setdefault(field.name, (field.type or typing.Any, Where({}, None, None, reader)))
                plan.append((field.name, name, self.part(kind, hints, field.name), needed))
        _members(reader, plan, _constructor(kind, [name for _, name, _, _ in plan]))

    def typed_dict(self, reader, kind, hints):
        plan = []
        keys = getattr(kind, "__required_keys__", hints if kind.__total__ else ())
        for name in hints:
            marks = self.marks(kind, *hints[name])
            needed = "Required" in marks or name in keys and "NotRequired" not in marks
            plan.append((name, name, self.part(kind, hints, name), needed))
        closed, extra = getattr(kind, "__closed__", None), _word(getattr(kind, "__extra_items__", "NoExtraItems"))
        if extra not in ("NoExtraItems", "Never", "None"):
            raise Misunderstood("extra_items of %s" % _said(kind))

        def build(members, value):
            for key in value if closed or extra == "Never" else ():
                if key not in hints:
                    raise ValidationError("%s has no such key" % kind.__name__, [_key_shown(key)])
            return {**value, **members}

        _members(reader, plan, build)

    @staticmethod
    def marks(kind, hint, where):
        """Required and NotRequired, also where the annotation was a text that TypedDict itself could not look into."""
        found = set()
        try:
            while True:
                if isinstance(hint, typing.ForwardRef):
                    hint = where.resolve(hint.__forward_arg__, getattr(hint, "__forward_module__", None))
                elif isinstance(hint, str):
                    hint = where.resolve(hint)
                elif hasattr(hint, "__metadata__"):
                    hint = hint.__origin__
                elif _word(getattr(hint, "__origin__", None)) in ("Required", "NotRequired", "ReadOnly"):
                    found.add(_word(hint.__origin__))
                    hint = hint.__args__[0]
                else:
                    return found
        except Unresolved:
            return found  # which is said of the field

    def named_tuple(self, reader, kind, hints):
        parts = [self.part(kind, hints, name) for name in kind._fields]
        defaults = len(getattr(kind, "_field_defaults", None) or getattr(kind, "_fields_defaults", ()))
        row = _row(parts, lambda items: kind(*items), kind.__name__, len(parts) - defaults)
        reader.node = row.node
        reader.settle(parts)


def _at_once(reader, value):
    return reader.leaf(value)
    yield  # a generator, as the others


def _first_parameter(function):
    """That of a function within a decorator's; but if the decorator's has a parameter of that name itself, the payload is meant by
    that name, and those before it are what the decorator gives.

    From 3.14 on annotations are made when they are asked for: those that name what type checkers alone see are ForwardRefs."""
    deferred = {"annotation_format": FORWARDREF} if sys.version_info >= (3, 14) else {}
    own, inner = (inspect.signature(function, follow_wrapped=follow, **deferred).parameters for follow in (False, True))
    found = [one for one in inner.values() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL)]
    named = [one for one in found if one.name == next(iter(own), None)]
    return (named + found + [None])[0]


def converter_of(function, inner):
    """None where the annotation asks for nothing, or the converter; a str that warns: it cannot be resolved; or a tuple of the
    text that refuses it.

    `inner` is the function that carries the annotations. Only that of the first parameter is looked at: others may name
    what exists for type checkers alone (imports under TYPE_CHECKING).
    """
    parameter = _first_parameter(function)
    if parameter is None or parameter.annotation is MISSING:
        return None
    own = {one.__name__: one for one in getattr(inner, "__type_params__", ())}
    try:
        reader = Builder().build(parameter.annotation, Where(getattr(inner, "__globals__", {}), own))
    except Unresolved as error:
        return "the annotation of '%s' cannot be resolved (%s): payloads are passed as they are" % (parameter.name, error)
    except MemoryError:
        raise
    except Exception as error:  # what asking a strange object raises is no reason to trust it
        reason = error if isinstance(error, Misunderstood) else "%s: %s" % (type(error).__name__, error)
        reason = "it refers to itself with ever other types" if isinstance(error, RecursionError) else reason
        return ("the annotation of '%s' is not understood: %s; Any takes it as it is" % (parameter.name, reason),)
    if not reader.asks:
        return None

    def convert(payload):
        try:
            return run(reader, payload)
        except ValidationError as error:
            raise ValidationError("%s: %s" % (error.where() or "payload", error.text)) from None

    return convert
