"""The decision records have one form, and refer to code that exists."""

import re

import pytest

from tests.docs.pages import ROOT, Page

INDEX = Page("docs/decisions/README.md")
RECORDS = [Page(str(path.relative_to(ROOT))) for path in sorted(INDEX.path.parent.glob("*.md")) if path != INDEX.path]
SECTIONS = ["Status", "Context", "Decision", "Consequences", "Alternatives rejected"]
STATUS = re.compile(r"(Proposed|Accepted|Superseded by \[\d+\. [^]]+\]\([^)]+\))\.")
WORDS = 450
"""The number of words that can be read in two minutes."""


def test_the_index_has_each_record() -> None:
    """It lists them with their titles, sorted by number; a record's file name begins with its number."""
    rows = [re.fullmatch(r"\[(.+)\]\((.+)\)", cells[0]) for cells in INDEX.table("record")]
    listed = [(row[1], f"docs/decisions/{row[2]}") for row in rows if row]
    assert listed == [(page.text.partition("\n")[0].removeprefix("# "), page.name) for page in RECORDS]
    assert [page.path.name[:4] for page in RECORDS] == [f"{number + 1:04}" for number in range(len(RECORDS))]
    assert all(title.startswith(f"{number + 1}. ") for number, (title, _) in enumerate(listed))


@pytest.mark.parametrize("page", RECORDS, ids=lambda page: page.path.stem)
def test_records_have_one_form(page: Page) -> None:
    """Records have the same sections and a valid status, and are short enough to be read at once."""
    assert re.findall("^## (.+)$", page.text, re.MULTILINE) == SECTIONS
    assert STATUS.fullmatch(page.text.partition("## Status")[2].partition("## Context")[0].strip())
    assert len(page.text.split()) <= WORDS


@pytest.mark.parametrize("page", RECORDS, ids=lambda page: page.path.stem)
def test_the_code_that_a_record_names_exists(page: Page) -> None:
    """Each record names at least one place, so that a reader finds the code that it is about."""
    named = re.findall(r"`((?:hub|plugins|tests|scripts|container)/[^`]+)`", page.text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
