"""Errors in settings use the words of the person who wrote them, not Python's types."""

from typing import Annotated, Literal

import msgspec
import pytest

from hub import Settings, validation_problem


class _Part(Settings, frozen=True):
    name: str
    address: Annotated[str, msgspec.Meta(pattern="^x$", extra={"expected": "an address such as x"})] | None = None


class _Own(Settings, frozen=True):
    names: tuple[str, ...] = ()
    number: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    ratio: Annotated[float, msgspec.Meta(gt=0)] = 1
    on: bool = False
    word: Annotated[str, msgspec.Meta(min_length=1)] = "a"
    pair: Annotated[tuple[int, ...], msgspec.Meta(max_length=1)] = ()
    pattern: Annotated[str, msgspec.Meta(pattern="^[ab]$")] = "a"
    either: int | str = 1
    mode: Literal["a", "b"] = "a"
    env: dict[str, str] = msgspec.field(default_factory=dict)
    parts: tuple[_Part, ...] = ()


PROBLEMS = {
    "a word for a list": ({"names": "x"}, "names", "expected a list, got text: put [ ] around it"),
    "a number for a string": ({"names": [1]}, "names[0]", "expected text, got a whole number: put quotes around it"),
    "a mapping for a string": (
        {"env": {"x": {"path": None}}},
        "env[...]",
        "expected text, got a mapping: put quotes around it",
    ),
    "a number for a key": (
        {"env": {1: "x"}},
        "a key of env",
        "expected text, got a whole number: put quotes around it",
    ),
    "a list for a mapping": ({"env": []}, "env", "expected a mapping, got a list"),
    "a string for a number": ({"ratio": "x"}, "ratio", "expected a number, got text"),
    "a word for a switch": ({"on": "x"}, "on", "expected true or false, got text"),
    "a fraction": ({"number": 1.5}, "number", "expected a whole number, got a decimal number"),
    "nothing": ({"on": None}, "on", "expected true or false, got nothing"),
    "several kinds": ({"either": []}, "either", "expected a whole number or text, got a list"),
    "too few": ({"number": 0}, "number", "expected a whole number that is at least 1"),
    "too many": ({"number": 4}, "number", "expected a whole number that is at most 3"),
    "not more than a bound": ({"ratio": 0}, "ratio", "expected a number that is more than 0"),
    "a long list": ({"pair": [1, 2]}, "pair", "expected a list with at most 1 element"),
    "an empty string": ({"word": ""}, "word", "expected text with at least 1 character"),
    "a string that is described": (
        {"parts": [{"name": "", "address": "y"}]},
        "parts[0].address",
        "an address such as x",
    ),
    "a string that is not": ({"pattern": "c"}, "pattern", "expected text that matches '^[ab]$'"),
    "a key that is missing": ({"parts": [{}]}, "parts[0]", 'the key "name" is missing'),
    "a misspelled key": ({"nams": []}, "", 'unknown key "nams"; did you mean names?'),
    "a misspelled value": ({"mode": "c"}, "mode", "unknown value 'c', expected one of a, b"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_mistake_in_plain_words(name: str) -> None:
    """The error gives the location, what was expected, and what to do about common slips in YAML."""
    value, place, words = PROBLEMS[name]
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, _Own)
    problem, where = validation_problem(raised.value, _Own)
    assert where == place
    assert problem.endswith(words)
    assert "Expected" not in problem
