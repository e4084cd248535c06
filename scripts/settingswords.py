"""Describe the keys of a configuration file in words, from the types that the file is decoded into."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec
from msgspec import inspect as types

from scripts.docstrings import field_texts

Struct = type[msgspec.Struct]
Place = tuple[str, ...]
"""The keys that lead to a section; "[]" is any item of a list, "NAME" any key."""


class Key(NamedTuple):
    """One key of a section, in words."""

    name: str
    value: str
    default: str
    meaning: str


def sections(kind: Struct) -> Mapping[Struct, list[Place]]:
    """Return the structs of a file, and the locations where each may occur."""
    found: dict[Struct, list[Place]] = {}

    def visit(cls: Struct, place: Place) -> None:
        found.setdefault(cls, []).append(place)
        for field in _fields(cls):
            for inner, below in _structs(field.type):
                visit(inner, (*place, field.encode_name, *below))

    visit(kind, ())
    return found


def keys(cls: Struct) -> list[Key]:
    """Return the keys of a section, without those that only contain sections.

    Raises:
        LookupError: a key has no docstring.
    """
    texts = field_texts(sys.modules[cls.__module__]).get(cls.__name__, {})
    found = []
    for field in _fields(cls):
        meaning = texts.get(field.name, "")
        if meaning:
            members = "".join(f" {word}" for word in _members(field.type))
            found.append(Key(field.encode_name, _value(field.type), _default(field), meaning + members))
        elif not any(isinstance(option, types.StructType) for option in _options(field.type)):
            raise LookupError(f"{cls.__module__}.{cls.__name__}.{field.name} has no docstring: say what it means")
    return found


def either(words: Sequence[str]) -> str:
    """Join alternatives by commas and "or"."""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _fields(cls: Struct) -> tuple[types.Field, ...]:
    info = types.type_info(cls)
    return info.fields if isinstance(info, types.StructType) else ()


def _options(kind: types.Type) -> tuple[types.Type, ...]:
    return kind.types if isinstance(kind, types.UnionType) else (kind,)


def _structs(kind: types.Type) -> Iterator[tuple[Struct, Place]]:
    """Yield the structs in a type, with the location of each in it."""
    match kind:
        case types.StructType(cls=cls):
            yield cls, ()
        case types.VarTupleType(item_type=item):
            yield from ((cls, ("[]", *place)) for cls, place in _structs(item))
        case types.DictType(value_type=value):
            yield from ((cls, ("NAME", *place)) for cls, place in _structs(value))
        case types.UnionType(types=options):
            for option in options:
                yield from _structs(option)


def _value(kind: types.Type, plural: str = "") -> str:
    """Describe the values that a key takes."""
    options = [option for option in _options(kind) if not isinstance(option, types.NoneType)]
    return either([word for option in options for word in _words(option, options, plural)])


def _words(kind: types.Type, alternatives: Sequence[types.Type], plural: str) -> Sequence[str]:
    """Return the words for one alternative of a key."""
    match kind:
        case types.VarTupleType(item_type=item):
            return ["a list of them" if item in alternatives else f"list of {_value(item, 's')}"]
        case types.DictType(value_type=value):
            return [f"map{plural} of names to {_value(value, 's')}"]
        case types.StructType():
            return [f"section{plural}"]
        case types.Metadata(type=types.StrType(), extra={"expected": expected}):
            return [f"string{plural} ({expected})"]
        case types.AnyType():
            return ["any value"]
    return _scalar(kind, plural)


def _scalar(kind: types.Type, plural: str) -> Sequence[str]:
    match kind:
        case types.BoolType():
            return ["`true`", "`false`"]
        case types.StrType():
            return [f"string{plural}"]
        case types.IntType():
            return [f"integer{plural}{_bound(kind)}"]
        case types.FloatType():
            return [f"number{plural}{_bound(kind)}"]
        case types.EnumType(cls=cls):
            return [f"`{member.value}`" for member in cls]
        case types.LiteralType(values=values):
            return [f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in values]
    raise TypeError(f"no words for {kind}")


def _bound(kind: types.IntType | types.FloatType) -> str:
    if kind.gt is not None:
        return f" > {_number(kind.gt)}"
    most = f" <= {_number(kind.le)}" if kind.le is not None else ""
    return f" >= {_number(kind.ge)}{' and' if most else ''}{most}" if kind.ge is not None else most


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _default(field: types.Field) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None or value == "":
        return ""
    plain = _plain(value)
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def _plain(value: object) -> object:
    """Return a value as a file would contain it, without defaults."""
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: _plain(mine)
            for field in _fields(type(value))
            if (mine := getattr(value, field.name)) != field.default
        }
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value.value if isinstance(value, Enum) else value


def _members(kind: types.Type) -> Iterator[str]:
    """Yield the meaning of each word that is a value of a key."""
    match kind:
        case types.EnumType(cls=cls):
            texts = field_texts(sys.modules[cls.__module__])[cls.__name__]
            yield from (f"`{member.value}`: {_begun(texts[member.name])}" for member in cls if member.name in texts)
        case types.VarTupleType(item_type=inner) | types.DictType(value_type=inner):
            yield from _members(inner)
        case types.UnionType(types=options):
            yield from dict.fromkeys(word for option in options for word in _members(option))


def _begun(text: str) -> str:
    """Return a sentence for use after a colon: with a lower-case first letter, unless the first word is in capitals."""
    word = text.split(maxsplit=1)[0]
    return text if len(word) > 1 and word.isupper() else text[0].lower() + text[1:]
