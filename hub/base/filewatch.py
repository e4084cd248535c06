"""Waits for changes of files in a directory, also for the end of processes that hold files open."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from hub.base.errors import HubError

if TYPE_CHECKING:
    from asyncinotify import Inotify

LIMITS_REACHED = {errno.EMFILE, errno.ENOSPC}
"""Errors of inotify if other processes of the node have used up its instances or watches; each user has few of them."""

RAISE_LIMITS = "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches"

_RECHECK = 0.02
"""Seconds from an event until one more look: the kernel reports that a file was closed before it releases its locks."""


async def closed_files(directory: Path) -> AsyncIterator[None]:
    """Yield soon after a process has closed a file in a directory that it could write, or has exited with it open.

    Each change is seen; it may be yielded more than once.

    Raises:
        HubError: the directory cannot be watched.
    """
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - needed by processes that wait for files only

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
