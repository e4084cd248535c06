"""What a plugin gave to a container last, for other plugins that would give something close to it.

A kubelet asks for the resources of one container one after another. A plugin that writes down what it has just given
lets the next one prefer devices nearby. This is a hint and no more: it may be old, of another container, or not there.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hub.base.jsonfile import replace_file

FRESH = 2.0
"""Seconds for which a hint is of the container that is just being admitted; a kubelet takes milliseconds."""


class Given(msgspec.Struct, frozen=True):
    """What a container was given.

    Args:
        time: When, by the node's monotonic clock.
        pci: The PCI addresses of the devices.
    """

    time: float
    pci: tuple[str, ...]


def tell_given(plugin: str, pci: Sequence[str]) -> None:
    """Write down what a plugin has just given. Outside a hub there is nobody to tell.

    Raises:
        OSError: it cannot be written.
    """
    if path := _path(plugin):
        replace_file(path, Given(time.monotonic(), tuple(pci)))


def last_given(plugin: str) -> Given | None:
    """What another plugin has given, if that was just now."""
    path = _path(plugin)
    try:
        given = msgspec.json.decode(path.read_bytes(), type=Given) if path else None
    except (OSError, msgspec.DecodeError):
        return None
    return given if given and 0 <= time.monotonic() - given.time <= FRESH else None


def _path(plugin: str) -> Path | None:
    run_dir = os.environ.get("DPHUB_RUN_DIR")
    return Path(run_dir) / f"{plugin}.given.json" if run_dir else None
