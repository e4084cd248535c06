"""The kubelet's plugin directory, which must remain the same one."""

import contextlib
import os
from pathlib import Path


class SocketDir:
    """Notices that the directory was removed, or replaced by a new one.

    A mount keeps showing a directory that was removed, and never shows the new one: no kubelet can reach a socket in
    it, and waiting does not help.

    Args:
        path: The directory; it may appear later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: int | None = None

    def replaced(self) -> bool:
        """Return whether the path no longer leads to the directory that was first seen."""
        if self._opened is None:
            with contextlib.suppress(OSError):
                # Kept open, so that its inode number, which distinguishes it from a new directory, is not used again.
                self._opened = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
            return False
        opened = os.fstat(self._opened)
        try:
            return opened.st_nlink == 0 or not os.path.samestat(opened, self.path.stat())
        except OSError:
            return True
