"""Why a plugin process exited, according to its own log."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from hub.base.untrusted import UnreadableError, decode_json, read_tail

RECENT = 10.0
"""Seconds before the exit within which an error counts as its cause."""

LONGEST = 300
"""Maximum length of the reason in characters; the log shows all of it."""

_TAIL_BYTES = 65536


class _Line(msgspec.Struct):
    event: str
    level: str
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    reason: str = ""
    exception: str = ""


def last_error(log: Path, since: float) -> str:
    """Return the latest error in a plugin's log file, as one line.

    Args:
        log: The plugin's log file.
        since: Unix time; earlier errors are not related.

    Returns:
        The text; empty if there is no such error.
    """
    for line in reversed(_tail(log).splitlines()):
        try:
            event = decode_json(line, _Line, log)
        except UnreadableError:
            continue  # incomplete, at the beginning of the tail or because of a full disk
        if event.timestamp.timestamp() < since:
            break
        if event.level == "error":
            return _text(event)
    return ""


def _text(line: _Line) -> str:
    # The last line of a traceback names the exception.
    text = line.reason or line.exception.strip().rpartition("\n")[2] or line.event
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _tail(path: Path) -> bytes:
    try:
        return read_tail(path, _TAIL_BYTES)
    except UnreadableError:
        return b""
