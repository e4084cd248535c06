"""Wait for files to appear and disappear, without polling.

The kernel's own events about devices need the node's network namespace, which a pod does not have. inotify reports
each device file in /dev, with the links that udev makes beside it, and needs nothing. It reports nothing in sysfs.
"""

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hub import Host
from plugins.generic.discovery.files import has_wildcard
from plugins.generic.discovery.reading import entries

if TYPE_CHECKING:
    from asyncinotify import Inotify

DEV = "/dev"

_OTHERS = re.compile("/dev/(pts|shm|mqueue|hugepages|fd|\\.lxc.*)")
"""Directories whose files are not devices, or those of terminals; any user can create files in some of them."""

_USED_UP = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

_MAX_DEPTH, _MAX_DIRECTORIES = 5, 1000


def dev_directories(host: Host) -> Iterator[str]:
    """Return /dev and the directories of device files in it."""
    pending, seen = [DEV], 0
    while pending and seen < _MAX_DIRECTORIES:
        directory = pending.pop(0)
        seen += 1
        yield directory
        if directory.count("/") >= _MAX_DEPTH:
            continue
        for path in entries(host.path(directory)):
            inside = f"{directory}/{path.name}"
            if path.is_dir() and not path.is_symlink() and not _OTHERS.fullmatch(inside):
                pending.append(inside)


def watched_directories(host: Host, patterns: Iterable[str]) -> set[str]:
    """Return the directories in which a change can change what patterns match."""
    directories = set(dev_directories(host))
    for pattern in patterns:
        parent = PurePosixPath(pattern).parent
        if has_wildcard(str(parent)):
            directories.update(str(path) for path in host.glob(str(parent)) if host.path(path).is_dir())
        while has_wildcard(str(parent)) or not host.path(parent).is_dir():
            parent = parent.parent
        directories.add(str(parent))
    return directories


def watch_files(host: Host, patterns: Iterable[str], changed: Callable[[], None]) -> None:
    """Call `changed` at the beginning, and whenever files appear or disappear; return never.

    Raises:
        OSError: the node has run out of inotify instances or watches.
    """
    # Imported here: a check of the settings does without it.
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - see above

    outside = [pattern for pattern in patterns if not pattern.startswith(f"{DEV}/")]
    with Inotify(cache_size=1000) as inotify:
        _follow(host, inotify, outside)
        # Files may have changed before the watch was in place.
        changed()
        for event in inotify:
            if event.mask & (Mask.ISDIR | Mask.IGNORED | Mask.Q_OVERFLOW):
                _follow(host, inotify, outside)
            changed()


def _follow(host: Host, inotify: "Inotify", patterns: Iterable[str]) -> None:
    """Watch all directories that exist now, until none has appeared meanwhile.

    A directory may have been replaced by another one of its name; to watch one again has no effect.
    """
    wanted: set[str] = set()
    while (now := watched_directories(host, patterns)) != wanted:
        wanted = now
        for directory in sorted(wanted):
            _add(inotify, host.path(directory))


def _add(inotify: "Inotify", directory: Path) -> None:
    from asyncinotify import Mask  # noqa: PLC0415 - as above

    try:
        inotify.add_watch(directory, Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.ONLYDIR)
    except OSError as error:
        # Otherwise the directory was removed in the meantime, or cannot be read; the others still can.
        if error.errno in _USED_UP:
            raise
