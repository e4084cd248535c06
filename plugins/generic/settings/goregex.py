"""Regular expressions that were written for Go's library, as far as Python's supports the same syntax."""

import re
import warnings
from functools import lru_cache

_DIFFERENT = re.compile(r"(?P<escape>\\.)|\[(?P<begin>\^?\]?)(?P<inside>(\[:\w+:]|\\.|[^]\\])*)(?P<end>]?)", re.DOTALL)
"""Escapes, and sets of characters. The end of a set is optional: otherwise, each bracket without one would cost a
search to the end of the expression."""

_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
"""The character classes that a set can name in Go."""


@lru_cache
def compile_go(expression: str) -> re.Pattern[str]:
    """Compile an expression and cache it, since each scan needs it; as in Go, only ASCII letters and digits count.

    Raises:
        re.error: the expression is invalid, or has no equivalent in Python's library.
    """
    with warnings.catch_warnings():
        # Python warns about syntax that may have a different meaning in a later version.
        warnings.simplefilter("error", FutureWarning)
        try:
            return re.compile(_DIFFERENT.sub(_translated, expression), re.ASCII)
        except FutureWarning as warning:
            raise re.error(str(warning)) from None


def _translated(found: re.Match[str]) -> str:
    if found["escape"]:
        return r"\Z" if found["escape"] == r"\z" else found["escape"]
    if not found["end"]:
        raise re.error(f"unterminated character set: {found[0][:20]}")
    inside = re.sub(r"\[:(\w+):]", _members, found["inside"])
    # Python warns about a bracket inside a set: a later version may give it a meaning.
    plain = re.sub(r"(\\.)|\[", lambda each: each[1] or r"\[", inside)
    return f"[{found['begin']}{plain}]"


def _members(found: re.Match[str]) -> str:
    if found[1] not in _CLASSES:
        raise re.error(f"unknown class {found[0]}")
    return _CLASSES[found[1]]
