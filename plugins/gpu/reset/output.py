"""Output of a reset, which the plugin writes to its log."""

import sys


def say(line: str) -> None:
    """Write a line to the log."""
    sys.stdout.write(f"{line}\n")
