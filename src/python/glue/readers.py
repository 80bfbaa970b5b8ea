"""How payloads are read: the Readers that python/glue/typed.py puts together for an annotation.

Models and Structs bring a validator of their own. For the rest what dumps() writes is what is read.

No Reader calls another one for a part that may lie as deep as the payload wants: it is a generator that yields the part's
generator, and run() has them on a list. So depth costs no stack. Where all parts of a type can be read by plain calls,
whose depth is that of the annotation, `leaf` does it at once.
"""
import inspect
import re
import sys

MISSING = inspect.Parameter.empty
NOTHING = type(None)
KINDS = frozenset((dict, list, str, int, float, bool, NOTHING))
WIDE = (float, int), (str, int, float)  # what a float and a Decimal are read from
REASON_SIZE = 200
ERRORS_MAX = 10000  # of pydantic's; to list a million takes it 10 s and 700 MB


class Misunderstood(Exception):
    """The annotation is at fault."""


class ValidationError(ValueError):
    """The payload is at fault. `path` grows on the way out. Never has a value of the payload in its text, since that is logged."""

    def __init__(self, text, path=()):
        super().__init__(text)
        self.text, self.path = text, list(path)

    def where(self):
        joined = "".join(part if part[0] == "[" else "." + part for part in _ends(list(map(_shown, reversed(self.path)))))
        return joined[1:] if joined[:1] == "." else joined

    def __str__(self):
        where = self.where()
        return "%s: %s" % (where, self.text) if where else self.text


def _shown(key):
    return key if isinstance(key, str) and key else "[%r]" % (key,)


def _key_shown(key):
    """The key of a dict is the sender's, and may be a person's number or address; what looks like a name helps to find it."""
    return key if re.match(r"[A-Za-z_]\w{0,39}\Z", key, re.ASCII) else "[...]"


def _ends(parts):
    """Of a path that is too long to be read its two ends."""
    return parts if len(parts) < 25 else parts[:8] + ["[%d more]" % (len(parts) - 16)] + parts[-8:]


def _short(text):
    return text if len(text) <= REASON_SIZE else text[:REASON_SIZE] + "..."


def _refuse_type(wanted, value):
    raise ValidationError("%s expected, not %s" % (wanted, "null" if value is None else type(value).__name__))


class Reader:
    """How one type is read.

    takes: the types that a decoded value may have. leaf: value -> what it stands for, where that takes no turn. node: (value,
    memo) -> a generator that returns it. asks: whether it is more than documentation. key: text of an object's key -> the key.
    shape: object -> how well it fits, for unions. values: those of a Literal.
    """
    __slots__ = ("name", "takes", "leaf", "node", "asks", "key", "shape", "values")

    def __init__(self, name, takes=None, leaf=None, node=None, asks=True, key=None, shape=None, values=None):
        self.become(name, takes, leaf, node, asks, key, shape, values)

    def become(self, name, takes, leaf, node, asks, key, shape, values):
        self.name, self.takes, self.leaf, self.node, self.asks = name, takes, leaf, node, asks
        self.key, self.shape, self.values = key, shape, values

    def settle(self, parts):
        """Its parts are known. Those of a class within itself are not, and it keeps its turns."""
        if all(part.leaf is not None for part in parts):
            node = self.node

            def leaf(value):
                try:
                    node(value, None).send(None)
                except StopIteration as end:
                    return end.value

            self.leaf = leaf
        return self


def run(reader, value):
    if reader.leaf is not None:
        return reader.leaf(value)
    memo = {}
    turns, result, error = [reader.node(value, memo)], None, None
    while turns:
        try:
            asked = turns[-1].send(result) if error is None else turns[-1].throw(error)
        except StopIteration as end:
            turns.pop()
            result, error = end.value, None
        except ValidationError as raised:
            turns.pop()
            result, error = None, raised.with_traceback(None)
        else:
            turns.append(asked)
            result = error = None
    if error is not None:
        raise error
    return result


# -- scalars ------------------------------------------------------------------------------------------------------------


def _as_it_is(value):
    return value


def _scalar(kind):
    """JSON's own types; an integer is a float as well, true is no integer."""
    name = "null" if kind is NOTHING else kind.__name__

    def leaf(value):
        if type(value) is not kind:
            _refuse_type(name, value)
        return value

    def leaf_float(value):
        if type(value) is float:
            return value
        if type(value) is not int:
            _refuse_type(name, value)
        try:
            return float(value)
        except OverflowError:
            raise ValidationError("the number is out of range for a float") from None

    is_float = kind is float
    return Reader(name, WIDE[0] if is_float else (kind,), leaf_float if is_float else leaf, asks=False, key=KEYS.get(kind))


def _matched(pattern, make, name):
    def key(text):
        if re.match(pattern, text) is None:
            raise ValidationError("a key that is %s expected" % name)
        try:
            return make(text)
        except ValueError:
            raise ValidationError("a key that is %s expected" % name) from None

    return key


def _finite(text):
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError
    return value


NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z"
KEYS = {str: _as_it_is, int: _matched(r"-?(0|[1-9][0-9]*)\Z", int, "an int"), float: _matched(NUMBER, _finite, "a float"),
        bool: _matched(r"(true|false)\Z", "true".__eq__, "true or false"), NOTHING: _matched(r"null\Z", lambda text: None, "null")}


def _text(name, make, kinds=(str,), is_key=True):
    """What stands in a text, and `make` finds in it, or raises."""

    def leaf(value):
        if type(value) not in kinds:
            _refuse_type(name, value)
        try:
            return make(value)
        except (ValueError, ArithmeticError, OverflowError):
            raise ValidationError("%s expected" % name) from None

    return Reader(name, kinds, leaf, key=leaf if is_key else None)


TIME = r"(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:([Zz])|([-+])(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{6}))?)?)?\Z"
DATE = r"(\d{4})-(\d\d)-(\d\d)"
DURATION = (r"([-+])?P(?=.)(?:(\d+)Y)?(?:(\d+)W)?(?:(\d+)D)?"
            r"(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d{1,9}))?S)?)?\Z")


def _fields(pattern, text):
    found = re.match(pattern, text, re.ASCII)
    if found is None:
        raise ValueError
    return found.groups()


def _micro(fraction):
    return ((fraction or "") + "000000")[:6]


def _time_parts(groups):
    """hour, minute, second, microsecond, and the zone."""
    import datetime

    hour, minute, second, fraction, utc, sign, hours, minutes, seconds, micro = groups
    zone = datetime.timezone.utc if utc else None
    if sign:
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0), microseconds=int(micro or 0))
        zone = datetime.timezone(-offset if sign == "-" else offset)
    return int(hour), int(minute), int(second or 0), int(_micro(fraction)), zone


def _make_datetime(text):
    import datetime

    groups = _fields(DATE + "[Tt ]" + TIME, text)
    return datetime.datetime(*map(int, groups[:3]), *_time_parts(groups[3:]))


def _make_date(text):
    import datetime

    return datetime.date(*map(int, _fields(DATE + r"\Z", text)))


def _make_time(text):
    import datetime

    return datetime.time(*_time_parts(_fields(TIME, text)))


def _make_duration(text):
    import datetime

    sign, *numbers, fraction = _fields(DURATION, text)
    factor = -1 if sign == "-" else 1  # of each part: the least timedelta has no positive counterpart
    years, weeks, days, hours, minutes, seconds, micro = (factor * int(number or 0) for number in (*numbers, _micro(fraction)))
    return datetime.timedelta(days + 365 * years, seconds, micro, 0, minutes, hours, weeks)


DIGITS_64 = bytes(range(65, 91)) + bytes(range(97, 123)) + b"0123456789+/"
END_64 = rb"(?:[A-Za-z0-9+/]{2}(?:==|[A-Za-z0-9+/][A-Za-z0-9+/=]))?\Z"


def _make_bytes(text):
    import binascii

    data = text.encode("ascii")
    if len(data) % 4 or data[:-4].translate(None, DIGITS_64) or re.match(END_64, data[-4:]) is None:
        raise ValueError
    return binascii.a2b_base64(data)


def _make_decimal(value):
    import decimal

    if type(value) is float:
        value = repr(value)  # which is "inf" for 1e999
    if type(value) is str and re.match(r"[-+]?(\d+(\.\d*)?([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|Infinity|s?NaN\d*)\Z", value, re.ASCII) is None:
        raise ValueError
    return decimal.Decimal(value)


def _standard(kind):
    """The Reader of one of the standard library's classes, or None."""
    name = "%s.%s" % (kind.__module__.split(".")[0], kind.__name__)
    if name in TEXTS:
        return _text(*TEXTS[name])
    if name in ("builtins.bytearray", "builtins.memoryview"):
        return _text(kind.__name__, lambda text: kind(_make_bytes(text)), is_key=False)
    if name == "decimal.Decimal":
        reader = _text("Decimal", _make_decimal, WIDE[1])
        reader.key = lambda text: _refuse("a key that is a number expected") if "s" in text else reader.leaf(text)  # sNaN has no hash
        return reader
    if name == "fractions.Fraction":
        return _text("Fraction", lambda value: kind(*map(int, _fields(r"(-?\d+)(?:/(\d+))?\Z", value + "/1" * ("/" not in value)))))
    if name in ("uuid.UUID",) or name.startswith("ipaddress.IP"):
        return _text(kind.__name__, kind)
    if name.startswith("pathlib."):
        try:
            kind("")
        except NotImplementedError:  # a path of another system
            return None
        return _text("path", kind)
    return None


TEXTS = {
    "datetime.datetime": ("datetime", _make_datetime), "datetime.date": ("date", _make_date), "datetime.time": ("time", _make_time),
    "datetime.timedelta": ("duration", _make_duration), "builtins.bytes": ("base64", _make_bytes, (str,), False),
}


def _derived(kind, base):
    """A class made from str, int or float."""
    inner = _scalar(base)

    def leaf(value):
        try:
            return kind(inner.leaf(value))
        except ValidationError:
            raise
        except ValueError as error:
            raise ValidationError(_told(error)) from None

    return Reader(kind.__name__, inner.takes, leaf, key=lambda text: leaf(inner.key(text)))


def _key_of(written):
    return _dumps({written: 0}).decode("utf-8", "surrogatepass")[2:-4] if written.__class__ is not str else written


def _dumps(value):
    import asya_runtime

    return asya_runtime.dumps(value)


def _loads(data):
    import asya_runtime

    return asya_runtime.loads(data)


def _chosen(name, pairs, otherwise=None):
    """One of several: pairs of (what is written for it, what it is)."""
    known, long, keys = {}, [], {}
    for written, one in pairs:
        if type(written) in (dict, list):
            long.append((written, one))
        else:
            known.setdefault((type(written), written), one)
            if type(written) is float and written.is_integer():  # others write 1 for 1.0
                known.setdefault((int, int(written)), one)
            keys.setdefault(_key_of(written), one)
    kinds = {kind for kind, _ in known} | {type(written) for written, _ in long}
    text = "one of %s expected" % _short(", ".join(repr(written) for written, _ in pairs))

    def leaf(value):
        if type(value) in (dict, list):
            for written, one in long:
                if written == value:
                    return one
        else:
            one = known.get((type(value), value), MISSING)
            if one is not MISSING:
                return one
        return otherwise(value, text) if otherwise is not None else _refuse(text)

    def key(one):
        found = keys.get(one, MISSING)
        return found if found is not MISSING else otherwise(one, text) if otherwise is not None else _refuse(text)

    return Reader(name, tuple(kinds), leaf, key=key, values=known)


def _refuse(text):
    raise ValidationError(text)


def _literal(values):
    import enum

    pairs = []
    for value in values:
        written = _loads(_dumps(value.value if isinstance(value, enum.Enum) else value))
        pairs.append((written, value))
    return _chosen("Literal", pairs)


def _enum(kind):
    import enum

    pairs = []
    for member in kind.__members__.values():
        for form in (member.value, member):  # a text of its own may differ from its value, and is what is written
            try:
                pair = _loads(_dumps(form)), member
                pairs += [pair] if pair not in pairs[-1:] else []
            except (TypeError, ValueError):  # it cannot be sent either
                pass

    def missing(value, text):
        try:
            return kind(value)
        except Exception:  # whatever a _missing_ of the user's raises: the value is none of its
            raise ValidationError(text) from None

    own = getattr(kind, "_missing_", None)
    is_plain = getattr(own, "__func__", None) is getattr(enum.Enum._missing_, "__func__", enum.Enum)
    reader = _chosen(kind.__name__, pairs, None if is_plain else missing)
    if issubclass(kind, enum.Flag):
        def flag(value):
            if type(value) is not int:
                _refuse_type(kind.__name__, value)
            return missing(value, "a combination of %s expected" % kind.__name__)

        reader.takes, reader.leaf, reader.key = (int,), flag, lambda text: flag(KEYS[int](text))
    elif not is_plain:
        reader.takes = tuple(KINDS)
    return reader


# -- other libraries' -----------------------------------------------------------------------------------------------------


def _foreign(name, validate, asks_for=KINDS):
    """A validator of a library's. The text of its errors is put together again, without the values in it."""

    def leaf(value):
        try:
            return validate(value)
        except RecursionError:
            raise ValidationError("nested too deep for %s" % name) from None
        except Exception as error:
            text = _told(error)
            if text is None:
                raise
            raise ValidationError(text) from None

    return Reader(name, tuple(asks_for), leaf)


def _told(error):
    """What a library's error says, or None where it is no word about the payload."""
    if callable(getattr(error, "errors", None)):
        try:
            return _pydantic_text(error)
        except Exception:  # another library's, whose errors() are of another kind
            pass
    is_msgspec = type(error).__name__ in ("ValidationError", "DecodeError")
    if not is_msgspec and not isinstance(error, ValueError):
        return None
    try:
        text = str(error) or type(error).__name__
    except Exception:
        return type(error).__name__
    if not is_msgspec:
        return _short(text)
    text = re.sub(r"^(Object contains unknown field )`(.*)`(?= - at `|\Z)", lambda found: found.group(1) + _key_shown(found.group(2)), text, flags=re.S)
    return re.sub(r"^(Invalid (?:enum )?value) .*?(?= - at `|\Z)", r"\1", text, flags=re.S)


def _pydantic_text(error):
    count = getattr(error, "error_count", None)  # not of version 1
    many = count is not None and count() > ERRORS_MAX
    found = [] if many else error.errors(include_url=False) if count is not None else error.errors()
    said = []
    for one in found[:5]:
        text = one["msg"]
        if one.get("type") == "union_tag_invalid":  # it quotes the tag
            text = "Input tag does not match any of the expected tags: %s" % one.get("ctx", {}).get("expected_tags")
        where = ".".join(_ends([_key_shown(part) if isinstance(part, str) else str(part) for part in one["loc"]]))
        said.append(": ".join(filter(None, (where, text))))
    title = getattr(error, "title", "") or getattr(getattr(error, "model", None), "__name__", "-")
    title = "the value" if "-" in title else title  # a name of no class, such as constrained-int
    return "%d validation error%s for %s: %s%s" % (
        count() if many else len(found), "s" * (many or len(found) > 1), title, "; ".join(said), ", ..." * (len(found) > len(said)) or "too many to name them" * many)


def _is_invalid_json(error):
    """It takes less than loads() does: as deep as 200 levels, and no lone surrogates. This error is always alone."""
    return error.error_count() == 1 and error.errors()[0]["type"] == "json_invalid"


def _by_pydantic(name, validator):
    """By the rules it has for JSON: a text is a date there also for a strict model."""

    import asya_runtime

    dumps = asya_runtime.dumps

    def validate(value):
        try:
            data = dumps(value)
        except ValueError:  # a number too large for a double, which loads() takes
            return validator().validate_python(value)
        try:
            return validator().validate_json(data)
        except ValueError as error:
            if not hasattr(error, "error_count") or not _is_invalid_json(error):
                raise
        return validator().validate_python(value)

    try:
        validate(None)
    except Exception as error:  # what its validators say to None; but one that is not complete says so now
        if type(error).__name__.startswith("Pydantic"):
            raise Misunderstood("%s: %s" % (name, _short(str(error).split("\n")[0]))) from None
    return _foreign(name, validate)


def _overrides(kind, method):
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return getattr(getattr(kind, method), "__func__", None) is not getattr(getattr(base, method, None), "__func__", None)


def _model(kind):
    if _overrides(kind, "model_validate_json"):
        return _foreign(kind.__name__, lambda value: kind.model_validate_json(_dumps(value)))
    if _overrides(kind, "model_validate"):
        return _foreign(kind.__name__, kind.model_validate)
    return _by_pydantic(kind.__name__, lambda: kind.__pydantic_validator__)


def _adapted(annotation, name, names=None):
    """`names`: in which it finds those that stand as texts in the annotation; it looks for them where it is called."""
    import pydantic

    names = {**(names or {}), "annotation": annotation, "TypeAdapter": pydantic.TypeAdapter}
    validator = eval("TypeAdapter(annotation)", names).validator
    return _by_pydantic(name, lambda: validator)


def _parsed(kind):
    """A class whose objects pydantic 1 makes and checks, such as those of its conint()."""
    old = [base for base in kind.__mro__ if base.__module__.startswith("pydantic.v1.")]
    module = sys.modules.get("pydantic.v1" if old else "pydantic")
    if not getattr(module, "VERSION", "").startswith("1."):
        return None
    return _foreign(kind.__name__, lambda value: module.parse_obj_as(kind, value))


def _struct(annotation, name):
    import msgspec

    def validate(value):
        return msgspec.convert(value, annotation, str_keys=True)

    try:
        validate(None)
    except msgspec.ValidationError:
        pass
    except Exception as error:  # a field that it cannot read
        raise Misunderstood("%s: %s" % (name, _short(str(error)))) from None
    return _foreign(name, validate)


def _library(annotation):
    """A class that is a library's, or that a library knows how to read; None for others."""
    name = annotation.__name__
    if hasattr(annotation, "model_validate") and hasattr(annotation, "__pydantic_validator__"):
        return _model(annotation)
    if hasattr(annotation, "parse_obj") and hasattr(annotation, "__fields__"):
        return _foreign(name, annotation.parse_obj)
    if hasattr(annotation, "__struct_fields__"):
        return _struct(annotation, name)
    if "__pydantic_validator__" in vars(annotation):
        return _by_pydantic(name, lambda: annotation.__pydantic_validator__)
    if hasattr(annotation, "__get_pydantic_core_schema__") or "__pydantic_config__" in vars(annotation):
        return _adapted(annotation, name)
    return _parsed(annotation) if hasattr(annotation, "__get_validators__") else None


# -- containers -----------------------------------------------------------------------------------------------------------


def _made(make, items, what):
    try:
        return make(items)
    except TypeError:
        raise ValidationError("a member of a %s cannot be a list or an object" % what) from None


def _list(item, make, name):
    hashes = make in (set, frozenset)

    def node(value, memo):
        if type(value) is not list:
            _refuse_type("list", value)
        items, leaf = [], item.leaf
        try:
            if leaf is not None:
                for one in value:
                    items.append(leaf(one))
            else:
                for one in value:
                    items.append((yield item.node(one, memo)))
        except ValidationError as error:
            error.path.append("[%d]" % len(items))
            raise
        return items if make is list else _made(make, items, name) if hashes else make(items)

    return Reader(name, (list,), node=node, asks=make is not list or item.asks).settle([item])


def _row(parts, make, name, required):
    """A list of known length: a tuple, a named tuple."""

    def node(value, memo):
        if type(value) is not list:
            _refuse_type("list", value)
        if not required <= len(value) <= len(parts):
            raise ValidationError("%d items expected, not %d" % (required if len(value) < required else len(parts), len(value)))
        items = []
        try:
            for part, one in zip(parts, value):
                items.append(part.leaf(one) if part.leaf is not None else (yield part.node(one, memo)))
        except ValidationError as error:
            error.path.append("[%d]" % len(items))
            raise
        return make(items)

    return Reader(name, (list,), node=node)


def _mapping(key, item, make, name):
    read_key = key.key

    def node(value, memo):
        if type(value) is not dict:
            _refuse_type("dict", value)
        members, leaf, at = {}, item.leaf, None
        try:
            for at, one in value.items():
                members[read_key(at)] = leaf(one) if leaf is not None else (yield item.node(one, memo))
        except ValidationError as error:
            error.path.append(_key_shown(at))
            raise
        if len(members) < len(value):  # "1" and "1.0": one of the values would be lost
            raise ValidationError("two of its keys are the same")
        return members if make is dict else make(members)

    if read_key is None:
        raise Misunderstood("%s cannot be the key of an object" % key.name)
    return Reader(name, (dict,), node=node, asks=item.asks or read_key is not _as_it_is or make is not dict).settle([item])


def _members(reader, plan, build):
    """An object with these members. plan: (key, name, Reader, required)."""
    keys = frozenset(key for key, _, _, _ in plan)
    tags = [(key, part.values) for key, _, part, _ in plan if part.values is not None]
    required = [key for key, _, _, needed in plan if needed]

    def node(value, memo):
        if type(value) is not dict:
            _refuse_type(reader.name, value)
        members, key = {}, None
        try:
            for key, name, part, needed in plan:
                one = value.get(key, MISSING)
                if one is MISSING:
                    if needed:
                        raise ValidationError("required, but missing")
                    continue
                members[name] = part.leaf(one) if part.leaf is not None else (yield part.node(one, memo))
        except ValidationError as error:
            error.path.append(key)
            raise
        return build(members, value)

    def shape(value):
        """(how many members it does not know, None), or what rules it out: -1 for a tag, -2."""
        for key, values in tags:
            one = value.get(key, MISSING)
            if one is not MISSING and (type(one) in (dict, list) or (type(one), one) not in values):
                return -1, "%s: one of %s expected" % (key, _short(", ".join(repr(known) for _, known in values)))
        for key in required:
            if key not in value:
                return -2, "%s: required, but missing" % key
        return sum(key not in keys for key in value), None

    reader.node, reader.shape = node, shape
    reader.settle([part for _, _, part, _ in plan])


def _by_validator(error):
    """Where, and what was asked for, if a validator of attrs' own raised it: their texts have the value."""
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    names = traceback.tb_frame.f_locals
    if traceback.tb_frame.f_globals.get("__name__") != "attr.validators" or "attr" not in names:
        return (), None
    return [names["attr"].name], "refused by %s" % _short(repr(names.get("self")))


def _constructor(kind, names):
    """Calls the class, and tells the user's refusals from faults of the code."""

    def build(members, value):
        try:
            return kind(**members)
        except ValidationError:
            raise
        except Exception as error:
            path, text = _by_validator(error)
            if text is None and not isinstance(error, ValueError):
                raise
            raise ValidationError(text or _told(error), path) from None

    if inspect.isabstract(kind):
        raise Misunderstood("%s is abstract, and has no objects" % kind.__name__)
    try:
        inspect.signature(kind.__init__).bind(kind, **dict.fromkeys(names))
    except TypeError as error:
        raise Misunderstood("%s cannot be made of its fields (%s)" % (kind.__name__, error))
    return build


# -- unions ---------------------------------------------------------------------------------------------------------------


def _fitting(found, value):
    """Of the members that take an object those that its keys fit best, and what rules out the others."""
    fits, out, by_tag = [], [], True
    for one in found:
        unknown, reason = one.shape(value) if one.shape is not None else (None, None)
        if reason is not None:
            out.append((one, reason))
            by_tag = by_tag and unknown == -1
        else:
            fits.append((one, unknown))
    known = [unknown for _, unknown in fits if unknown is not None]
    return [one for one, unknown in fits if unknown is None or unknown == min(known)], out, by_tag


def _union(parts):
    """The first that fits; but what keeps a number as it is before what does not, and of objects the one that leaves the
    fewest members unread. What was found for a list or an object is kept for the message: another alternative of the type
    around it asks again, and each level would double the work."""
    if any(part.takes is None for part in parts):
        raise Misunderstood("an alias that stands for itself")
    name = " or ".join(part.name for part in parts)
    takers = {kind: [part for part in parts if kind in part.takes] for kind in KINDS}
    for kind in (int, float):
        takers[kind].sort(key=lambda part: part.takes in WIDE and part.takes[0] is not kind)
    takers[NOTHING].sort(key=lambda part: part.takes != (NOTHING,))
    mark = object()

    def fail(reasons, value):
        what = "null" if value is None else type(value).__name__
        raise ValidationError("%s expected, not %s (%s)" % (
            name, what, "; ".join("%s: %s" % (one.name, _short(reason)) for one, reason in reasons[:4])))

    def choose(value, memo):
        found, out, by_tag = takers[type(value)], [], True
        if type(value) is dict:
            found, out, by_tag = _fitting(found, value)
        for one in found:
            try:
                return one.leaf(value) if one.leaf is not None else (yield one.node(value, memo))
            except ValidationError as error:
                if len(found) == 1 and by_tag:
                    raise
                out.append((one, str(error)))
        fail(out, value)

    def node(value, memo):
        found = takers.get(type(value))
        if not found:
            _refuse_type(" or ".join(part.name for part in parts if part.takes != (NOTHING,)), value)
        if len(found) == 1:
            return found[0].leaf(value) if found[0].leaf is not None else (yield found[0].node(value, memo))
        if type(value) is not dict and type(value) is not list:
            return (yield from choose(value, memo))
        place = id(value), mark
        if place not in memo:
            try:
                memo[place] = (yield from choose(value, memo)), None
            except ValidationError as error:
                memo[place] = None, (error.text, tuple(error.path))
        result, failure = memo[place]
        if failure is not None:
            raise ValidationError(*failure)
        return result

    def key(text):
        reasons = []
        for part in sorted(parts, key=lambda part: part.key is _as_it_is):
            try:
                return part.key(text)
            except ValidationError as error:
                reasons.append((part, str(error)))
        fail(reasons, text)

    reader = Reader(name, tuple(kind for kind in KINDS if takers[kind]), node=node, asks=any(part.asks for part in parts))
    reader.key = key if all(part.key is not None for part in parts) else None
    return reader.settle(parts) if max(len(takers[dict]), len(takers[list])) < 2 else reader
