"""The node under load, and through a day. The benchmarks do the same with more devices, and for longer."""

import secrets

import pytest

from benchmarks.day import day
from benchmarks.load import load
from benchmarks.rows import Row


async def test_every_change_reaches_every_client() -> None:
    """While devices change all the time, each of a plugin's many clients sees every change, alone or with others."""
    rows = await load(2, devices=1800, rate=300, streams=9)
    assert _value(rows, "changes that a stream missed") == 0


@pytest.mark.timeout(900)
async def test_a_day_leaves_nothing_behind() -> None:
    """After restarts, faults, pods and resets, there are no more open descriptors and no more files than before."""
    seed = secrets.randbelow(2**32)
    rows = await day(0.1, seed, hours=3, settled=2)
    left = {figure: _value(rows, f"growth of {figure}") for figure in ("descriptors", "files")}
    assert {figure: growth for figure, growth in left.items() if growth > 0} == {}, f"seed {seed}"


def _value(rows: list[Row], figure: str) -> float:
    (row,) = (row for row in rows if row.figure == figure)
    return row.value
