"""Blocks, commands and tables of a page."""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("install", "upgrading", "migrating", "security", "troubleshooting")


def page(name: str) -> str:
    """Return the text of a page in docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Return the blocks of a language, including those that are indented in a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", page(name), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, text in found]


def commands(name: str) -> list[str]:
    """Return the commands that the reader types."""
    return [line.removeprefix("$ ") for block in blocks(name, "console") for line in block.splitlines()]


def rows(name: str, *head: str) -> list[list[str]]:
    """Return the rows of the table whose header begins with this text."""
    start = "| " + " | ".join(head) + " |"
    after = page(name).partition(f"\n{start}")[2]
    assert after, f"{name}.md has no table {start}"
    table = after.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in table]


def codes(text: str) -> list[str]:
    """Return the words between backticks."""
    return re.findall(r"`([^`]+)`", text)
