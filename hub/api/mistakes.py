"""What is wrong with a value in settings, in words for the person who wrote it.

msgspec names Python types and regular expressions, which mean little to a person who writes YAML.
"""

import re

import msgspec

from hub.base.wording import counted, did_you_mean

_PLACE, _KEY_IN = " - at ", "`key` in "

_KINDS = {
    "array": "a list",
    "object": "a mapping",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
}
"""Words for the types."""

_UNITS = {"array": "element", "object": "key", "str": "character"}
"""What the length of a value counts."""

_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_KEY = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN_VALUE = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_EXPECTED = re.compile(
    r"Expected `(?P<kinds>[a-z |]+)`"
    r"(?:, got `(?P<got>[a-z]+)`"
    r"|(?P<length> of length)? (?P<bound>[<>]=?) (?P<number>[-0-9.]+)"
    r"|(?P<pattern> matching regex .*))?",
    re.DOTALL,
)


def validation_problem(error: msgspec.ValidationError, kind: type) -> tuple[str, str]:
    """Return what is wrong with a value, with the values or keys that are allowed, and its location."""
    from hub.api.choices import (  # noqa: PLC0415 - half a megabyte that only an error needs
        allowed_keys,
        allowed_values,
        expected_text,
    )

    problem, _, place = str(error).partition(_PLACE)
    # The key of a map is at "`key` in `$.env`".
    is_key = place.startswith(_KEY_IN)
    place = place.removeprefix(_KEY_IN).strip("`")
    if match := _UNKNOWN_VALUE.fullmatch(problem):
        problem = f"unknown value {match[1]}"
        if words := allowed_values(kind, place):
            problem += f", expected one of {', '.join(words)}"
    elif match := _UNKNOWN_KEY.fullmatch(problem):
        problem = f'unknown key "{match[1]}"{did_you_mean(match[1], allowed_keys(kind, place))}'
    elif match := _MISSING_KEY.fullmatch(problem):
        problem = f'the key "{match[1]}" is missing'
    elif match := _EXPECTED.fullmatch(problem):
        problem = _expectation(match, expected_text(kind, place) if match["pattern"] else "")
    place = place.removeprefix("$").removeprefix(".")
    return problem, f"a key of {place}" if is_key else place


def _expectation(match: re.Match[str], text: str) -> str:
    """Return what was expected.

    Args:
        match: The parts of msgspec's message.
        text: What the settings say that a string must be; empty if they say nothing.
    """
    kinds = match["kinds"].split(" | ")
    expected = text or " or ".join(_KINDS.get(each, each) for each in kinds if each != "null")
    if match["got"]:
        got = "a decimal number" if match["got"] == "float" else _KINDS.get(match["got"], match["got"])
        return f"expected {expected}, got {got}{_remedy(kinds, match['got'])}"
    if match["bound"]:
        number = match["number"].removesuffix(".0")
        amount = counted(int(number), _UNITS.get(kinds[0], "element")) if match["length"] else number
        return f"expected {expected}{' with' if match['length'] else ' that is'} {_BOUNDS[match['bound']]} {amount}"
    if match["pattern"] and not text:
        return f"expected text{match['pattern'].replace('matching regex', 'that matches')}"
    return f"expected {expected}"


def _remedy(kinds: list[str], got: str) -> str:
    """Say what to do about the usual slips in YAML."""
    if kinds[0] == "array" and got in {"str", "int", "float"}:
        return ": put [ ] around it"
    if kinds[0] == "str" and got in {"int", "float", "bool", "object"}:
        return ": put quotes around it"
    return ""
