"""Watch device files: they show that a driver was loaded, or a GPU plugged in or reset."""

import threading
from collections.abc import Callable

from plugins.gpu.discovery.driverpaths import DriverPaths


def watch_device_files(paths: DriverPaths, changed: Callable[[], None]) -> None:
    """Call `changed` whenever an NVIDIA device file is created or removed; never return.

    Args:
        paths: Where the files are.
        changed: What to call.
    """
    directory = paths.device("/dev")
    if not directory.is_dir():
        # Nothing to watch; the periodic scans find new devices.
        threading.Event().wait()
    # Imported here: only the plugin process needs it.
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - see above

    with Inotify() as inotify:
        inotify.add_watch(directory, Mask.CREATE | Mask.DELETE | Mask.MOVE)
        # For changes before the watch was in place.
        changed()
        for event in inotify:
            if event.name is not None and event.name.name.startswith("nvidia"):
                changed()
