"""What one message sets and the next must not see: context variables, decimal's precision."""
import asyncio
import contextvars
import decimal

seen = contextvars.ContextVar("seen", default="nothing")
kept = contextvars.ContextVar("kept")
kept.set("by the module")


def look(mark):
    """What is there before, then sets everything."""
    found = [seen.get(), kept.get("nothing"), decimal.getcontext().prec, str(decimal.Decimal(1) / 3)]
    seen.set(mark)
    kept.set(mark)
    decimal.getcontext().prec = 3
    decimal.getcontext().rounding = decimal.ROUND_UP
    return found


def process(mark):
    return look(mark)


def steps(mark):
    """A generator: what it sets at one step it sees at the next."""
    yield look(mark)
    yield look(mark)


async def later(mark):
    found = look(mark)
    await asyncio.sleep(0.01)
    return found + [seen.get()]


async def later_steps(mark):
    yield look(mark)
    await asyncio.sleep(0.01)
    yield look(mark)


def returns_coroutine(mark):
    """The coroutine goes on in the context of the call that made it."""
    found = look(mark)

    async def rest():
        return found + [seen.get()]

    return rest()
