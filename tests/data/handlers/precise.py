"""A module that sets decimal's context when it is imported."""
import decimal

decimal.getcontext().prec = 5


def process(mark):
    found = [decimal.getcontext().prec, str(decimal.Decimal(1) / 3)]
    decimal.getcontext().prec = 2
    return found


async def later(mark):
    return process(mark)
