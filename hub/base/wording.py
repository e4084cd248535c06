"""Parts of user-facing messages: counts with nouns, the first of many names, and suggestions for misspelled names."""

from collections.abc import Iterable, Sequence
from itertools import islice

MAX_SUGGESTIONS = 3

MAX_COMPARED = 2000
"""A word is compared with only this many names, starting with the first: with the 16,384 devices that a node may have,
comparing all would take seconds."""

MARGIN = 0.02
"""How far, on a scale of 0 to 1, another suggestion may fall below the closest name."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 device" or "3 devices"; for nouns with a plural in s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_of(names: Sequence[str], limit: int, conjunction: str = "and") -> str:
    """Return the first few of many names, and the number of the others: "a, b and 3 more"."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" {conjunction} {more} more" if more > 0 else "")


def shortened(texts: Sequence[str], limit: int, noun: str, detail: str = "") -> Sequence[str]:
    """Return the first few of many texts, and how many others there are: "3 more labels with a problem".

    Args:
        texts: All texts.
        limit: How many of them are kept.
        noun: What each is about; its plural ends in s.
        detail: What follows the noun, whether it is singular or plural.
    """
    more = len(texts) - limit
    return [*texts[:limit], f"{counted(more, f'more {noun}')} {detail}".rstrip()] if more > 0 else texts


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question with the known names that are close to a word, to append to an error; empty if none is."""
    close = close_names(word, known)
    if not close:
        return ""
    *others, last = close
    return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?"


def close_names(word: str, known: Iterable[str], similarity: float = 0.6) -> list[str]:
    """Return the known names that are about as close to a word as the closest one.

    Args:
        word: What was written. Upper and lower case count as the same.
        known: What could have been meant.
        similarity: The minimum similarity of a name, from 0 to 1.
    """
    from difflib import SequenceMatcher, get_close_matches  # noqa: PLC0415 - most processes never need it

    names = {name.lower(): name for name in islice(known, MAX_COMPARED)}
    close = get_close_matches(word.lower(), names, MAX_SUGGESTIONS, similarity)
    ratios = [SequenceMatcher(None, name, word.lower()).ratio() for name in close]
    return [names[name] for name, ratio in zip(close, ratios, strict=True) if ratio >= ratios[0] - MARGIN]
