"""Files that are replaced in one step."""

import os
from pathlib import Path
from typing import IO, Any

import pytest

from hub.base.jsonfile import replace_bytes


def test_a_link_in_place_of_the_file_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that may write to the directory cannot change the permissions or the content of another file."""
    other = tmp_path / "other"
    other.write_text("of root")
    other.chmod(0o644)
    opened = Path.open

    def swapped(path: Path, *args: Any, **options: Any) -> IO[Any]:  # noqa: ANN401 - as Path.open
        file = opened(path, *args, **options)
        path.unlink()
        path.symlink_to(other)
        return file

    monkeypatch.setattr(Path, "open", swapped)
    replace_bytes(tmp_path / "state", b"new", mode=0o600)
    monkeypatch.undo()
    assert (other.stat().st_mode & 0o777, other.read_text()) == (0o644, "of root")


def test_the_permissions_are_those_that_are_asked_for(tmp_path: Path) -> None:
    """They do not depend on the umask."""
    before = os.umask(0o077)
    try:
        replace_bytes(tmp_path / "state", b"new", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o644
