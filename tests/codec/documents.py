"""Values to test the codec with, and how to compare them."""
import json
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")  # slow, and not on CPython's own allocator
many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

surrogates = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, whitelist_categories=["Cs"])
texts = st.text(st.one_of(st.characters(), st.sampled_from('"\\/\b\n\x00\x1f\x7f\x80\xff\u0100\uffff\U00010000'), surrogates))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-2**70, 2**70), st.floats(allow_nan=False, allow_infinity=False), texts)
values = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)), max_leaves=40)


def same(left, right):
    """Equal, and of equal types all the way down; without recursion."""
    pairs = [(left, right)]
    while pairs:
        a, b = pairs.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, dict):
            if list(a) != list(b):
                return False
            pairs += [(a[key], b[key]) for key in a]
        elif isinstance(a, list):
            if len(a) != len(b):
                return False
            pairs += zip(a, b)
        elif repr(a) != repr(b) if isinstance(a, float) else a != b:
            return False
    return True


def compact(value):
    """What dumps is to write: json's text without spaces, in UTF-8, with escapes for surrogates alone."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join("\\u%04x" % ord(c) if "\ud800" <= c <= "\udfff" else c for c in text).encode()
