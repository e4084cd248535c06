"""Read sysfs attributes."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from hub import UnreadableError, read_text

DIGITS = "[0-9]{1,20}"
"""A number that fits into 64 bits; `isdigit` accepts other digits, which `int` does not."""

_PROPERTY = re.compile(rf"(\w+) ({DIGITS})", re.ASCII)


def attribute(path: Path) -> str:
    """Read an attribute; empty if the kernel does not show it."""
    try:
        return read_text(path, errors="replace").strip()
    except UnreadableError:
        return ""


def number(path: Path) -> int | None:
    """Read a number; None if the kernel shows none."""
    text = attribute(path)
    return int(text) if re.fullmatch(DIGITS, text) else None


def properties(path: Path, names: Collection[str]) -> Mapping[str, int]:
    """Read these properties from a file with a name and a number in each line; one that is missing is 0.

    Raises:
        UnreadableError: the file cannot be read.
    """
    matches = (_PROPERTY.fullmatch(line.strip()) for line in read_text(path, errors="replace").splitlines())
    found = {match[1]: int(match[2]) for match in matches if match}
    return {name: found.get(name, 0) for name in names}


def entries(directory: Path, pattern: str) -> Iterator[Path]:
    """Return the entries of a directory whose names match a pattern, in natural order; none if it does not exist."""
    try:
        names = [path.name for path in directory.iterdir() if re.fullmatch(pattern, path.name)]
    except OSError:
        return
    for name in sorted(names, key=natural):
        yield directory / name


def natural(name: str) -> list[str | int]:
    """Return a key by which card2 comes before card10."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]
