"""Check that a GPU is unused: no process runs on it, and its memory is free."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from hub import ResetFailed, process_name
from plugins.gpu.nvml.calls import NvmlError
from plugins.gpu.nvml.reading import memory_info
from plugins.gpu.reset.output import say
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.reset.target import Target

_POLL = 0.05
"""Seconds between checks; NVML does not report the end of a process."""

_LISTS = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v2"),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2"),
)
"""The functions that list the processes on a device: for each kind of process, one for new and one for old drivers."""


def require_unused(target: Target, settings: ResetSettings) -> None:
    """Wait until the device is unused.

    Raises:
        ResetFailed: the device is still in use; the text names the processes.
    """
    end = time.monotonic() + settings.timeout
    while why := _usage(target, settings.memory_slack):
        if time.monotonic() > end:
            raise ResetFailed(f"{why}, even after {settings.timeout:g} s")
        time.sleep(_POLL)
    if memory_info(target.nvml, target.handle) is None:
        say("memory in use was not checked, the driver does not report the memory of this GPU")


def _usage(target: Target, slack: int) -> str:
    processes = "; ".join(_processes(target))
    if processes:
        return f"other processes are using the GPU: {processes}"
    memory = memory_info(target.nvml, target.handle)
    if memory and memory.used > slack:
        return f"{memory.used >> 20} MiB of its memory is in use (at most {slack >> 20} on an unused GPU)"
    return ""


def _processes(target: Target) -> Iterator[str]:
    # A process with both compute and graphics work is in two of the lists.
    pids = {process.pid: None for functions in _LISTS for process in _listed(target, functions)}
    for pid in pids:
        yield f"process {pid} ({_name(target, pid)})"


def _listed(target: Target, functions: Iterable[str]) -> Iterable[Any]:
    answers = (target.nvml.ask(function, target.handle) for function in functions)
    return next((answer for answer in answers if answer is not None), ())


def _name(target: Target, pid: int) -> str:
    """Return a process's name from /proc, or from the driver, which also knows processes in other PID namespaces."""
    if name := process_name(target.paths.host, pid):
        return name
    try:
        return str(target.nvml.call("nvmlSystemGetProcessName", pid))
    except NvmlError:
        return "unknown"
