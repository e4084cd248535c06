"""Rows of the result: a measured figure, its unit and its budget."""

import statistics
from collections.abc import Sequence

import msgspec


class Row(msgspec.Struct, frozen=True):
    """A figure and its budget."""

    what: str
    figure: str
    """The figure of the samples: median, worst, ..."""
    value: float
    unit: str
    budget: float | None
    samples: int

    @property
    def within(self) -> bool:
        """Whether the value is within the budget."""
        return self.budget is None or self.value <= self.budget


def times(what: str, seconds: Sequence[float], budgets: dict[str, float | None]) -> list[Row]:
    """Return rows in milliseconds for the requested figures: median, p99 and worst."""
    ordered = sorted(seconds)
    figures = {
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "worst": ordered[-1],
    }
    return [Row(what, name, 1000 * figures[name], "ms", budget, len(ordered)) for name, budget in budgets.items()]
