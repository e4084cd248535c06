"""Read directories and attributes of the node. What is missing or makes no sense is empty, and costs nothing else."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from hub import UnreadableError, read_text

_DIGITS = "[0-9]{1,18}"
"""A number that fits into 64 bits; `isdigit` accepts other digits, which `int` does not."""


def natural(name: str) -> list[str | int]:
    """Return a key by which video2 comes before video10."""
    return [int(part) if number % 2 else part for number, part in enumerate(re.split("([0-9]+)", name))]


def entries(directory: Path) -> Iterator[Path]:
    """Return the entries of a directory in natural order; none if it does not exist or is removed in the meantime."""
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return
    for name in sorted(names, key=natural):
        yield directory / name


def directories(directory: Path) -> list[Path]:
    """Return the directories in a directory, without links to others; none if it does not exist."""
    try:
        with os.scandir(directory) as found:
            return [directory / each.name for each in found if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def target(link: Path) -> Path | None:
    """Follow a link; None if it leads nowhere, or to itself."""
    try:
        return Path(os.path.realpath(link, strict=True))
    except (OSError, ValueError):
        return None


def text(path: Path) -> str:
    """Read an attribute as printable text; empty if it does not exist or cannot be read."""
    try:
        content = read_text(path, errors="replace").strip()
    except UnreadableError:
        return ""
    return "".join(letter if letter.isprintable() else "?" for letter in content)


def number(path: Path) -> int | None:
    """Read a number; None if the kernel shows none, or none of a sensible size."""
    content = text(path)
    return int(content) if re.fullmatch(_DIGITS, content) else None
