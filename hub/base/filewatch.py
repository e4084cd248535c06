"""Waits for changes to files in directories, including the exit of processes that hold files open."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hub.base.errors import HubError

if TYPE_CHECKING:
    from asyncinotify import Inotify

LIMITS_REACHED = {errno.EMFILE, errno.ENOSPC}
"""inotify's errors if other processes on the node have used up its instances or watches; each user has few of them."""

RAISE_LIMITS = "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches"

_RECHECK = 0.02
"""Seconds from an event until another check: the kernel reports that a file was closed before it releases its locks."""


async def closed_files(directory: Path) -> AsyncIterator[None]:
    """Yield soon after a process has closed a file that it had open for writing, or has exited with it open.

    Each change is seen; it may be yielded more than once.

    Raises:
        HubError: the directory cannot be watched.
    """
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - needed only by processes that wait for files

    try:
        inotify = Inotify()
    except OSError as error:
        raise watch_error(directory, error) from None
    with inotify:
        try:
            inotify.add_watch(directory, Mask.CLOSE_WRITE | Mask.ONLYDIR)
        except OSError as error:
            raise watch_error(directory, error) from None
        recheck = None
        while True:
            recheck = _RECHECK if await _has_event(inotify, recheck) else None
            yield


async def _has_event(inotify: "Inotify", limit: float | None) -> bool:
    try:
        async with asyncio.timeout(limit):
            await inotify.get()
    except TimeoutError:
        return False
    return True


def watch_error(directory: Path, error: OSError) -> HubError:
    """Return the error that says why a directory cannot be watched, and what to do."""
    hint = ""
    if error.errno in LIMITS_REACHED:
        hint = f": {RAISE_LIMITS}"
    return HubError(f"cannot watch the directory {directory} ({error.strerror}){hint}")


def watch_directories(
    directories: Callable[[], Iterable[Path]],
    changed: Callable[[], None],
    *,
    concerns: Callable[[Path], bool] = lambda _: True,
) -> NoReturn:
    """Call `changed` at the beginning, and whenever a file appears or disappears; never return.

    Use it for device files: the kernel's own events about devices can be received only in the node's network
    namespace, which a pod does not have. In sysfs, inotify reports almost nothing.

    Args:
        directories: Returns the directories to watch; those that do not exist yet are left out. Called again whenever
            a directory has appeared or disappeared in one of them.
        changed: What to call.
        concerns: Returns whether to call it for a change to a path.

    Raises:
        OSError: the node has run out of inotify instances or watches.
    """
    # Imported here: only a plugin process that watches files needs it.
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - see above

    with Inotify(cache_size=1000) as inotify:
        _follow(inotify, directories)
        # This covers changes from before the watches were in place.
        changed()
        while True:
            for event in inotify:
                if event.mask & (Mask.ISDIR | Mask.IGNORED | Mask.Q_OVERFLOW):
                    _follow(inotify, directories)
                if event.path is None or concerns(event.path):
                    changed()


def _follow(inotify: "Inotify", directories: Callable[[], Iterable[Path]]) -> None:
    """Watch all directories that exist now, and repeat this until none has appeared in the meantime.

    A directory may have been replaced by another one of the same name; watching the same one again has no effect.
    """
    watched: set[Path] = set()
    while (wanted := {path for path in directories() if path.is_dir()}) != watched:
        watched = wanted
        for directory in sorted(wanted):
            _add(inotify, directory)


def _add(inotify: "Inotify", directory: Path) -> None:
    from asyncinotify import Mask  # noqa: PLC0415 - as above

    try:
        inotify.add_watch(directory, Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.ONLYDIR)
    except OSError as error:
        # Other errors mean that the directory was removed in the meantime, or cannot be read; the rest can be watched.
        if error.errno in LIMITS_REACHED:
            raise
