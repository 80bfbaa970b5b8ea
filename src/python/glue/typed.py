"""Payloads by annotation: which callable turns a decoded payload into what the first parameter is annotated with.

Models and Structs bring a validator of their own. For dataclasses and TypedDicts one is put together here, once, from
functions of (value, path): each returns the value it stands for or raises ValueError naming the field.
"""
import collections.abc
import enum
import inspect
import sys
import typing

MISSING = inspect.Parameter.empty


def converter_of(function, inner):
    """None where the annotation asks for nothing, a str that says why it cannot be resolved, or the converter.

    `inner` is the function that carries the annotations. Only that of the first parameter is looked at: others may name
    what exists for type checkers alone (imports under TYPE_CHECKING).
    """
    parameters = [
        parameter for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if not parameters or parameters[0].annotation is MISSING:
        return None
    name = parameters[0].name
    holder = type("holder", (), {"__annotations__": {name: parameters[0].annotation}})
    try:
        annotation = typing.get_type_hints(holder, getattr(inner, "__globals__", {}))[name]
    except Exception as error:
        return "the annotation of '%s' cannot be resolved (%s: %s): payloads are passed as they are" % (
            name, type(error).__name__, error)
    if not _asks(annotation):
        return None
    build = _builder(annotation)
    return lambda payload: build(payload, "")


def _asks(annotation):
    """Whether somewhere in it stands a class that a payload is validated into."""
    return _is_model(annotation) or any(_asks(part) for part in getattr(annotation, "__args__", ()) or ())


def _is_model(annotation):
    return isinstance(annotation, type) and (
        hasattr(annotation, "model_validate") or hasattr(annotation, "parse_obj") or
        hasattr(annotation, "__struct_fields__") or hasattr(annotation, "__dataclass_fields__") or
        _is_typed_dict(annotation))


def _is_typed_dict(annotation):
    return isinstance(annotation, type) and issubclass(annotation, dict) and hasattr(annotation, "__total__")


def _refuse(path, text):
    raise ValueError("%s: %s" % (path or "payload", text))


def _refuse_type(path, wanted, value):
    _refuse(path, "%s expected, not %s" % (wanted, "null" if value is None else type(value).__name__))


def _foreign(validate):
    """A validator of a library's. Its errors name the field; not all of them are ValueErrors."""

    def build(value, path):
        try:
            return validate(value)
        except ValueError as error:
            if not path:
                raise
            _refuse(path, error)
        except Exception as error:
            if type(error).__name__ not in ("ValidationError", "DecodeError"):
                raise
            raise ValueError("%s%s" % (path + ": " if path else "", error)) from None

    return build


def _struct(annotation):
    import msgspec

    return _foreign(lambda value: msgspec.convert(value, annotation))


def _members(build_all, fields, required, annotation):
    """An object with these fields: name -> builder."""

    def build(value, path):
        if not isinstance(value, dict):
            _refuse_type(path, annotation.__name__, value)
        prefix = path + "." if path else ""
        for name in required:
            if name not in value:
                _refuse(prefix + name, "required, but missing")
        return build_all({name: fields[name](value[name], prefix + name) for name in fields if name in value}, value)

    return build


def _dataclass(annotation):
    import dataclasses

    hints = typing.get_type_hints(annotation)
    own = [field for field in dataclasses.fields(annotation) if field.init]
    required = [field.name for field in own
                if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
    fields = _Later(lambda: {field.name: _builder(hints[field.name]) for field in own})
    return _members(lambda members, value: annotation(**members), fields, required, annotation)


def _typed_dict(annotation):
    hints = typing.get_type_hints(annotation)
    required = getattr(annotation, "__required_keys__", hints if annotation.__total__ else ())
    fields = _Later(lambda: {name: _builder(hint) for name, hint in hints.items()})
    return _members(lambda members, value: {**value, **members}, fields, sorted(required), annotation)


class _Later(collections.abc.Mapping):
    """A dict that is made at the first look: a class may refer to itself."""

    def __init__(self, make):
        self._make, self._made = make, None

    def _get(self):
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, key):
        return self._get()[key]

    def __iter__(self):
        return iter(self._get())

    def __len__(self):
        return len(self._get())


def _union(parts):
    builders = [_builder(part) for part in parts]
    names = " or ".join(_name(part) for part in parts)

    def build(value, path):
        errors = []
        for one in builders:
            try:
                return one(value, path)
            except ValueError as error:
                errors.append(error)
        if value is not None and len(parts) == 2 and type(None) in parts:
            raise errors[parts.index(type(None)) - 1]  # Optional[X]: what X says
        _refuse_type(path, names, value)

    return build


def _list(part, make):
    item = _builder(part)

    def build(value, path):
        if not isinstance(value, list):
            _refuse_type(path, "list", value)
        return make(item(member, "%s[%d]" % (path, index)) for index, member in enumerate(value))

    return build


def _mapping(part):
    item = _builder(part)

    def build(value, path):
        if not isinstance(value, dict):
            _refuse_type(path, "dict", value)
        return {key: item(member, "%s.%s" % (path, key) if path else key) for key, member in value.items()}

    return build


def _scalar(annotation):
    """JSON's own types; an integer is a float as well, true is no integer."""
    accepted = (int, float) if annotation is float else annotation

    def build(value, path):
        if not isinstance(value, accepted) or isinstance(value, bool) and annotation is not bool:
            _refuse_type(path, _name(annotation), value)
        return float(value) if annotation is float else value

    return build


def _choice(values):
    def build(value, path):
        if not any(value == one and type(value) is type(one) for one in values):
            _refuse(path, "one of %s expected" % ", ".join(map(repr, values)))
        return value

    return build


def _enum(annotation):
    def build(value, path):
        try:
            return annotation(value)
        except ValueError as error:
            _refuse(path, error)

    return build


def _as_it_is(value, path):
    return value


def _name(annotation):
    return "null" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _generic(origin, arguments):
    if origin is typing.Union or _name(origin) == "UnionType":
        return _union(arguments)
    if _name(origin).endswith("Literal"):
        return _choice(arguments)
    if _name(origin) in ("Required", "NotRequired", "ReadOnly", "Annotated", "Final", "ClassVar"):
        return _builder(arguments[0])
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable, set, frozenset) and arguments:
        return _list(arguments[0], origin if origin in (set, frozenset) else list)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _list(arguments[0], tuple)
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping) and len(arguments) == 2:
        return _mapping(arguments[1])
    return _as_it_is


def _builder(annotation):
    origin, arguments = getattr(annotation, "__origin__", None), getattr(annotation, "__args__", None)
    if origin is None and _name(type(annotation)) == "UnionType":
        origin = typing.Union
    if origin is not None and not isinstance(annotation, type):
        return _generic(origin, tuple(arguments or ()))
    if not isinstance(annotation, type):
        return _as_it_is
    if hasattr(annotation, "model_validate"):
        return _foreign(annotation.model_validate)
    if hasattr(annotation, "parse_obj"):
        return _foreign(annotation.parse_obj)
    if hasattr(annotation, "__struct_fields__"):
        return _struct(annotation)
    if hasattr(annotation, "__dataclass_fields__"):
        validator = getattr(annotation, "__pydantic_validator__", None)
        return _foreign(validator.validate_python) if validator is not None else _dataclass(annotation)
    if _is_typed_dict(annotation):
        return _typed_dict(annotation)
    if issubclass(annotation, enum.Enum):
        return _enum(annotation)
    if annotation in (str, int, float, bool, list, dict, type(None)):
        return _scalar(annotation)
    return _as_it_is
