"""Reading files that another process may have written."""

import os
import socket
from pathlib import Path

import msgspec
import pytest

from hub.base.errors import ConfigError
from hub.base.untrusted import (
    MissingError,
    UnreadableError,
    decode_json,
    is_there,
    read_bytes,
    read_config_text,
    read_tail,
    read_text,
)


class _Report(msgspec.Struct):
    pid: int
    text: str = ""


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    """It is read completely, even if the kernel does not know its size in advance."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)
    assert read_bytes(path) == b"x" * 200_000
    assert read_tail(path, 10) == b"x" * 10
    assert read_text(Path("/proc/self/status")).startswith("Name:")


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("pipe", "not a regular file"),
        ("socket", "not a regular file"),
        ("directory", "is a directory, expected a file"),
    ],
)
def test_what_is_not_a_regular_file_is_an_error(tmp_path: Path, kind: str, problem: str) -> None:
    """Whatever is in place of a file, nothing waits for it."""
    path = tmp_path / "odd"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.mkdir()
    for read in (read_bytes, read_text, read_config_text, lambda path: read_tail(path, 1)):
        with pytest.raises((UnreadableError, ConfigError), match=problem):
            read(path)


def test_an_endless_device_is_an_error() -> None:
    """It is refused without being read, so it takes no memory."""
    with pytest.raises(UnreadableError, match="not a regular file"):
        read_bytes(Path("/dev/zero"))


def test_a_link_is_followed_only_where_links_are_usual(tmp_path: Path) -> None:
    """The files of a ConfigMap are links; in the run directory, a link would lead out of it, and is refused."""
    (tmp_path / "target").write_text("secret")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnreadableError, match="is a link, expected a file"):
        read_text(tmp_path / "link")
    assert read_text(tmp_path / "link", follow_links=True) == "secret"
    assert read_config_text(tmp_path / "link") == "secret"
    with pytest.raises(UnreadableError, match="Too many levels of symbolic links"):
        read_text(tmp_path / "loop", follow_links=True)


def test_a_size_has_a_limit(tmp_path: Path) -> None:
    """An endless file takes no more memory than one of that size."""
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(UnreadableError, match="too large, expected at most 1048576 bytes"):
        read_text(path)
    assert read_tail(path, 5) == bytes(5)
    with pytest.raises(ConfigError, match="too large"):
        read_config_text(path)


@pytest.mark.parametrize("name", ["missing", "no/such/directory"])
def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path, name: str) -> None:
    """It can be distinguished from a file that cannot be read."""
    with pytest.raises(MissingError, match="no such file"):
        read_bytes(tmp_path / name)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300, "file/below"])
def test_a_path_that_cannot_exist_is_an_error(tmp_path: Path, name: str) -> None:
    """The error is the same as for any other file, and the path does not count as existing."""
    (tmp_path / "file").touch()
    with pytest.raises(UnreadableError):
        read_bytes(tmp_path / name)
    assert not is_there(tmp_path / name)
    assert is_there(tmp_path / "file")


def test_bytes_that_are_not_text_are_an_error(tmp_path: Path) -> None:
    """The error gives the location; where a reader allows it, such bytes are replaced."""
    path = tmp_path / "file"
    path.write_bytes(b"ab\xff")
    with pytest.raises(UnreadableError, match=r"file: not UTF-8 text \(byte 2\)"):
        read_text(path)
    assert read_text(path, errors="backslashreplace") == "ab\\xff"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"pid": 1, "text": "\xff"}',
        b'{"\xff": 1}',
        b'{"pid": ' + b"[" * 100_000,
        b'{"pid": ' + b"9" * 5000 + b"}",
        b'{"pid": 1e999}',
        b'{"pid": 1, "text": "\\ud800"}',
    ],
    ids=["empty", "cut off", "not UTF-8", "key not UTF-8", "nested", "long number", "infinite", "surrogate"],
)
def test_json_that_cannot_be_decoded_is_an_error(content: bytes) -> None:
    """Whatever is wrong with it, the error is the same."""
    with pytest.raises(UnreadableError, match=r"^report: "):
        decode_json(content, _Report, "report")
