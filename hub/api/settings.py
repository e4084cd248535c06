"""Reading settings from YAML and JSON files, with errors that name the file and the location in it."""

from pathlib import Path
from typing import TypeVar

import msgspec

from hub.api.jsontext import parse_json
from hub.api.mistakes import validation_problem
from hub.base.errors import ConfigError
from hub.base.untrusted import read_config_text

T = TypeVar("T")


def read_settings(path: Path, kind: type[T]) -> T:
    """Read a file as a value of a type. A key without a value counts as missing; a file of only comments has no keys.

    Raises:
        ConfigError: the file cannot be read or is empty, or its content does not fit the type.
    """
    parsed = _parse(path, read_config_text(path))
    _check_text(parsed, path)
    content = {} if parsed is None else _without_nulls(parsed)
    key = getattr(kind, "list_key", "") if isinstance(content, list) else ""
    return convert({key: content} if key else content, kind, path, omit=key)


def parse_yaml(place: Path | str, text: str) -> object:
    """Return the value of a string in YAML or JSON that is part of the settings. Keys without a value are left out.

    Args:
        place: Where it is, for errors.
        text: The text.

    Raises:
        ConfigError: it is not YAML, or exceeds a limit.
    """
    from hub.api import yamltext  # noqa: PLC0415 - 1 MB that a plugin without a YAML file does not need

    parsed = yamltext.parse_yaml(place, text)
    _check_text(parsed, place)
    return _without_nulls(parsed)


def convert(value: object, kind: type[T], source: Path | str, *, omit: str = "") -> T:
    """Convert a parsed value to a type.

    Args:
        value: The value.
        kind: The type.
        source: Where the value is from, for the error.
        omit: The first key, if it is not in the source.

    Raises:
        ConfigError: the value does not fit the type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problem, place = validation_problem(error, kind)
        raise ConfigError(source, problem, where=place.removeprefix(omit)) from None


def _check_text(value: object, path: Path | str) -> None:
    """Reject lone surrogates: JSON and YAML can express them as escapes, but nothing else accepts them."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            raise ConfigError(path, f"has {half}, a lone surrogate, expected Unicode text") from None
    elif isinstance(value, dict | list):
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            _check_text(part, path)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _parse(path: Path, text: str) -> object:
    if path.suffix == ".json":
        return parse_json(path, text)
    from hub.api.yamltext import parse_yaml  # noqa: PLC0415 - 1 MB that a plugin without a YAML file does not need

    return parse_yaml(path, text)
