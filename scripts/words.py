"""Find words that the project has retired, each with what to write instead.

`python -m scripts.words` lists them in all text files; tests/docs/test_words.py fails on them.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

RETIRED = {
    r"told|tells?|telling": "say what happens: pass, report, notify, show, log",
    r"anew": "again, or name the action: restart, recreate, rebuild",
    r"mend(?:s|ed|ing)?": "fix",
    r"who(?:m|so)?ever": "name the subject: a reader, a caller, a process, any user",
    r"likewise": "repeat the fact, or write also",
    r"somebody|nobody": "name the subject: a process, a user, no container, no process",
    r"of late": "recently",
    r"all the same": "anyway, or still",
    r"wish(?:es|ed)?": "name what it is: a request, an option, a lock",
    r"heirs?|(?:prede|suc)cessors?|younger|youngest": "newer or older (hub)",
    r"usurp(?:s|ed|ing|er)?": "socket_taken, or say that another process serves the socket",
    r"pristine": "unused, or unchanged",
    r"muted?": "say what is not sent, and why",
    r"legible": "printable, or readable",
    r"rooms": "packages, or directories",
    r"mov(?:e[sd]?|ing)[ -]over": "migrate",
    r"foreign code": "third-party code, or plugin code",
}
"""Each retired word as a regular expression, and what to write instead."""

SUFFIXES = {
    "",
    *(".py", ".md", ".yaml", ".yml", ".ini", ".toml", ".json", ".sh", ".txt", ".proto", ".tpl"),
    *(".html", ".js", ".css", ".svg", ".c", ".h", ".go"),
}
DIRECTORIES = ("hub", "plugins", "tests", "scripts", "benchmarks", "container", "docs", ".github")

_RETIRED = re.compile("|".join(rf"({words})" for words in RETIRED))
_WORD = re.compile(rf"(?<![A-Za-z])(?:{_RETIRED.pattern})(?![A-Za-z])", re.IGNORECASE)
_INSTEAD = tuple(RETIRED.values())


class Finding(NamedTuple):
    """A retired word in a file."""

    line: int
    word: str
    instead: str
    text: str
    """The line, without its indentation."""

    def __str__(self) -> str:
        return f"{self.line}: {self.word}: write instead: {self.instead}"


def text_files() -> Iterator[Path]:
    """Yield every text file of the project; for generated code, only its source."""
    for directory in (ROOT, *(ROOT / name for name in DIRECTORIES)):
        for path in sorted(directory.glob("*") if directory == ROOT else directory.rglob("*")):
            if (
                path.suffix in SUFFIXES
                and "__pycache__" not in path.parts
                and "_pb2" not in path.name
                and path.is_file()
            ):
                yield path


def retired_words(text: str) -> Iterator[Finding]:
    """Yield the retired words in a string."""
    # Most files have none, and searching a whole file is far quicker than searching its lines.
    if not _WORD.search(text):
        return
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _WORD.finditer(line):
            yield Finding(number, match[0], _INSTEAD[(match.lastindex or 1) - 1], line.strip())


def main() -> int:
    """List all retired words; the exit code is 1 if there are any."""
    lines = [
        f"{path.relative_to(ROOT)}:{each}" for path in text_files() for each in retired_words(path.read_text("utf-8"))
    ]
    print(*lines, sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
