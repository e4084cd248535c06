"""The rules for names and values in objects, with the error texts of an API server."""

import json
import re
from collections.abc import Iterator

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"

_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_IDENTIFIER_WORDS = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters "
    f"or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '{_IDENTIFIER}')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_PART_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def invalid(path: str, found: object, words: str) -> str:
    """Return the error for a value."""
    return f"{path}: Invalid value: {json.dumps(found)}: {words}"


def too_long(path: str, limit: int) -> str:
    """Return the error for a string with too many bytes."""
    return f"{path}: Too long: may not be more than {limit} bytes"


def too_many(path: str, count: int, limit: int) -> str:
    """Return the error for a list with too many items."""
    return f"{path}: Too many: {count}: must have at most {limit} items"


def required(path: str, words: str = "") -> str:
    """Return the error for a value that is missing."""
    return f"{path}: Required value: {words}" if words else f"{path}: Required value"


def label(path: str, name: str) -> Iterator[str]:
    """Yield what is wrong with a DNS label."""
    if len(name) > LABEL_LENGTH:
        yield invalid(path, name, f"must be no more than {LABEL_LENGTH} bytes")
    if not re.fullmatch(_LABEL, name):
        yield invalid(path, name, _LABEL_WORDS)


def subdomain(path: str, name: str) -> Iterator[str]:
    """Yield what is wrong with a DNS subdomain."""
    if len(name) > SUBDOMAIN_LENGTH:
        yield invalid(path, name, f"must be no more than {SUBDOMAIN_LENGTH} bytes")
    if not re.fullmatch(_SUBDOMAIN, name):
        yield invalid(path, name, _SUBDOMAIN_WORDS)


def driver(path: str, name: str) -> Iterator[str]:
    """Yield what is wrong with the name of a driver, which is also the domain of attributes."""
    if not name:
        yield required(path)
        return
    if len(name) > LABEL_LENGTH:
        yield too_long(path, LABEL_LENGTH)
    yield from subdomain(path, name.lower())


def identifier(path: str, name: str, limit: int) -> Iterator[str]:
    """Yield what is wrong with a C identifier."""
    if len(name) > limit:
        yield too_long(path, limit)
    if not re.fullmatch(_IDENTIFIER, name):
        yield invalid(path, name, _IDENTIFIER_WORDS)


def label_key(path: str, name: str) -> Iterator[str]:
    """Yield what is wrong with the key of a label or taint."""
    domain, slash, last = name.rpartition("/")
    if not last:
        yield invalid(path, name, "name part must be non-empty")
    elif len(last) > LABEL_LENGTH:
        yield invalid(path, name, f"name part must be no more than {LABEL_LENGTH} bytes")
    if not re.fullmatch(_QUALIFIED, last):
        yield invalid(path, name, _NAME_PART_WORDS)
    if slash and not re.fullmatch(_SUBDOMAIN, domain):
        yield invalid(path, name, f"prefix part {_SUBDOMAIN_WORDS}")


def label_value(path: str, found: str) -> Iterator[str]:
    """Yield what is wrong with the value of a label or taint."""
    if len(found) > LABEL_LENGTH:
        yield invalid(path, found, f"must be no more than {LABEL_LENGTH} bytes")
    if not re.fullmatch(_LABEL_VALUE, found):
        yield invalid(path, found, _VALUE_WORDS)
