"""One line of the result: what was measured, in which unit, and what it may be at most."""

import statistics
from collections.abc import Sequence

import msgspec


class Row(msgspec.Struct, frozen=True):
    """A figure beside its budget."""

    what: str
    figure: str
    """Which figure of the samples: median, worst, ..."""
    value: float
    unit: str
    budget: float | None
    samples: int

    @property
    def within(self) -> bool:
        """Whether the budget is kept."""
        return self.budget is None or self.value <= self.budget


def times(what: str, seconds: Sequence[float], budgets: dict[str, float | None]) -> list[Row]:
    """Rows in milliseconds for the figures asked for: median, p99 and worst."""
    ordered = sorted(seconds)
    figures = {
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "worst": ordered[-1],
    }
    return [Row(what, name, 1000 * figures[name], "ms", budget, len(ordered)) for name, budget in budgets.items()]
