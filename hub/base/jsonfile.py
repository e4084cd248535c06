"""JSON files that are replaced atomically."""

import os
import threading
from pathlib import Path
from typing import TypeVar

import msgspec

from hub.base.printable import printable_json
from hub.base.removal import clear_path
from hub.base.untrusted import MAX_STATE, MissingError, UnreadableError, decode_json, read_bytes

State = TypeVar("State")


def replace_file(path: Path, content: object) -> None:
    """Write an object as JSON; readers see the old or the new content, never a mixture."""
    replace_bytes(path, file_content(content), mode=0o600)


def file_content(content: object) -> bytes:
    """Return what `replace_file` writes. It is printable, because people look at it on a terminal."""
    return msgspec.json.format(printable_json(msgspec.json.encode(content)), indent=1)


def replace_bytes(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file in one step, with these permissions."""
    scratch = path.with_name(f".{path.name}.{threading.get_native_id()}")
    try:
        # Created, never opened: what is there may be a pipe, or a link to another file.
        clear_path(scratch)
        with scratch.open("xb") as file:
            # The path is not used: another process may have replaced the file with a link by now.
            os.fchmod(file.fileno(), mode)
            file.write(content)
        try:
            scratch.replace(path)
        except IsADirectoryError:
            clear_path(path)
            scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def read_file(path: Path, kind: type[State], *, max_bytes: int = MAX_STATE) -> State | None:
    """Return the content of a file, or None if there is no file.

    Args:
        path: The file.
        kind: The type of what it contains.
        max_bytes: The largest size to accept.

    Raises:
        UnreadableError: it cannot be read, or contains anything else.
    """
    try:
        return decode_json(read_bytes(path, max_bytes=max_bytes), kind, path)
    except MissingError:
        return None


def set_aside(path: Path) -> str:
    """Rename a file that cannot be read, so that a new one does not overwrite it; return where it is now."""
    aside = path.with_suffix(".unreadable")
    try:
        path.replace(aside)
    except OSError:
        return str(path)
    return str(aside)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; empty if it cannot be read."""
    # Imported here: it loads OpenSSL, which would cost each reset process milliseconds, and those need no digests.
    import hashlib  # noqa: PLC0415 - see above

    try:
        return hashlib.sha256(read_bytes(path, follow_links=True)).hexdigest()
    except UnreadableError:
        return ""
