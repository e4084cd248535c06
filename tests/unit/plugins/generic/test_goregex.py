"""Regular expressions of the smarter-device-manager mean what they mean in Go."""

import re
import time
import warnings

import pytest

from plugins.generic.settings.goregex import compile_go


@pytest.mark.parametrize(
    ("expression", "matches", "others"),
    [
        (r"^video[0-9]*$", ["video", "video10"], ["video1a", "xvideo"]),
        (r"^video[[:digit:]]+\z", ["video0"], ["video", "videoa"]),
        (r"^[^[:alpha:]]", ["0"], ["a"]),
        (r"^[[x]$", ["[", "x"], ["]"]),
        (r"^[]a]$", ["]", "a"], ["["]),
        (r"^[a\]b]$", ["]", "b"], ["\\"]),
        (r"^\[a", ["[a"], ["a"]),
        (r"^\\z", ["\\z"], ["", "z"]),
        (r"^\d$", ["1"], ["\u0663"]),
    ],
)
def test_they_match(expression: str, matches: list[str], others: list[str]) -> None:
    """A Go expression, once translated, matches the same names as in Go, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pattern = compile_go(expression)
    assert [name for name in matches if not pattern.search(name)] == []
    assert [name for name in others if pattern.search(name)] == []


@pytest.mark.parametrize("expression", ["[", "[[:word:]]", r"\pL", r"\Qa\E", "(?U)a"])
def test_what_is_not_the_same_is_an_error(expression: str) -> None:
    """An expression that Python would read differently, or not at all, is an error, and matches nothing else."""
    with pytest.raises(re.error):
        compile_go(expression)


def test_sets_without_an_end() -> None:
    """An expression with many of them is an error at once: the time does not grow with the square of their number."""
    begin = time.thread_time()
    with pytest.raises(re.error, match="unterminated character set"):
        compile_go("[" * 100_000)
    assert time.thread_time() - begin < 1
