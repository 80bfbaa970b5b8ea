"""Handlers under all kinds of names."""
import functools
import os


def process(payload):
    """The name taken when none is given."""
    return ["process", payload]


def price(payload):
    """A function by name."""
    return ["price", payload]


class Till:
    """A class with state: made once, called often."""

    def __init__(self, currency="EUR", *notes, **options):
        self.currency = currency
        self.taken = 0

    def take(self, payload):
        """Adds to what was taken before."""
        self.taken += payload
        return [self.currency, self.taken]

    @classmethod
    def title(cls, payload):
        return [cls.__name__, payload]

    @staticmethod
    def plain(payload):
        return ["plain", payload]


class Demanding:
    """Cannot be made without a parameter."""

    def __init__(self, catalogue, *, region, limit=3):
        self.catalogue, self.region = catalogue, region

    def take(self, payload):
        return payload


class Named:
    """Cannot be made without a parameter given by name."""

    def __init__(self, *notes, region, **options):
        self.region = region

    def take(self, payload):
        return payload


def needs_two(first, second):
    return first, second


class Clumsy:
    """Needs no parameter itself; its constructor makes a mistake."""

    def __init__(self):
        needs_two(1)

    def take(self, payload):
        return payload


class Fragile:
    """Its constructor raises."""

    def __init__(self):
        raise RuntimeError("the drawer is stuck")

    def take(self, payload):
        return payload


class Callable:
    """An object that is called itself."""

    def __call__(self, payload):
        return ["called", payload]


called = Callable()
halved = functools.partial(lambda by, payload: payload / by, 2)
number = 3


def where(payload):
    """Where the handler runs, and what it finds there."""
    umask = os.umask(0)
    os.umask(umask)
    return {"directory": os.getcwd(), "environment": dict(os.environ), "umask": umask}
