"""The kubelet's plugin directory, which must stay the one that it was."""

import contextlib
import os
from pathlib import Path


class SocketDir:
    """Tells when the directory was removed or made anew.

    A mount goes on showing a directory that was removed and never the new one: no socket in it can be reached by a
    kubelet, and waiting does not help.

    Args:
        path: The directory; it may come later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: int | None = None

    def replaced(self) -> bool:
        """Whether it is not what it was when it was first seen."""
        if self._opened is None:
            with contextlib.suppress(OSError):
                # Held open, so that the number that tells it from the next one is not given away again.
                self._opened = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
            return False
        opened = os.fstat(self._opened)
        try:
            return opened.st_nlink == 0 or not os.path.samestat(opened, self.path.stat())
        except OSError:
            return True
