"""Parses JSON, with an error that names the location of whatever is wrong."""

import json
import re
from pathlib import Path
from typing import NoReturn

from hub.api.limits import MAX_LEVELS, read_float, read_integer, too_deep
from hub.base.errors import ConfigError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{\]}]', re.DOTALL)
"""A string, or a bracket. A string that does not end matches too: if it did not, each quote in it would be tried as the
beginning of another one, which takes hours for a megabyte."""


def parse_json(path: Path, text: str) -> object:
    """Return the value of a JSON text.

    Args:
        path: The file with the text.
        text: The text.

    Raises:
        ConfigError: it is not JSON, has a duplicate key, or exceeds a limit.
    """

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names: dict[str, object] = {}
        for name, value in pairs:
            if name in names:
                raise ConfigError(path, f'duplicate key "{name}"')
            names[name] = value
        return names

    def integer(digits: str) -> int:
        try:
            return read_integer(digits)
        except ValueError as error:
            raise ConfigError(path, f"invalid JSON: {error}", where=_line(text, text.find(digits))) from None

    _check_levels(path, text)
    try:
        return json.loads(
            text, object_pairs_hook=once, parse_int=integer, parse_float=read_float, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        raise ConfigError(path, f"invalid JSON: {error.msg}", where=f"line {error.lineno}") from None
    except ValueError as error:
        raise ConfigError(path, f"invalid JSON: {error}") from None


def _check_levels(path: Path, text: str) -> None:
    """Check how deeply values are nested, before the parser fails because of that."""
    levels = 0
    for token in _TOKEN.finditer(text):
        levels += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if levels > MAX_LEVELS:
            raise too_deep(path, _line(text, token.start()))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _line(text: str, position: int) -> str:
    return f"line {text.count(chr(10), 0, position) + 1}"
