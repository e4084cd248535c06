"""Read directories on the node. A directory that does not exist counts as empty, and affects nothing else."""

import os
from pathlib import Path


def directories(directory: Path) -> list[Path]:
    """Return the directories in a directory, but not links to directories; none if it does not exist."""
    try:
        with os.scandir(directory) as found:
            return [directory / each.name for each in found if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def target(link: Path) -> Path | None:
    """Follow a link; return None if it leads nowhere, or to itself."""
    try:
        return Path(os.path.realpath(link, strict=True))
    except (OSError, ValueError):
        return None
