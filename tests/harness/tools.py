"""Programs that the set-up installs for tests, where the distribution has them."""

import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
REASONS = BIN.parent / "missing"
"""A file for each program that scripts/tools.sh could not install, with the reason."""


def tool(name: str) -> Path:
    """Return the path of a program, or skip the test with the reason why the set-up does not have it.

    A program that is missing without a reason is an error: a test is never skipped unnoticed.
    """
    # The summary names the test's file as the location of the skip, not this one.
    __tracebackhide__ = True
    reason = REASONS / name
    if reason.exists():
        pytest.skip(f"no {name}: {reason.read_text(encoding='utf-8').strip()}")
    program = BIN / name
    if not program.exists():
        pytest.fail(f"there is no {program}: run `make setup`")
    return program
