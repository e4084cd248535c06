"""A rule for all tests of this directory."""

import subprocess
import sys

import pytest


def test_a_test_that_starts_a_process_fails() -> None:
    """The unit tests therefore stay quick, and independent of the machine's load."""
    with pytest.raises(AssertionError, match="move the test to tests/integration"):
        subprocess.run([sys.executable, "-V"], check=True)
