"""Device files that come and go: the sign of a driver that is loaded, of a GPU that is plugged in or reset."""

import threading
from collections.abc import Callable

from plugins.gpu.discovery.driverpaths import DriverPaths


def watch_device_files(places: DriverPaths, changed: Callable[[], None]) -> None:
    """Call `changed` whenever an NVIDIA device file is made or removed; for ever.

    Args:
        places: Where the files are.
        changed: What to call.
    """
    directory = places.device("/dev")
    if not directory.is_dir():
        # Nothing to watch; the scans on a period find what comes.
        threading.Event().wait()
    # Imported here: nothing else that uses this package needs it.
    from asyncinotify import Inotify, Mask  # noqa: PLC0415 - see above

    with Inotify() as inotify:
        inotify.add_watch(directory, Mask.CREATE | Mask.DELETE | Mask.MOVE)
        # What happened before the watch stood.
        changed()
        for event in inotify:
            if event.name is not None and event.name.name.startswith("nvidia"):
                changed()
