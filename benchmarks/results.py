"""The results of a run: a file, and a table that compares them with those of the previous run."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row

WIDTH = 220


class Result(msgspec.Struct, frozen=True):
    """What one benchmark measured."""

    seed: int
    scale: float
    rows: list[Row]


Results = dict[str, Result]
"""Keyed by benchmark."""


def read_results(path: Path) -> Results:
    """Return the last results; none if there is no such file.

    Raises:
        msgspec.DecodeError: the file does not contain results.
    """
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else {}


def write_results(path: Path, results: Results) -> None:
    """Write results to a file; its directory is created if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))


def print_results(now: Results, before: Results) -> None:
    """Print a table of the figures of this run, next to those of the previous run."""
    table = Table()
    for head in ("what", "figure"):
        table.add_column(head, no_wrap=True)
    for head in ("before", "now", "budget", "floor", "ratio before", "ratio now", "at most", "samples", ""):
        table.add_column(head, no_wrap=True, justify="right")
    for name, result in now.items():
        earlier = {(row.what, row.figure): row for row in before[name].rows} if name in before else {}
        for row in result.rows:
            table.add_row(*_cells(row, earlier.get((row.what, row.figure))))
    Console(width=WIDTH).print(table)


def _cells(row: Row, before: Row | None) -> list[str]:
    limited = row.budget is not None or (row.max_ratio is not None and row.ratio is not None)
    return [
        row.what,
        row.figure,
        _number(before.value) if before else "",
        f"{_number(row.value)} {row.unit}",
        _number(row.budget),
        _number(row.floor),
        _number(before.ratio) if before else "",
        _number(row.ratio),
        _number(row.max_ratio),
        str(row.samples),
        ("ok" if row.within else "OVER") if limited else "",
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004 - three digits, without an exponent
