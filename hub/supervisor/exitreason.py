"""Why a plugin process ended, as it said so itself."""

from datetime import datetime
from pathlib import Path

import msgspec

RECENT = 10.0
"""Seconds before the end in which an error may have led to it."""

LONGEST = 300
"""Characters; the log has all of it."""

_TAIL_BYTES = 65536


class _Line(msgspec.Struct):
    event: str
    level: str
    timestamp: datetime
    reason: str = ""
    exception: str = ""


def last_error(log: Path, since: float) -> str:
    """The latest error in a plugin's log file, in a line.

    Args:
        log: The file, as the plugin keeps it.
        since: Unix time; errors before that were something else.

    Returns:
        Its words; empty where there is no such error.
    """
    for line in reversed(_tail(log).splitlines()):
        try:
            said = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError:
            continue  # cut off, by where the tail begins or by a full disk
        if said.timestamp.timestamp() < since:
            break
        if said.level == "error":
            return _words(said)
    return ""


def _words(said: _Line) -> str:
    # The last line of a traceback names the exception.
    words = said.reason or said.exception.strip().rpartition("\n")[2] or said.event
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read()
    except OSError:
        return b""
