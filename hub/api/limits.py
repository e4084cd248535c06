"""Limits on what a configuration file may contain, in either format."""

from math import isfinite
from pathlib import Path

from hub.base.errors import ConfigError

MAX_YAML_BYTES = 128 << 10
"""The largest YAML file: PyYAML takes a second for this much."""

MAX_LEVELS = 50
"""How deeply values may be nested: more than any plugin's settings, and far below Python's recursion limit."""

MAX_VALUES = 100_000
"""How many values a YAML file may have; the values of an alias count each time it is used."""

MAX_CHARACTERS = 1 << 20
"""How many characters the values of a YAML file may have in total; those of an alias count each time it is used."""

_BITS = 64
_DIGITS = 20
"""The most digits that a number of that many bits can have. Python converts at most 4300, and takes longer the more
there are."""


def check_number(number: object) -> None:
    """Check that a number is finite and, if it is a whole number, has at most 64 bits.

    Raises:
        ValueError: it is infinite, not a number, or has more than 64 bits.
    """
    if isinstance(number, float) and not isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    if isinstance(number, int) and not -(1 << _BITS - 1) <= number < (1 << _BITS):
        raise ValueError(_TOO_LARGE)


def read_integer(text: str) -> int:
    """Return a whole number of at most 64 bits.

    Raises:
        ValueError: the text is not a whole number, or the number has more than 64 bits.
    """
    if len(text.lstrip("-0")) > _DIGITS:
        raise ValueError(_TOO_LARGE)
    check_number(number := int(text))
    return number


def read_float(text: str) -> float:
    """Return a finite number.

    Raises:
        ValueError: it is not a number, or is not finite.
    """
    check_number(number := float(text))
    return number


def too_deep(path: Path | str, line: str) -> ConfigError:
    """Return the error for a file whose values are nested too deeply at a line."""
    return ConfigError(path, f"nested more than {MAX_LEVELS} levels deep", where=line)


_TOO_LARGE = f"a whole number has more than {_BITS} bits"
