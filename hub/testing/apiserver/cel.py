"""The few CEL expressions about devices that the fake scheduler understands: comparisons for equality, joined by &&."""

import json
import re
from collections.abc import Callable
from typing import Any

from hub.testing.apiserver.kinds import Object

Matches = Callable[[str, Object], bool]
"""Whether an expression is true for a device of a driver."""

_LITERAL = r"(?P<value>\"[^\"]*\"|'[^']*'|true|false|-?\d+)"
_DRIVER = re.compile(rf"device\.driver\s*==\s*{_LITERAL}")
_ATTRIBUTE = re.compile(
    rf"device\.attributes\[(?P<quote>[\"'])(?P<domain>[^\"']+)(?P=quote)\]\.(?P<name>\w+)\s*(?P<operator>==|!=)\s*{_LITERAL}"
)


def parse(expression: str) -> Matches:
    """Return a function that evaluates an expression for a device.

    Raises:
        ValueError: the fake scheduler does not understand the expression; a real one may.
    """
    terms = [_term(term.strip()) for term in expression.split("&&")]
    return lambda driver, device: all(term(driver, device) for term in terms)


def attribute(driver: str, device: Object, name: str) -> tuple[str, Any] | None:
    """Return the type and the value of an attribute whose name has a domain; None if the device does not have it.

    A name without a domain in the device is in the domain of its driver.
    """
    domain, _, short = name.rpartition("/")
    attributes = device.get("attributes") or {}
    found = attributes.get(name) or (attributes.get(short) if domain == driver else None)
    return next(iter(found.items())) if found else None


def _term(text: str) -> Matches:
    if found := _DRIVER.fullmatch(text):
        wanted = _literal(found["value"])
        return lambda driver, _: driver == wanted
    if found := _ATTRIBUTE.fullmatch(text):
        name, equal, wanted = f"{found['domain']}/{found['name']}", found["operator"] == "==", _literal(found["value"])
        return lambda driver, device: _equals(attribute(driver, device, name), wanted, equal=equal)
    raise ValueError(
        f"the fake scheduler does not understand `{text}`, expected `device.driver == VALUE` or "
        '`device.attributes["DOMAIN"].NAME == VALUE`, joined by `&&`'
    )


def _equals(found: tuple[str, Any] | None, wanted: object, *, equal: bool) -> bool:
    # In a real scheduler, an attribute that is missing is an error, which also means that the device does not match.
    return found is not None and (found[1] == wanted) is equal


def _literal(text: str) -> object:
    return json.loads(f'"{text[1:-1]}"' if text[0] == "'" else text)
