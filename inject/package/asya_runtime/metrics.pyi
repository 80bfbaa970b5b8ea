"""Counters, gauges and histograms of the function's own: GET /metrics shows them, summed over all workers."""
from typing import Iterable

class Metric:
    """One metric, or one of its children by the values of its labels."""

    def inc(self, amount: float = 1, /) -> None:
        """Adds to a counter or a gauge."""
    def dec(self, amount: float = 1, /) -> None:
        """Subtracts from a gauge."""
    def set(self, value: float, /) -> None:
        """The value of a gauge."""
    def observe(self, value: float, /) -> None:
        """Counts a value in a histogram."""
    def labels(self, *values: object, **named: object) -> "Metric":
        """The one with these values of the labels."""
    @property
    def value(self) -> float:
        """Over all workers; of a gauge this worker's; of a histogram the sum."""
    @property
    def count(self) -> int:
        """How many values a histogram has observed."""

def counter(name: str, help: str = "", labels: Iterable[str] = ()) -> Metric:
    """A count that only grows. Its name ends with _total; that is added where it is missing."""

def gauge(name: str, help: str = "", labels: Iterable[str] = (), mode: str = "sum") -> Metric:
    """A value of each worker, shown as one: their "sum", "max", "min", or the "last" that any of them has set."""

def histogram(name: str, help: str = "", labels: Iterable[str] = (), buckets: Iterable[float] = ...) -> Metric:
    """How often values lie below each of some bounds, and their sum."""
