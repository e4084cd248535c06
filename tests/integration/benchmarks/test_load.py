"""The node under load. The benchmarks do the same with more devices, and for longer."""

from benchmarks.load import load
from benchmarks.rows import Row


async def test_every_change_reaches_every_client() -> None:
    """While devices change all the time, each of many clients of a plugin sees each change, alone or with others."""
    rows = await load(2, devices=1800, rate=300, streams=9)
    assert _value(rows, "changes that a stream missed") == 0


def _value(rows: list[Row], figure: str) -> float:
    (row,) = (row for row in rows if row.figure == figure)
    return row.value
