"""The cgroups of a node, inside those of this machine."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def control_groups(name: str) -> Iterator[list[Path]]:
    """Create a cgroup in each hierarchy, and remove them with everything that a node has created in them."""
    groups = [place / name for place in _places()]
    for group in groups:
        group.mkdir()
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # With version 1, a new cgroup has no CPUs and no memory nodes, and so cannot have processes.
            if (group.parent / setting).exists():
                (group / setting).write_text((group.parent / setting).read_text())
    try:
        yield groups
    finally:
        for group in groups:
            remove(group)


def remove(group: Path, seconds: float = 30) -> None:
    """Remove a cgroup and those below it as soon as their last processes have exited."""
    end = time.monotonic() + seconds
    for directory, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                Path(directory).rmdir()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


def _places() -> Iterator[Path]:
    """Yield the parents of the new cgroups: the cgroups of this process, so that its limits apply."""
    hierarchies = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    version_1 = {names.removeprefix("name="): path for _, names, path in hierarchies if names}
    if not version_1:
        # A cgroup with processes cannot have children with controllers, but the root cgroup can.
        yield Path("/sys/fs/cgroup")
    for names, path in version_1.items():
        yield Path(f"/sys/fs/cgroup/{names}{path}")
