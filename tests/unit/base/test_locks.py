"""Locks on files."""

import os
from pathlib import Path

import pytest

from hub.base.locks import existing_lock, is_locked, open_lock, try_lock


def test_a_lock_is_tested_without_write_permission(tmp_path: Path) -> None:
    """A command sees which hubs are running even if it can only read the run directory."""
    path = tmp_path / "lock"
    holder = open_lock(path)
    with existing_lock(path) as file:
        assert not is_locked(file)
        assert try_lock(holder)
        assert is_locked(file)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(file, b"1")
    os.close(holder)


def test_an_existing_lock_can_be_taken(tmp_path: Path) -> None:
    """If the file is opened for writing, its lock is held until the end of the block."""
    path = tmp_path / "lock"
    path.touch()
    with existing_lock(path) as other:
        with existing_lock(path, writable=True) as file:
            assert try_lock(file)
            assert is_locked(other)
        assert not is_locked(other)
