"""The pages of the documentation, parsed for tests."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w.-]+)`:\n\n$")
_IN_THE_CLASS = re.compile(r"In the class:\n\n$")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    file: str
    """The file that the text before the block names; empty if there is none."""
    in_the_class: bool
    """Whether the reader adds it to the class of the tutorial."""


@dataclass(frozen=True)
class Page:
    """One page.

    Args:
        name: Its path in the project.
    """

    name: str

    @property
    def path(self) -> Path:
        """The path of the page."""
        return ROOT / self.name

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text outside of blocks."""
        return _BLOCK.sub("", self.text)

    @cached_property
    def words(self) -> str:
        """The text outside of blocks, in one line."""
        return " ".join(self.prose.split())

    @cached_property
    def blocks(self) -> list[Block]:
        """The fenced blocks, in order."""
        found = []
        for match in _BLOCK.finditer(self.text):
            before = self.text[: match.start()]
            named = _FILE.search(before)
            found.append(Block(match[1], match[2], named[1] if named else "", bool(_IN_THE_CLASS.search(before))))
        return found

    def of(self, language: str) -> list[str]:
        """Return the blocks of a language."""
        return [block.text for block in self.blocks if block.language == language]

    @cached_property
    def commands(self) -> list[str]:
        """The commands that the reader types into a terminal."""
        lines = [line for text in self.of("console") for line in text.splitlines()]
        assert all(line.startswith("$ ") for line in lines), lines
        return [line[2:] for line in lines]

    def command(self, beginning: str) -> str:
        """Return the one command with this beginning."""
        (found,) = [command for command in self.commands if command.startswith(beginning)]
        return found

    def versions(self, file: str) -> list[str]:
        """Return the successive contents of a file that the page shows."""
        return [block.text for block in self.blocks if block.file == file]

    def tables(self, head: str) -> list[list[list[str]]]:
        """Return the cells of the tables whose first column has this heading, without the header rows."""
        found = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", self.text, re.MULTILINE)
        return [
            [[cell.strip() for cell in line.strip("|").split(" |")] for line in rows.splitlines()] for rows in found
        ]

    def table(self, head: str) -> list[list[str]]:
        """Return the cells of the one table whose first column has this heading."""
        (found,) = self.tables(head)
        return found

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of the page's headings, as they are when the page is shown on the web."""
        found: set[str] = set()
        for heading in re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE):
            plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            number = next(n for n in range(len(found) + 1) if (f"{plain}-{n}" if n else plain) not in found)
            found.add(f"{plain}-{number}" if number else plain)
        return found

    @cached_property
    def links(self) -> list[str]:
        """The targets of its links and images."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)


README = Page("README.md")
TUTORIAL = Page("docs/writing-a-plugin.md")
ARCHITECTURE = Page("docs/architecture.md")


def every_page() -> list[Page]:
    """Return all pages."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [Page(str(path.relative_to(ROOT))) for path in sorted(paths)]
