"""The values, keys and strings that a settings type allows at a path, for error messages."""

import re
from collections.abc import Iterable, Iterator

from msgspec import inspect

_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")
"""One step of a path as msgspec writes it, such as "$.configList[1].mode": a key, or an element of a list."""


def allowed_values(kind: type, place: str) -> list[str]:
    """Return the values that an enumeration or literal at a path allows; none for other types.

    Args:
        kind: The type of the whole file.
        place: The path, as msgspec writes it.
    """
    return [str(word) for each in _found_at(kind, place) for word in _words(each)]


def allowed_keys(kind: type, place: str) -> list[str]:
    """Return the keys that an object at a path allows; none if no object with fixed keys is expected.

    Args:
        kind: The type of the whole file.
        place: The path, as msgspec writes it.
    """
    structs = (each for each in _found_at(kind, place) if isinstance(each, inspect.StructType))
    return [field.encode_name for struct in structs for field in struct.fields]


def expected_text(kind: type, place: str) -> str:
    """Return what the text at a path must be: `extra={"expected": ...}` of its `msgspec.Meta`; empty if there is none.

    Args:
        kind: The type of the whole file.
        place: The path, as msgspec writes it.
    """
    found = (each for each in _declared_at(kind, place) if isinstance(each, inspect.Metadata))
    return " or ".join(str(each.extra["expected"]) for each in found if each.extra and "expected" in each.extra)


def _found_at(kind: type, place: str) -> list[inspect.Type]:
    return [_without_metadata(each) for each in _declared_at(kind, place)]


def _declared_at(kind: type, place: str) -> list[inspect.Type]:
    found = list(_alternatives(inspect.type_info(kind)))
    for step in _STEP.finditer(place):
        inside = (inner for before in found for inner in _inside(_without_metadata(before), step[1]))
        found = [each for inner in inside for each in _alternatives(inner)]
    return found


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    yield from kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _without_metadata(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _inside(kind: inspect.Type, key: str | None) -> Iterator[inspect.Type]:
    """Yield the types of the value at a key, or of the elements when there is no key."""
    match kind:
        case inspect.StructType(fields=fields):
            yield from (field.type for field in fields if field.encode_name == key)
        case inspect.DictType(value_type=value):
            yield value
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            yield item


def _words(kind: inspect.Type) -> Iterable[object]:
    match kind:
        case inspect.EnumType(cls=cls):
            return [member.value for member in cls]
        case inspect.LiteralType(values=values):
            return values
    return ()
