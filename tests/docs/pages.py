"""The pages of the documentation, as the tests read them."""

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
    """What stands between two fences."""

    language: str
    text: str
    file: str
    """The file that it is, named right before it; empty where it is none."""
    in_the_class: bool
    """Whether it is to be added to the class of the tutorial."""


@dataclass(frozen=True)
class Page:
    """One page.

    Args:
        name: Its path in the project.
    """

    name: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return ROOT / self.name

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """What is outside of blocks."""
        return _BLOCK.sub("", self.text)

    @cached_property
    def words(self) -> str:
        """The same in one line."""
        return " ".join(self.prose.split())

    @cached_property
    def blocks(self) -> list[Block]:
        """In their order."""
        found = []
        for match in _BLOCK.finditer(self.text):
            before = self.text[: match.start()]
            named = _FILE.search(before)
            found.append(Block(match[1], match[2], named[1] if named else "", bool(_IN_THE_CLASS.search(before))))
        return found

    def of(self, language: str) -> list[str]:
        """The blocks of a language."""
        return [block.text for block in self.blocks if block.language == language]

    @cached_property
    def commands(self) -> list[str]:
        """What the reader is told to type into a terminal."""
        lines = [line for text in self.of("console") for line in text.splitlines()]
        assert all(line.startswith("$ ") for line in lines), lines
        return [line[2:] for line in lines]

    def command(self, beginning: str) -> str:
        """The one command that begins so."""
        (found,) = [command for command in self.commands if command.startswith(beginning)]
        return found

    def versions(self, file: str) -> list[str]:
        """What the page shows as the content of a file, from step to step."""
        return [block.text for block in self.blocks if block.file == file]

    def tables(self, head: str) -> list[list[list[str]]]:
        """The cells of the tables whose first columns have this head, without the heads."""
        found = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", self.text, re.MULTILINE)
        return [
            [[cell.strip() for cell in line.strip("|").split(" |")] for line in rows.splitlines()] for rows in found
        ]

    def table(self, head: str) -> list[list[str]]:
        """The cells of the one such table."""
        (found,) = self.tables(head)
        return found

    @cached_property
    def anchors(self) -> set[str]:
        """What links into the page may name: its headings, as they are shown on the web."""
        found: set[str] = set()
        for heading in re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE):
            plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            number = next(n for n in range(len(found) + 1) if (f"{plain}-{n}" if n else plain) not in found)
            found.add(f"{plain}-{number}" if number else plain)
        return found

    @cached_property
    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)


README = Page("README.md")
TUTORIAL = Page("docs/writing-a-plugin.md")
ARCHITECTURE = Page("docs/architecture.md")


def every_page() -> list[Page]:
    """All pages that there are."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [Page(str(path.relative_to(ROOT))) for path in sorted(paths)]
