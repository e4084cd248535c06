"""Words that messages to people share: a count with its noun, and what was probably meant."""

from collections.abc import Iterable
from itertools import islice

MAX_SUGGESTIONS = 3

MAX_COMPARED = 2000
"""Names that a word is compared with, the first ones: a node may have 16,384 devices, which would take seconds."""

MARGIN = 0.02
"""How much less similar than the closest name, of 1, another one may be."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 device", "3 devices". The noun takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known names that are close to a word, to be added to an error; empty where none is.

    Upper and lower case count as the same.
    """
    from difflib import SequenceMatcher, get_close_matches  # noqa: PLC0415 - plugin processes only count

    names = {name.lower(): name for name in islice(known, MAX_COMPARED)}
    close = get_close_matches(word.lower(), names, MAX_SUGGESTIONS)
    if not close:
        return ""
    ratios = {name: SequenceMatcher(None, name, word.lower()).ratio() for name in close}
    *others, last = (names[name] for name in close if ratios[name] >= ratios[close[0]] - MARGIN)
    return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?"
