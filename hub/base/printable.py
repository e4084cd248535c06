"""Makes text from outside fit to be shown: ids, reasons, names of pods, values in a log, texts of exceptions.

On a terminal, a control character can move the cursor, hide text, or run a command; a line break can forge a line of a
log; a character that reverses the direction of writing can make a text look like another. So whatever shows text
replaces all of them, here and nowhere else.
"""

import json
import re

_NOT_ASCII = re.compile(r"[^\x00-\x7e]+")


def printable(text: object) -> str:
    """Make a text one line of printable characters: line breaks become spaces, and others are replaced by U+FFFD."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)


def printable_lines(text: str, indent: str = "") -> str:
    """Make each line of a text printable; only a line feed ends a line.

    Args:
        text: One or more lines.
        indent: Begins each line, so that none can be taken for a line of its own.
    """
    return "\n".join(indent + printable(line) for line in text.split("\n"))


def printable_json(encoded: bytes) -> bytes:
    """Escape what is not printable in the strings of a JSON document; it stays the same document."""
    # In JSON, the control characters of ASCII are escaped anyway.
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _NOT_ASCII.sub(_escaped, encoded.decode()).encode()


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]
