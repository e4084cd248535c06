"""Before a container starts, check that no other process holds memory on its GPU.

The check runs in a separate process (see `hub.reset`). It changes nothing on the GPU: the driver frees the memory of
a process when it exits.
"""

import re
import time
from pathlib import Path
from typing import Any

import msgspec

from hub import Host, ResetDevice, ResetFailed
from plugins.amd.discovery.kfd import gpu_ids
from plugins.amd.reset.processes import processes_on
from plugins.amd.reset.settings import CheckSettings

_POLL = 0.1
"""Seconds between checks; KFD does not report the end of a process."""


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - CheckSettings as decoded from JSON
    """Wait until no other process holds memory on a GPU.

    Raises:
        ResetFailed: a process still does, so the container must not start; or the GPU no longer exists.
    """
    settings = msgspec.convert(settings, CheckSettings)
    if device.broken:
        raise ResetFailed(f"{device.broken}; the check before a container starts cannot fix this")
    host = Host(device.host_root)
    gpu_id = _gpu_id(host, device)
    end = time.monotonic() + settings.timeout
    while found := list(processes_on(host, gpu_id, settings.memory_slack)):
        if time.monotonic() >= end:
            names = "; ".join(found)
            raise ResetFailed(f"other processes hold memory on the GPU: {names}, even after {settings.timeout:g} s")
        time.sleep(_POLL)


def _gpu_id(host: Host, device: ResetDevice) -> int:
    """Return KFD's number for a GPU. Unlike the device files, it can change when cards are partitioned."""
    names = (re.fullmatch("renderD([0-9]{1,9})", Path(node).name) for node in device.nodes)
    minors = [int(name[1]) for name in names if name]
    found = list(gpu_ids(host, minors).values())
    if len(found) != 1:
        files = ", ".join(device.nodes)
        raise ResetFailed(f"cannot determine which processes use it: KFD lists {len(found)} GPUs with {files}")
    return found[0]
