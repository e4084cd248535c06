"""JSON files that are replaced atomically."""

import hashlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

State = TypeVar("State")


def replace_file(path: Path, content: object) -> None:
    """Write an object as JSON; a reader sees the old content or the new, never a part."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    text = msgspec.json.format(msgspec.json.encode(content), indent=1)
    try:
        scratch.write_bytes(text)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def read_file(path: Path, kind: type[State]) -> State | None:
    """Return the content of a file, or None if there is no file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
