"""Watch device files: they show that a driver was loaded, or a GPU plugged in or divided."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from hub import Host
from plugins.intel.discovery.gpus import BY_PATH, DEV, DRI


def watch_device_files(host: Host, changed: Callable[[], None]) -> None:
    """Call `changed` whenever a file of a GPU is created or removed; never return.

    Args:
        host: The node's file system.
        changed: What to call.
    """
    if not host.path(DEV).is_dir():
        # Nothing to watch; the periodic scans find new devices.
        threading.Event().wait()
    # Imported here: only the plugin process needs it.
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - see above

    mask = Mask.CREATE | Mask.DELETE | Mask.MOVE
    with Inotify() as inotify:
        inotify.add_watch(host.path(DEV), mask)
        while True:
            # The directories come and go with the GPUs; a second watch of the same one has no effect.
            for directory in (DRI, BY_PATH):
                with suppress(FileNotFoundError):
                    inotify.add_watch(host.path(directory), mask)
            # For changes before the watches were in place, too.
            changed()
            _wait_for_event(inotify, host.path(DRI))


class _Event(Protocol):
    @property
    def path(self) -> Path | None: ...


def _wait_for_event(events: Iterable[_Event], directory: Path) -> None:
    """Return on the first event that concerns a directory, or anything in it."""
    for event in events:
        if event.path is None or directory in (event.path, *event.path.parents):
            return
