"""Rows of the result: a measured figure, its unit, its budget, and its floor."""

import statistics
from collections.abc import Sequence

import msgspec

IDLE, MEMORY, ADMISSION, START = 1.5, 1.25, 1.3, 1.5
"""The maximum ratio of a row to its floor, by what the row measures."""


class Row(msgspec.Struct, frozen=True):
    """A figure, its budget, and its floor."""

    what: str
    figure: str
    """Which figure of the samples it is: median, worst, ..."""
    value: float
    unit: str
    budget: float | None
    samples: int
    floor: float | None = None
    """The same figure of the processes in `benchmarks.bare`, which do only the minimum, in the same run."""
    max_ratio: float | None = None
    """The maximum ratio of the value to the floor."""

    @property
    def ratio(self) -> float | None:
        """The ratio of the value to the floor."""
        return self.value / self.floor if self.floor else None

    @property
    def within(self) -> bool:
        """Whether the value is within the budget, and the ratio as well."""
        return _within(self.value, self.budget) and _within(self.ratio, self.max_ratio)


def _within(value: float | None, limit: float | None) -> bool:
    return value is None or limit is None or value <= limit


def times(
    what: str,
    seconds: Sequence[float],
    budgets: dict[str, float | None],
    floor: Sequence[float] = (),
    max_ratio: float | None = None,
) -> list[Row]:
    """Return rows in milliseconds for the requested figures: median, p99 and worst.

    Args:
        what: What took the time.
        seconds: How long it took each time.
        budgets: The budget of each requested figure.
        floor: How long bare processes took to do the same thing each time.
        max_ratio: Maximum ratio of the median to that of the bare processes; the other figures vary too much by chance.
    """
    least = _figures(floor) if floor else {}
    ratios = {"median": max_ratio}
    return [
        Row(what, name, value, "ms", budgets[name], len(seconds), least.get(name), ratios.get(name))
        for name, value in _figures(seconds).items()
        if name in budgets
    ]


def _figures(seconds: Sequence[float]) -> dict[str, float]:
    """Return the figures in milliseconds."""
    ordered = [1000 * each for each in sorted(seconds)]
    return {
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "worst": ordered[-1],
    }
