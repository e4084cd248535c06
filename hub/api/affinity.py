"""Devices that are close to each other, and to those of other plugins: NUMA nodes, and allocation hints.

The kubelet allocates the resources of one container one after another. The hub records what a plugin has just
allocated, if the plugin names the kind of its devices, and another plugin can prefer devices nearby. This is only a
hint: it may be old, belong to another container, or be missing.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from hub.api.device import Device
from hub.api.runtime import Runtime
from hub.base.jsonfile import read_file, replace_file
from hub.base.nodedir import NODE_DIR
from hub.base.untrusted import UnreadableError

HINT_NAME = "allocated.json"

MAX_AGE = 2.0
"""Seconds for which a hint is taken to belong to the container being admitted; the kubelet needs only milliseconds."""


class AllocationHint(msgspec.Struct, frozen=True):
    """The devices that a plugin allocated to a container.

    Args:
        time: The time of the allocation, on the node's monotonic clock.
        pci: The PCI addresses of the devices.
        kind: The kind of the devices, such as "gpu".
    """

    time: float
    pci: tuple[str, ...]
    kind: str = ""


def write_allocation_hint(runtime: Runtime, kind: str, pci: Sequence[str]) -> None:
    """Record what a plugin has just allocated; do nothing if there is no run directory.

    Raises:
        OSError: the file cannot be written.
    """
    if runtime:
        replace_file(runtime.node_path(HINT_NAME), AllocationHint(time.monotonic(), tuple(pci), kind))


def read_allocation_hint(runtime: Runtime, kind: str) -> AllocationHint | None:
    """Return the latest allocation of any plugin with devices of this kind; None if there is none, or it is too old."""
    if not runtime:
        return None
    hints = map(_read, Path(runtime.run_dir, NODE_DIR).glob(f"*.{HINT_NAME}"))
    fresh = [hint for hint in hints if hint and hint.kind == kind and 0 <= time.monotonic() - hint.time <= MAX_AGE]
    return max(fresh, key=lambda hint: hint.time, default=None)


def _read(path: Path) -> AllocationHint | None:
    try:
        return read_file(path, AllocationHint)
    except UnreadableError:
        return None


def best_numa_nodes(devices: Iterable[Device], size: int) -> set[int]:
    """Return the NUMA node from which to choose devices for a container; none if no device has one.

    Of the nodes with enough hardware, it is the one with the least, so that the devices of the other nodes stay
    together; if no node has enough, it is the one with the most. Shares of one physical device count once.

    Args:
        devices: The devices that can be chosen.
        size: How many are wanted.
    """
    hardware: dict[int, set[str]] = {}
    for device in devices:
        for node in device.numa:
            hardware.setdefault(node, set()).add(device.physical or device.id)
    if not hardware:
        return set()
    enough = {node: len(found) for node, found in hardware.items() if len(found) >= size}
    if enough:
        return {min(enough, key=lambda node: (enough[node], node))}
    return {max(hardware, key=lambda node: (len(hardware[node]), -node))}
