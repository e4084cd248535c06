"""Creation of odd inputs from valid ones.

A recipe of random bytes decides what is changed. So the fuzzer draws only once for each input, and a shorter
recipe means fewer changes, which is how the fuzzer shortens what it has found.
"""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

TOKENS = (
    *(
        b"\xff",
        b"\0",
        b"\x1b[31m",
        b"\xc2\x9b2J",
        "\u202e\u2028".encode(),
        b"\xed\xa0\x80",
        b"\r\n",
        b"\n\n",
        b"\t",
        b"'",
        b'"',
    ),
    *(
        b"null",
        b"true",
        b"{}",
        b"[]",
        b'""',
        b"NaN",
        b"-1",
        b"0",
        b"1e999",
        b"0x7fffffffffffffff",
        b"9" * 5000,
        b"1" * 25,
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b"{a: " * 300, b"- " * 300, b"x" * 70_000, b"%s%n{0}", b"\\u0000", b"\\ud800"),
    *(
        b"..",
        b"/",
        b"*",
        b"~",
        b"=",
        b":",
        b",",
        b";",
        b"#",
        b"&a [*a, *a]",
        b'!!int ""',
        b"!!timestamp x",
        b"<<: *a",
        b"!!python/name:os",
    ),
    *(
        b"0001-01-01T00:00:00Z",
        b"9999-12-31T23:59:59.999999-23:59",
        "\u0661\u00b2\u00bd".encode(),
        b"nan",
        b"inf",
        b"1_0",
    ),
)
"""What parsers stumble over: broken encodings, control characters, huge numbers, deep nesting, special words."""

VALUES: Sequence[Any] = (
    *(None, True, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\x9b2J",
        "a\nb",
        "\u202e",
        "\ud800",
        "x" * 5000,
        "0001-01-01T00:00:00Z",
        "..",
        "../x",
        "/",
        "/dev/zero",
    ),
    *([], {}, [[]], [{}], {"": ""}, [None], [1, "a"], {"a": {"b": {}}}),
)
"""Odd values in place of a valid one."""


class Choices:
    """A reader of decisions from a recipe; once the recipe is used up, each decision is the first choice.

    Args:
        recipe: Any bytes.
    """

    def __init__(self, recipe: bytes) -> None:
        self._recipe = recipe
        self._used = 0

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        size = 1 if limit <= 256 else 2 if limit <= 65_536 else 3
        number = int.from_bytes(self._recipe[self._used : self._used + size], "big")
        self._used += size
        return number % limit if limit > 0 else 0

    def of(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[self.below(len(choices))]

    def is_left(self) -> bool:
        """Return whether the recipe has more decisions."""
        return self._used < len(self._recipe)


def edited(choices: Choices, valid: bytes, limit: int = 4) -> bytes:
    """Change a few bytes of a valid input."""
    content = valid
    for _ in range(1 + choices.below(limit)):
        content = choices.of(_EDITS)(choices, content)
    return content


def edited_json(choices: Choices, valid: Any) -> bytes:  # noqa: ANN401 - what JSON can be
    """Change a few values of a JSON document, and then perhaps its text."""
    value = copy.deepcopy(valid)
    for _ in range(1 + choices.below(3)):
        value = _changed(choices, value)
    text = json.dumps(value).encode()
    return edited(choices, text, 2) if choices.below(4) == 3 else text


def _changed(choices: Choices, value: Any) -> Any:  # noqa: ANN401 - as above
    """Replace, remove, rename or copy one value somewhere in a document."""
    keys: Sequence[Any] = (
        list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    if not keys or choices.below(6) == 5:
        return copy.deepcopy(choices.of(VALUES))
    key, action = choices.of(keys), choices.below(8)
    if action == 7:
        del value[key]
    elif action == 6 and isinstance(value, dict):
        value[choices.of(("", "\x1b[2J", "x" * 300, "\ud800", "..", "a/b"))] = value.pop(key)
    elif action == 5:
        value[key] = copy.deepcopy(value[choices.of(keys)])
    elif action == 4 and isinstance(value, list):
        value *= 1 + choices.below(50)
    else:
        value[key] = _changed(choices, value[key])
    return value


def odd_text(choices: Choices, valid: Sequence[str]) -> str:
    """Return a valid string, or an odd one that protobuf can still carry."""
    odd = (
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\x9b",
        "\u202e\u2028",
        "x" * 300,
        "a/b",
        "\u0661",
        "%s{0}",
        "\U0010ffff",
    )
    return choices.of(odd if choices.below(3) == 2 else valid)


def _insert(choices: Choices, content: bytes) -> bytes:
    offset = choices.below(len(content) + 1)
    return content[:offset] + choices.of(TOKENS) + content[offset:]


def _overwrite(choices: Choices, content: bytes) -> bytes:
    offset, token = choices.below(len(content) + 1), choices.of(TOKENS)
    return content[:offset] + token + content[offset + len(token) :]


def _flip(choices: Choices, content: bytes) -> bytes:
    offset = choices.below(len(content) or 1)
    return content[:offset] + bytes([choices.below(256)]) + content[offset + 1 :]


def _remove(choices: Choices, content: bytes) -> bytes:
    offset = choices.below(len(content) + 1)
    return content[:offset] + content[offset + 1 + choices.below(40) :]


def _repeat(choices: Choices, content: bytes) -> bytes:
    offset, length = choices.below(len(content) + 1), 1 + choices.below(60)
    return content[:offset] + content[offset : offset + length] * (2 + choices.below(30)) + content[offset + length :]


def _cut(choices: Choices, content: bytes) -> bytes:
    return content[: choices.below(len(content) + 1)]


def _move_line(choices: Choices, content: bytes) -> bytes:
    """Move, copy or remove a line."""
    lines = content.splitlines(keepends=True) or [b""]
    source, target, kept = choices.below(len(lines)), choices.below(len(lines)), choices.below(3)
    line = lines[source] if kept == 0 else lines.pop(source)
    if kept < 2:
        lines.insert(target, line)
    return b"".join(lines)


def _replace_word(choices: Choices, content: bytes) -> bytes:
    """Replace the text between two separators."""
    words = content.split(separator := choices.of((b" ", b"\n", b":", b"=", b",", b'"')))
    words[choices.below(len(words))] = choices.of(TOKENS)
    return separator.join(words)


_EDITS: Sequence[Callable[[Choices, bytes], bytes]] = (
    *(_flip, _insert, _overwrite, _remove, _repeat, _cut, _move_line, _replace_word, _insert, _replace_word),
)
