"""The names of everything in /dev."""

from collections.abc import Iterator

from hub import Host, sorted_entries
from plugins.generic.discovery.devwatch import DEV, dev_directories

MAX_NAMES = 20_000
"""The maximum number of names; a node with a thousand disks has a tenth of that."""


def dev_names(host: Host) -> Iterator[str]:
    """Return the paths below /dev of all files and directories, apart from those that any user can create."""
    seen = 0
    for directory in dev_directories(host):
        for path in sorted_entries(host.path(directory)):
            seen += 1
            if seen > MAX_NAMES:
                return
            if path.name.isprintable():
                yield f"{directory}/{path.name}".removeprefix(f"{DEV}/")
