"""Read what KFD and sysfs show."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from hub import read_text, sorted_entries

DIGITS = "[0-9]{1,20}"
"""A number that fits in 64 bits; `isdigit` accepts other digits, which `int` does not."""

_PROPERTY = re.compile(rf"(\w+) ({DIGITS})", re.ASCII)


def properties(path: Path, names: Collection[str]) -> Mapping[str, int]:
    """Read these properties from a file with a name and a number on each line; a missing property is 0.

    Raises:
        hub.UnreadableError: the file cannot be read.
    """
    matches = (_PROPERTY.fullmatch(line.strip()) for line in read_text(path, errors="replace").splitlines())
    found = {match[1]: int(match[2]) for match in matches if match}
    return {name: found.get(name, 0) for name in names}


def entries(directory: Path, pattern: str) -> Iterator[Path]:
    """Return the entries of a directory whose names match a pattern, in natural order."""
    return (path for path in sorted_entries(directory) if re.fullmatch(pattern, path.name))
