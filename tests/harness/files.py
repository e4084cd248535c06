"""Files of tests."""

import errno
import shutil
from pathlib import Path


def remove_tree(directory: Path) -> None:
    """Remove a directory in which running processes may create and remove files at the same time."""
    while directory.exists():
        try:
            shutil.rmtree(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise
