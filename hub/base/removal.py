"""Clears the path for one of the hub's files in a directory to which other processes can write."""

import stat
import time
from contextlib import suppress
from pathlib import Path


def clear_path(path: Path) -> None:
    """Remove what is at a path; rename a directory, which may contain anything and take arbitrarily long to remove.

    Raises:
        OSError: it can be neither removed nor renamed.
    """
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        path.rename(path.with_name(f".replaced.{time.time_ns()}"))


def clear_path_for_file(path: Path) -> None:
    """Remove what is at a path, unless it is a regular file.

    Raises:
        OSError: it can be neither removed nor renamed.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            clear_path(path)


def make_directory(path: Path) -> None:
    """Create a directory if there is none, and replace anything else at its path.

    Raises:
        OSError: it cannot be created.
    """
    if path.is_symlink() or not path.is_dir():
        clear_path(path)
        path.mkdir(exist_ok=True)
