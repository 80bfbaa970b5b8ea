"""What stands in a result for objects that the codec does not know by itself: one function for each class, asked for once.

Each gives something simpler, which is written in its place. Models and Structs write themselves, by their own rules for JSON; what
they write is read again, so that it is a part of the result like any other.
"""
import sys

ATTO = 10**18
SCALES = {"W": 604800 * ATTO, "D": 86400 * ATTO, "h": 3600 * ATTO, "m": 60 * ATTO, "s": ATTO, "ms": 10**15, "us": 10**12, "ns": 10**9,
          "ps": 10**6, "fs": 10**3, "as": 1}
NOT_A_TIME = -2**63

default = None  # the function's own hook for the rest


def _loaded(module, name):
    """A class, if its module is; else an empty tuple, which nothing is an instance of."""
    return getattr(sys.modules.get(module), name, ())


def _codec():
    import asya_runtime

    return asya_runtime


def simplified(value):
    """For libraries that meet an object they do not know."""
    return _codec().loads(_codec().dumps(value))


def writer_of(cls):
    """The function that gives what stands for an object of the class, or None."""
    if "__pydantic_serializer__" in vars(cls):
        return _model(cls)
    if hasattr(cls, "__fields_set__") and hasattr(cls, "__config__") and hasattr(cls, "json"):
        return _model_1
    if hasattr(cls, "__struct_fields__"):
        return _struct()
    if cls.__name__ in ("NaTType", "NAType") and cls.__module__.startswith("pandas."):
        return lambda value: None
    if issubclass(cls, _loaded("datetime", "timedelta")):
        return duration
    if issubclass(cls, _loaded("_collections_abc", "Mapping")):
        return lambda value: dict(cls.items(value))
    if issubclass(cls, (_loaded("collections", "deque"), range)):
        return list
    if any(base.__module__ == "ipaddress" for base in cls.__mro__) or issubclass(cls, (_loaded("fractions", "Fraction"), _loaded("pandas", "Period"))):
        return str
    if hasattr(cls, "numpy") and hasattr(cls, "__array__"):
        return lambda value: value.numpy()
    if issubclass(cls, _loaded("datetime", "date")) or issubclass(cls, _loaded("datetime", "time")):
        return None
    return None if hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__") else default


ITERATORS = ("generator", "async_generator", "map", "filter", "zip", "enumerate", "reversed", "dict_keys", "dict_values", "dict_items")


def hint_about(cls):
    """The class's full name, that it cannot be written, and the usual way where there is one."""
    module, name = cls.__module__, cls.__qualname__
    said = ""
    if module == "builtins":
        said = ": await it" if name == "coroutine" else ": make it a list" if name in ITERATORS or name.endswith("iterator") else ""
    elif name == "DataFrame":
        said = ": return its .to_dicts()" if hasattr(cls, "to_dicts") else ": return its .to_dict('records')"
    elif any(base.__module__.split(".")[0] == "PIL" for base in cls.__mro__):
        said = ": save it to an io.BytesIO and return the bytes, which are written as base64"
    elif hasattr(cls, "state_dict"):
        said = ": return what it gives for an input, not the module"
    full = name if module == "builtins" else "%s.%s" % (module, name)
    return "%s cannot be written as JSON%s" % (full, said)


def _model(cls):
    """pydantic 2: by its method for JSON where the class has one of its own, else by what that method calls."""
    base = _loaded("pydantic", "BaseModel")
    if hasattr(cls, "model_dump_json") and cls.model_dump_json is not getattr(base, "model_dump_json", None):
        return lambda value: _codec().loads(value.model_dump_json().encode())
    if hasattr(cls, "model_dump") and cls.model_dump is not getattr(base, "model_dump", None):
        return lambda value: value.model_dump(mode="json")
    serializer, loads = cls.__pydantic_serializer__, _codec().loads

    def write(value):
        data = serializer.to_json(value, fallback=simplified, warnings=False)  # they quote the values, and would be logged
        try:
            return loads(data)
        except ValueError:  # NaN as a number, which ser_json_inf_nan="constants" asks for
            return serializer.to_python(value, mode="json", fallback=simplified, warnings=False)

    return write


def _model_1(value):
    try:
        return _codec().loads(value.json().encode())
    except ValueError:  # NaN
        return value.dict()


def _struct():
    import msgspec

    encode, loads = msgspec.json.Encoder(enc_hook=simplified).encode, _codec().loads
    return lambda value: loads(encode(value))


def _of_atto(total):
    days, rest = divmod(abs(total), 86400 * ATTO)
    seconds, atto = divmod(rest, ATTO)
    fraction = ("." + "%018d" % atto).rstrip("0").rstrip(".")
    day = "%dD" % days if days or not rest else ""
    return "%sP%s%s" % ("-" if total < 0 else "", day, "T%d%sS" % (seconds, fraction) if rest else "")


def duration(value):
    """ISO 8601, as msgspec writes it: days and seconds, no years, whose length nobody knows."""
    return _of_atto((value.days * 86400 + value.seconds) * ATTO + value.microseconds * 10**12 + getattr(value, "nanoseconds", 0) * 10**9)


def _mapped(nested, make):
    return [_mapped(one, make) for one in nested] if isinstance(nested, list) else make(nested)


def _date_text(text):
    """A fraction has six digits, as Python's own, or nine and more where it needs them; none if it is zero."""
    if text == "NaT":
        return None
    head, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return head + ("." + fraction.ljust(6 if len(fraction) < 7 else 9, "0") if fraction else "")


def _times(numpy, array):
    """datetime64 and timedelta64 of any unit."""
    unit, step = numpy.datetime_data(array.dtype)
    if hasattr(array, "filled"):
        array = array.filled(numpy.array("NaT", array.dtype))
    array = array.astype(array.dtype.newbyteorder("="))  # datetime_as_string() takes the bytes of others in the wrong order
    if array.dtype.kind == "M":
        coarse = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s"}.get(unit)
        texts = numpy.datetime_as_string(array.astype("M8[%s]" % coarse) if coarse else array)
        return _mapped(texts.tolist(), _date_text)

    def text(ticks):
        if ticks == NOT_A_TIME:
            return None
        if unit in SCALES:
            return _of_atto(ticks * step * SCALES[unit])
        return "%sP%d%s" % ("-" if ticks < 0 else "", abs(ticks) * step, unit) if unit in ("Y", "M") else ticks

    return _mapped(array.astype("i8").tolist(), text)


def listed(value):
    """An array that is no plain buffer of numbers, or a tensor."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        if value.dtype.kind in "mM":
            return _times(numpy, value)
        if value.dtype.names and any(value.dtype[name].kind in "mMV" for name in value.dtype.names):
            # tolist() makes integers of the times in it
            return [value[name] for name in value.dtype.names] if value.ndim == 0 else list(value)
    elif hasattr(value, "detach") or hasattr(value, "__dlpack__"):
        try:  # the memory of a torch tensor or a jax array
            return value.detach().numpy() if hasattr(value, "detach") else numpy.asarray(value)
        except Exception:  # another device, a type that numpy lacks, a tensor with holes
            pass
    return value.tolist()


def key_of(key):
    """What a key that JSON has not is written as, in a tuple; an empty one for others."""
    for _ in range(8):
        if key is None or isinstance(key, (str, int, float)):
            return (key,)
        if isinstance(key, _loaded("enum", "Enum")):
            key = key.value
        elif isinstance(key, _loaded("numpy", "generic")):
            key = listed(key)
        elif isinstance(key, (_loaded("datetime", "date"), _loaded("datetime", "time"))):
            return (None if type(key).__name__ == "NaTType" else key.isoformat(),)
        elif isinstance(key, _loaded("datetime", "timedelta")):
            return (duration(key),)
        elif any(base.__module__ == "ipaddress" for base in type(key).__mro__) or isinstance(
                key, (_loaded("uuid", "UUID"), _loaded("decimal", "Decimal"), _loaded("pathlib", "PurePath"), _loaded("fractions", "Fraction"),
                      _loaded("pandas", "Period"))):
            return (str(key),)
        else:
            break
    return ()
