"""What a reset prints: it goes to the log of the plugin."""

import sys


def say(line: str) -> None:
    """Write a line to the log."""
    sys.stdout.write(f"{line}\n")
