"""Every link in the documentation leads to a page and a section that exist."""

import re

import pytest

from tests.docs.pages import README, ROOT, Page, every_page

PAGES = every_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page) -> None:
    """Each link leads to a file of the project, and to a heading that is there."""
    assert [link for link in page.links if not re.match("[a-z]+:", link) and not _arrives(page, link)] == []


def _arrives(page: Page, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in Page(str(target.relative_to(ROOT))).anchors


def test_the_readme_lists_the_pages_for_users() -> None:
    """Its table has each page of docs/, and each row says what its pages are for."""
    rows = README.table("page")
    listed = {link for cells in rows for link in re.findall(r"\]\((.+?)\)", cells[0])}
    assert {page.name for page in PAGES if page.path.parent == ROOT / "docs"} - listed == set()
    assert all(cells[1] for cells in rows)


def test_every_page_is_found_from_the_readme() -> None:
    """Links lead from page to page to each of them."""
    found: set[str] = set()
    new = {README.name}
    while new:
        found |= new
        new = {name for page in PAGES if page.name in new for name in _linked(page)} - found
    assert {page.name for page in PAGES} - found == set()


def _linked(page: Page) -> set[str]:
    """Return the pages of the project to which a page links."""
    targets = {(page.path.parent / link.partition("#")[0]).resolve() for link in page.links}
    return {other.name for other in PAGES if other.path in targets}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_read_as_they_are_meant(page: Page) -> None:
    """Every block has an end and a language, and every table has the same number of cells in each row."""
    assert page.text.count("\n```") % 2 == 0
    assert all(block.language for block in page.blocks)
    for table in re.findall(r"(?:^\|.*\n)+", page.prose, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1, table
