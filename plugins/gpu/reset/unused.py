"""Whether a GPU is free: nobody computes on it, and the memory of who did is back."""

import time
from collections.abc import Iterator

import pynvml

from hub import ResetFailed
from plugins.gpu.nvml.calls import NvmlError
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.reset.target import Target

_POLL = 0.05
"""Seconds between two looks; NVML reports no end of a process."""


def require_unused(target: Target, settings: ResetSettings) -> None:
    """Wait for a short while until the device is free.

    Raises:
        ResetFailed: it is not; the text names the holders.
    """
    end = time.monotonic() + settings.timeout
    while why := _occupied(target, settings.memory_slack):
        if time.monotonic() > end:
            raise ResetFailed(f"{why}, and was for {settings.timeout:g} s")
        time.sleep(_POLL)


def _occupied(target: Target, slack: int) -> str:
    holders = "; ".join(_holders(target))
    if holders:
        return f"somebody else is on it: {holders}"
    used = target.nvml.call("nvmlDeviceGetMemoryInfo", target.handle, pynvml.nvmlMemory_v2).used
    if used > slack:
        return f"{used >> 20} MiB of its memory are in use (at most {slack >> 20} are on a free one)"
    return ""


def _holders(target: Target) -> Iterator[str]:
    for function in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses"):
        for process in target.nvml.ask(function, target.handle) or ():
            yield f"process {process.pid} ({_name(target, process.pid)})"


def _name(target: Target, pid: int) -> str:
    """A process's name, from the node or from the driver; who runs in another pid namespace is seen by the driver."""
    own = target.paths.host.path(f"/proc/{pid}/comm")
    try:
        return own.read_text().strip()
    except OSError:
        try:
            return str(target.nvml.call("nvmlSystemGetProcessName", pid))
        except NvmlError:
            return "unknown"
