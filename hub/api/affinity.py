"""What a plugin allocated last, for other plugins that prefer devices close to those.

A kubelet asks for the resources of one container one after another. A plugin that writes down what it has just
allocated lets the next one prefer devices nearby. This is a hint and no more: it may be old, of another container, or
missing.
"""

import time
from collections.abc import Sequence

import msgspec

from hub.api.runtime import Runtime
from hub.base.jsonfile import replace_file

HINT_NAME = "allocated.json"

MAX_AGE = 2.0
"""Seconds for which a hint is of the container that is just being admitted; a kubelet takes milliseconds."""


class AllocationHint(msgspec.Struct, frozen=True):
    """What a container was given.

    Args:
        time: When, by the node's monotonic clock.
        pci: The PCI addresses of the devices.
    """

    time: float
    pci: tuple[str, ...]


def write_allocation_hint(runtime: Runtime, pci: Sequence[str]) -> None:
    """Write down what the plugin has just allocated; without a run directory, do nothing.

    Raises:
        OSError: the file cannot be written.
    """
    if runtime:
        replace_file(runtime.node_path(HINT_NAME), AllocationHint(time.monotonic(), tuple(pci)))


def read_allocation_hint(runtime: Runtime, plugin: str) -> AllocationHint | None:
    """What another plugin has allocated, if that was just now."""
    if not runtime:
        return None
    try:
        hint = msgspec.json.decode(runtime.node_path(HINT_NAME, plugin=plugin).read_bytes(), type=AllocationHint)
    except (OSError, msgspec.DecodeError):
        return None
    return hint if 0 <= time.monotonic() - hint.time <= MAX_AGE else None
