"""What a settings type allows at a place: the words and the keys, for people who wrote something else there."""

import re
from collections.abc import Iterable, Iterator

from msgspec import inspect

_STEP = re.compile(r"\.([^.\[]+)|\[[^\]]*\]")
"""One step of a place as msgspec writes it, such as "$.configList[1].mode": a key, or an element of something."""


def allowed_values(kind: type, place: str) -> list[str]:
    """The words that a value at a place may be; none where it is no choice of words.

    Args:
        kind: The type of the whole.
        place: Where, as msgspec writes it.
    """
    return [str(word) for each in _found_at(kind, place) for word in _words(each)]


def allowed_keys(kind: type, place: str) -> list[str]:
    """The keys that an object at a place may have; none where no object with keys of its own is expected.

    Args:
        kind: The type of the whole.
        place: Where, as msgspec writes it.
    """
    structs = (each for each in _found_at(kind, place) if isinstance(each, inspect.StructType))
    return [field.encode_name for struct in structs for field in struct.fields]


def _found_at(kind: type, place: str) -> list[inspect.Type]:
    found = list(_alternatives(inspect.type_info(kind)))
    for step in _STEP.finditer(place):
        found = [each for before in found for inner in _inside(before, step[1]) for each in _alternatives(inner)]
    return found


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    yield from kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _inside(kind: inspect.Type, key: str | None) -> Iterator[inspect.Type]:
    """What is at a key of a value of this type, or is an element of it where there is no key."""
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
