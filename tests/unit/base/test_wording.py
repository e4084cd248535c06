"""Counts and suggestions in messages."""

import pytest

from hub.base.wording import counted, did_you_mean
from hub.cli.render.text import duration


def test_counts() -> None:
    """One is singular, other numbers are plural."""
    assert [counted(number, "device") for number in range(3)] == ["0 devices", "1 device", "2 devices"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (86400, "1 d"),
        (-5, "0 s"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    """They have at most two units, and units that are zero are omitted, except in "0 s"."""
    assert duration(seconds) == said


def test_suggestions() -> None:
    """The closest name is suggested; several if they are equally close; none if nothing is close."""
    known = ["gpu", "ib", "stub", "stub-1", "stub-2"]
    assert did_you_mean("stbu", known) == "; did you mean stub?"
    assert did_you_mean("GPU", known) == "; did you mean gpu?"
    assert did_you_mean("stub-9", known) in {"; did you mean stub-2 or stub-1?", "; did you mean stub-1 or stub-2?"}
    assert did_you_mean("0000:1b:00.0", known) == ""
    assert did_you_mean("", known) == ""
    assert did_you_mean("stub", []) == ""


def test_a_large_node_makes_no_error_slow() -> None:
    """Only the first names, up to a limit, are compared."""
    names = iter(["stub", *(f"GPU-{number:036x}" for number in range(16_384))])
    assert did_you_mean("stbu", names) == "; did you mean stub?"
    assert len(list(names)) > 14_000
