"""Files of tests."""

import errno
import os
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


def put(path: Path, content: bytes | str | None) -> None:
    """Replace whatever is at a path with a file of these bytes, a link to this path, or (for None) a pipe."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        os.mkfifo(path)
    elif isinstance(content, str):
        path.symlink_to(content)
    else:
        path.write_bytes(content)
