"""A check that a plugin's configuration file can set everything that its author intends it to set."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec

from hub.api.plugin import Plugin, Settings
from hub.base.errors import HubError
from hub.base.failures import explain
from hub.base.location import location_of_attribute, location_of_class


def settings_type(kind: type[Plugin]) -> Any:  # noqa: ANN401 - the type that the plugin declares
    """Return the type into which a plugin's configuration file is decoded.

    Raises:
        HubError: the plugin's annotations cannot be read.
    """
    try:
        return get_type_hints(kind).get("settings", Settings)
    except Exception as error:
        location = location_of_class(kind)
        raise HubError(f"{location}: the annotations of {kind.__name__} cannot be read: {explain(error)}") from error


def settings_problems(kind: type[Plugin]) -> Iterator[str]:
    """Yield the definite mistakes in the type of a plugin's settings."""
    assigned = vars(kind).get("settings")
    if isinstance(assigned, type) and "settings" not in kind.__annotations__:
        location, name = location_of_attribute(kind, "settings"), assigned.__name__
        yield f"{location}: settings = {name} does not say what the file is decoded into: write settings: {name}"
        return
    try:
        structs = _structs(settings_type(kind), [])
    except HubError as error:
        yield str(error)
        return
    for struct in structs:
        for name, value in dict(vars(struct)).items():
            if _is_meant_as_setting(struct, name, value):
                location = location_of_attribute(struct, name)
                problem = f"{name} = {value!r} in {struct.__name__} has no annotation, so no file can set it"
                yield f"{location}: {problem}: write {name}: {type(value).__name__} = {value!r}"


def _structs(declared: object, found: list[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    """Return the author's structs that a type consists of."""
    for part in get_args(declared):
        _structs(part, found)
    known = (msgspec.Struct, Settings, *found)
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct) and declared not in known:
        found.append(declared)
        for part in (*declared.__bases__, *(field.type for field in msgspec.structs.fields(declared))):
            _structs(part, found)
    return found


def _is_meant_as_setting(kind: type, name: str, value: object) -> bool:
    """Return whether a value in a class is meant as a setting: it is not private, a constant, a method or a class."""
    is_plain = not (callable(value) or hasattr(value, "__get__") or inspect.ismodule(value))
    return is_plain and not (name.startswith("_") or name.isupper() or name in {*kind.__annotations__, "list_key"})
