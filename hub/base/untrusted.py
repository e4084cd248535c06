"""Reads what another process may have written: state and configuration files, sysfs attributes, messages.

The file may be a pipe to which nothing is ever written, a device or a link to another file, or it may be endless or
not text. In all these cases, this module raises the same error, never blocks, and does not even open a device. All
other modules read such files through this one (`tests/unit/base/test_untrusted_files.py`).
"""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, overload

import msgspec

from hub.base.errors import ConfigError, HubError

MAX_TEXT = 1 << 20
"""The default size limit of a text file in bytes; a sysfs attribute is at most 4096 bytes long."""

MAX_STATE = 64 << 20
"""The size limit of a state file in bytes: the report on 16,384 devices takes 8 MiB."""

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer in a file or message. JSON allows any number of digits, and few other formats have room for them."""

_CHUNK = 1 << 16

_PREPARING = threading.Lock()

T = TypeVar("T")


class UnreadableError(HubError):
    """Content that another process wrote cannot be read.

    Args:
        source: The file, or whatever else the content is from.
        problem: Why.
    """

    def __init__(self, source: Path | str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")
        self.problem = problem


class MissingError(UnreadableError):
    """The file does not exist."""


def read_bytes(path: Path, *, max_bytes: int = MAX_STATE, follow_links: bool = False) -> bytes:
    """Return the content of a file.

    Args:
        path: The file.
        max_bytes: The largest size to accept.
        follow_links: Whether the path may be a link; its directory may always be one.

    Raises:
        MissingError: it does not exist.
        UnreadableError: it is not a regular file, is too large, or cannot be read.
    """
    with _open(path, follow_links=follow_links) as file:
        content = b"".join(_chunks(file, max_bytes + 1))
    if len(content) > max_bytes:
        raise UnreadableError(path, f"too large, expected at most {max_bytes} bytes")
    return content


def read_tail(path: Path, max_bytes: int) -> bytes:
    """Return the end of a file.

    Raises:
        UnreadableError: as for `read_bytes`.
    """
    with _open(path) as file:
        os.lseek(file, max(0, os.fstat(file).st_size - max_bytes), os.SEEK_SET)
        return b"".join(_chunks(file, max_bytes))


def read_text(path: Path, *, max_bytes: int = MAX_TEXT, follow_links: bool = False, errors: str = "strict") -> str:
    """Return the content of a UTF-8 text file.

    Args:
        path: The file.
        max_bytes: The largest size to accept.
        follow_links: Whether the path may be a link; its directory may always be one.
        errors: What to do with bytes that are not UTF-8, as for `bytes.decode`.

    Raises:
        MissingError: it does not exist.
        UnreadableError: it is not a regular file, is too large, is not UTF-8, or cannot be read.
    """
    content = read_bytes(path, max_bytes=max_bytes, follow_links=follow_links)
    try:
        return content.decode(errors=errors)
    except UnicodeDecodeError as error:
        raise UnreadableError(path, f"not UTF-8 text (byte {error.start})") from None


def is_there(path: Path) -> bool:
    """Return whether there is a file of any kind at a path that came from outside, which need not be a valid path.

    `Path.exists` raises an error for a name that is too long.
    """
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def read_config_text(path: Path) -> str:
    """Return the text of a configuration file. It may be a link, as the files of a ConfigMap are.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    try:
        text = read_text(path, follow_links=True)
    except UnreadableError as error:
        raise ConfigError(path, error.problem) from None
    if not text.strip():
        raise ConfigError(path, "is empty")
    return text


@overload
def decode_json(content: bytes, kind: type[T], source: Path | str) -> T: ...


@overload
def decode_json(content: bytes, kind: UnionType, source: Path | str) -> Any: ...  # noqa: ANN401 - one of the union


def decode_json(content: bytes, kind: Any, source: Path | str) -> Any:
    """Decode JSON.

    Args:
        content: The JSON.
        kind: The type of what it describes.
        source: Where the content is from, for the error.

    Raises:
        UnreadableError: it is not JSON, or describes something else.
    """
    try:
        return _decoder(kind).decode(content)
    # Not only msgspec's errors: bytes that are not UTF-8, and values that are nested too deeply, raise Python's own.
    except (ValueError, RecursionError) as error:
        raise UnreadableError(source, str(error)) from None


@cache
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":  # noqa: ANN401 - any type
    # msgspec crashes if one thread decodes a type that another thread, the first to use it, is still preparing.
    with _PREPARING:
        return msgspec.json.Decoder(kind)


@contextmanager
def _open(path: Path, *, follow_links: bool = False) -> Iterator[int]:
    """Open a regular file for reading."""
    try:
        # Checked before it is opened: opening a pipe can block forever, and opening some devices has side effects.
        found = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW))
        try:
            _check(path, os.fstat(found).st_mode)
            file = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(found)
        try:
            yield file
        finally:
            os.close(file)
    except FileNotFoundError:
        raise MissingError(path, "no such file") from None
    except OSError as error:
        raise UnreadableError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        # The path contains a zero byte, or characters that no file name can contain.
        raise UnreadableError(path, "cannot be read: invalid path") from None


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableError(path, "is a directory, expected a file")
    if stat.S_ISLNK(mode):
        raise UnreadableError(path, "is a link, expected a file")
    if not stat.S_ISREG(mode):
        raise UnreadableError(path, "not a regular file")


def _chunks(file: int, max_bytes: int) -> Iterator[bytes]:
    while max_bytes > 0 and (chunk := os.read(file, min(max_bytes, _CHUNK))):
        yield chunk
        max_bytes -= len(chunk)
