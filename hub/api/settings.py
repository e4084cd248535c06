"""Reading settings from YAML and JSON files, with errors that name the file and the place in it."""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hub.base.errors import ConfigError
from hub.base.untrusted import read_config_text
from hub.base.wording import did_you_mean

T = TypeVar("T")

_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`")


def read_settings(path: Path, kind: type[T]) -> T:
    """Read a file as a value of a type. A key without a value counts as missing.

    Raises:
        ConfigError: the file cannot be read, or its content does not fit the type.
    """
    text = read_config_text(path)
    parsed = _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)
    return convert(_without_nulls(parsed), kind, path)


def convert(value: object, kind: type[T], source: Path | str) -> T:
    """Convert a parsed value to a type.

    Raises:
        ConfigError: the value does not fit the type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problem, place = validation_problem(error, kind)
        raise ConfigError(source, problem, where=place) from None


def validation_problem(error: msgspec.ValidationError, kind: type) -> tuple[str, str]:
    """Return what is wrong with a value, with the values or keys that are allowed, and the place in it."""
    from hub.api.choices import allowed_keys, allowed_values  # noqa: PLC0415 - half a megabyte that only an error needs

    problem, _, place = str(error).partition(" - at ")
    place = place.strip("`")
    if problem.startswith("Invalid enum value") and (words := allowed_values(kind, place)):
        problem += f", expected one of {', '.join(words)}"
    if match := _UNKNOWN_KEY.fullmatch(problem):
        problem += did_you_mean(match[1], allowed_keys(kind, place))
    return problem, place.removeprefix("$").removeprefix(".")


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def _parse_json(path: Path, text: str) -> object:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names: dict[str, object] = {}
        for name, value in pairs:
            if name in names:
                raise ConfigError(path, f'duplicate key "{name}"')
            names[name] = value
        return names

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ConfigError(path, f"invalid JSON: {error.msg}", where=f"line {error.lineno}") from None


def _parse_yaml(path: Path, text: str) -> object:
    import yaml  # noqa: PLC0415 - 1 MB that a plugin without a YAML file does not need

    class Loader(yaml.SafeLoader):
        """Rejects duplicate keys; YAML's own loader silently keeps the last one."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - yaml's own
            names = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in names:
                    raise ConfigError(path, f'duplicate key "{key.value}"', where=_line(key.start_mark))
                names.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        raise ConfigError(path, f"invalid YAML: {error.problem}", where=_line(error.problem_mark)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(path, f"invalid YAML: {error}") from None


def _line(mark: Any) -> str:  # noqa: ANN401 - yaml's, which is not loaded here
    return f"line {mark.line + 1}" if mark else ""
