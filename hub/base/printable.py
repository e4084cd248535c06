"""Makes external text safe to display: ids, reasons, pod names, values in a log, exception messages.

On a terminal, a control character can move the cursor, hide text, or run a command; a line break can forge a log line;
a character that reverses the writing direction can make one string look like another. Everything that displays text
uses this module, and no other, to replace such characters.
"""

import json
import re

_NOT_ASCII = re.compile(r"[^\x00-\x7e]+")


def printable(text: object) -> str:
    """Turn an object into one line of printable text: whitespace becomes spaces, unprintable characters U+FFFD."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else " " if character.isspace() else "\ufffd" for character in text
    )


def printable_lines(text: str, indent: str = "") -> str:
    """Make each line printable; only line feeds separate lines.

    Args:
        text: One or more lines.
        indent: Begins each line, so that no line can be mistaken for something else.
    """
    return "\n".join(indent + printable(line) for line in text.split("\n"))


def printable_json(encoded: bytes) -> bytes:
    """Escape unprintable characters in the strings of a JSON document, which does not change its value."""
    # In JSON, the control characters of ASCII are escaped anyway.
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _NOT_ASCII.sub(_escaped, encoded.decode()).encode()


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]
