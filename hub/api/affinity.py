"""Hints on what a plugin has just allocated, so that other plugins can prefer devices close to it.

The kubelet allocates the resources of one container one after another. When a plugin records what it has just
allocated, the next plugin can prefer devices nearby. This is only a hint: it may be old, belong to another container,
or be missing.
"""

import time
from collections.abc import Sequence

import msgspec

from hub.api.runtime import Runtime
from hub.base.jsonfile import read_file, replace_file
from hub.base.untrusted import UnreadableError

HINT_NAME = "allocated.json"

MAX_AGE = 2.0
"""Seconds for which a hint is taken to belong to the container being admitted; the kubelet needs only milliseconds."""


class AllocationHint(msgspec.Struct, frozen=True):
    """The devices that a plugin allocated to a container.

    Args:
        time: The time of the allocation, on the node's monotonic clock.
        pci: The PCI addresses of the devices.
    """

    time: float
    pci: tuple[str, ...]


def write_allocation_hint(runtime: Runtime, pci: Sequence[str]) -> None:
    """Record what the plugin has just allocated; do nothing if there is no run directory.

    Raises:
        OSError: the file cannot be written.
    """
    if runtime:
        replace_file(runtime.node_path(HINT_NAME), AllocationHint(time.monotonic(), tuple(pci)))


def read_allocation_hint(runtime: Runtime, plugin: str) -> AllocationHint | None:
    """Return what another plugin has just allocated, or None."""
    if not runtime:
        return None
    try:
        hint = read_file(runtime.node_path(HINT_NAME, plugin=plugin), AllocationHint)
    except UnreadableError:
        return None
    return hint if hint and 0 <= time.monotonic() - hint.time <= MAX_AGE else None
