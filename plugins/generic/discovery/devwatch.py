"""Which directories to watch for files that appear and disappear."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from hub import Host, sorted_entries
from plugins.generic.discovery.files import has_wildcard, is_without_devices

DEV = "/dev"

_MAX_DEPTH, _MAX_DIRECTORIES = 5, 1000


def dev_directories(host: Host) -> Iterator[str]:
    """Return /dev and the directories of device files in it."""
    pending, seen = [DEV], 0
    while pending and seen < _MAX_DIRECTORIES:
        directory = pending.pop(0)
        seen += 1
        yield directory
        if directory.count("/") >= _MAX_DEPTH:
            continue
        for path in sorted_entries(host.path(directory)):
            inside = f"{directory}/{path.name}"
            if path.is_dir() and not path.is_symlink() and not is_without_devices(inside):
                pending.append(inside)


def watched_directories(host: Host, patterns: Iterable[str]) -> set[Path]:
    """Return the directories in which a change can affect what the patterns match, as paths in this process."""
    directories = set(dev_directories(host))
    for pattern in patterns:
        if pattern.startswith(f"{DEV}/"):
            continue
        parent = PurePosixPath(pattern).parent
        if has_wildcard(str(parent)):
            directories.update(str(path) for path in host.glob(str(parent)) if host.path(path).is_dir())
        while has_wildcard(str(parent)) or not host.path(parent).is_dir():
            parent = parent.parent
        directories.add(str(parent))
    return {host.path(directory) for directory in directories}
