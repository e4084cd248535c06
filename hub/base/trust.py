"""Checks whether root can safely run the contents of a file.

The hub runs the commands in its circus.ini and the code in a plugin's file. If another user could write one of them, or
a directory above it, that user would become root.
"""

import os
import stat
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.paths import other_writers, path_steps, user_name

_ROOT = 0
_CODE = Path(__file__)
_OURS = _CODE.parents[1], _CODE.parents[2]
"""The hub's own directories: another user who can write there can change this code too."""


_RUNS = "root would run its contents"
_COPY = "copy it to a directory that only root can write to, such as /etc/dphub"


def check_trusted(path: Path, danger: str = _RUNS, todo: str = _COPY, *, may_be_missing: bool = False) -> None:
    """As root, check that only root can write to a file or directory; as another user, do nothing.

    As with an SSH server's keys, that includes each directory and each link on the path to it. All must belong to root,
    and their permissions matter except for two kinds of directories: sticky ones such as /tmp, where no other user can
    replace root's files, and those on file systems that are mounted read-only, such as a ConfigMap's.

    Args:
        path: The file or directory.
        danger: What could happen otherwise.
        todo: What the user can do.
        may_be_missing: Whether it need not exist yet. In a sticky directory another user could still create it, so
            check it again once it exists.

    Raises:
        ConfigError: another user could change it, or it does not exist.
    """
    if os.geteuid() != _ROOT or _is_as_safe_as_this_code(path):
        return
    end = os.path.realpath(path)
    try:
        for step in path_steps(path.absolute()):
            if problem := _problem(step, is_end=os.path.realpath(step) == end):
                where = "" if step == path.absolute() else f"{step} "
                raise ConfigError(path, f"{where}{problem}, and {danger}; {todo}")
    except OSError as error:
        if may_be_missing and isinstance(error, FileNotFoundError | NotADirectoryError):
            return
        # A missing file too: before it is read, another user may create it in a sticky directory.
        missing = isinstance(error, FileNotFoundError)
        raise ConfigError(path, "no such file" if missing else f"cannot be read: {error.strerror}") from None


def check_tree(directory: Path, danger: str, todo: str) -> None:
    """As root, check that only root can write to a directory and everything in it, including where links lead.

    Args:
        directory: The directory.
        danger: What could happen otherwise.
        todo: What the user can do.

    Raises:
        ConfigError: another user could change something in it, or it cannot be read.
    """
    check_trusted(directory, danger, todo)
    if os.geteuid() != _ROOT:
        return
    seen: set[str] = set()
    for parent, names, files in os.walk(directory, onerror=_raise, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            # Links can lead back.
            names.clear()
            continue
        seen.add(real)
        for entry in (Path(parent, name) for name in (*names, *files)):
            if entry.is_symlink():
                check_trusted(entry, danger, todo, may_be_missing=True)
            elif problem := _problem(entry, is_end=True):
                raise ConfigError(entry, f"{problem}, and {danger}; {todo}")


def _raise(error: OSError) -> None:
    raise ConfigError(Path(error.filename), f"cannot be read: {error.strerror}")


def _is_as_safe_as_this_code(path: Path) -> bool:
    """Return whether a file is in the hub's own directories, and only users who can change this code can change it."""
    if path.absolute().parent not in _OURS:
        return False
    try:
        found, code = path.lstat(), _CODE.lstat()
    except OSError:
        return False
    is_same = (found.st_uid, found.st_gid) == (code.st_uid, code.st_gid)
    return stat.S_ISREG(found.st_mode) and is_same and not found.st_mode & ~code.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def check_own(path: Path, todo: str) -> None:
    """Check that a file which the user did not name, and its directory, belong to that user or to root.

    Do nothing as root, for whom `check_trusted` checks every file, named or not.

    Args:
        path: The file.
        todo: How the user can use it anyway.

    Raises:
        ConfigError: it belongs to another user, who may have put it there for this one to find.
    """
    if os.geteuid() == _ROOT:
        return
    for step in (path.absolute().parent, path):
        owner = step.lstat().st_uid
        if owner not in (_ROOT, os.geteuid()):
            where = "" if step == path else f"{step} "
            raise ConfigError(path, f"{where}belongs to {user_name(owner)}, so it is not used by default; {todo}")


def check_writers(path: Path) -> None:
    """Check that only root or this user can have written a file, or can add files to a directory.

    Raises:
        ConfigError: another user can.
        OSError: it does not exist, or its owner cannot be read.
    """
    found = path.lstat()
    if found.st_uid not in (_ROOT, os.geteuid()):
        raise ConfigError(path, f"belongs to {user_name(found.st_uid)}, expected root or {user_name(os.geteuid())}")
    if problem := other_writers(found.st_mode):
        raise ConfigError(path, f"is {problem}, so other users may have written it")


def _problem(path: Path, *, is_end: bool) -> str:
    """Return which other user can change a path; empty if none can."""
    is_link = path.is_symlink()
    found = path.lstat()
    # The owner matters even on a read-only mount, and so do a file's permissions: the same file system may also be
    # mounted writable, as with the node's / at /driver-root.
    if found.st_uid != _ROOT:
        return f"belongs to {user_name(found.st_uid)}"
    # Whatever another user may put into such a directory belongs to that user.
    if stat.S_ISDIR(found.st_mode) and os.statvfs(path).f_flag & os.ST_RDONLY:
        return ""
    # In a sticky directory, other users can still add files.
    is_sticky = found.st_mode & stat.S_ISVTX and not is_end
    if is_link or is_sticky or not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    return "is world-writable" if found.st_mode & stat.S_IWOTH else "is group-writable"
