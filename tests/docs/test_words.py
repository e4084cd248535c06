"""The project is written in plain English: words that it has retired stay out of code, documentation and manifests."""

from functools import cache

import pytest

from scripts.words import RETIRED, ROOT, Finding, retired_words, text_files

WORD_LISTS = ("scripts/words.py", "tests/docs/test_words.py")
"""The list of retired words, and its test; both have to name the words."""


@cache
def _findings() -> dict[str, list[Finding]]:
    """Return the retired words in each file."""
    names = {str(path.relative_to(ROOT)): path for path in text_files()}
    return {
        name: list(retired_words(path.read_text(encoding="utf-8")))
        for name, path in names.items()
        if not name.startswith(WORD_LISTS)
    }


def test_no_retired_word_is_used() -> None:
    """Each use is reported with its file and line, and with what to write instead."""
    wrong = [f"{name}:{each}" for name, found in _findings().items() for each in found]
    assert not wrong, "\n".join(["retired words:", *wrong])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Whoever mends it, tells it anew.", ["Whoever", "mends", "tells", "anew"]),
        ("told_of = nobody_is(MUTED)", ["told", "nobody", "MUTED"]),
        ("commended, retold, storyteller, immuted, wishbone, elsewhere", []),
    ],
)
def test_retired_words_are_found(text: str, words: list[str]) -> None:
    """Retired words are found in prose and in names, in any case, but not inside other words."""
    assert [finding.word for finding in retired_words(text)] == words


def test_a_finding_says_what_to_write() -> None:
    """A finding has its line; each retired word has a message that says what to write."""
    (finding,) = retired_words("one\n  two was mended\n")
    assert str(finding) == "2: mended: write instead: fix"
    assert finding.text == "two was mended"
    assert all(RETIRED.values())
