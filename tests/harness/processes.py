"""The processes that a test has started, however far they are from it."""

from contextlib import suppress
from pathlib import Path


def marked(variable: str, value: str) -> list[int]:
    """The living processes that inherited this variable; zombies have no environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{variable}={value}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found
