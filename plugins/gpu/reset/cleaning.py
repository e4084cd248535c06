"""Restore the default settings of a GPU, which a container may have changed."""

from collections.abc import Callable, Mapping

import pynvml

from plugins.gpu.nvml.calls import MISSING, NvmlError
from plugins.gpu.reset.output import say
from plugins.gpu.reset.target import Target


def clean(target: Target) -> None:
    """Restore all settings, and log those that the card lacks. Persistence mode belongs to the node and is kept.

    Raises:
        NvmlError: a setting could not be restored.
    """
    if target.is_mig:
        say("clocks, compute mode and counters belong to the whole GPU and are not changed")
        return
    for what, step in _STEPS.items():
        try:
            step(target)
        except NvmlError as error:
            if error.code not in MISSING:
                raise
            say(f"{what}: skipped, because the card or the driver does not support it")


def _call(function: str, *args: object) -> Callable[[Target], None]:
    return lambda target: target.nvml.call(function, target.handle, *args)


def _default_power(target: Target) -> None:
    default = target.nvml.call("nvmlDeviceGetPowerManagementDefaultLimit", target.handle)
    if target.nvml.call("nvmlDeviceGetPowerManagementLimit", target.handle) != default:
        target.nvml.call("nvmlDeviceSetPowerManagementLimit", target.handle, default)


def _clear_counters(target: Target) -> None:
    """Clear the ECC counters, and log them first."""
    counts = {
        name: target.nvml.call("nvmlDeviceGetTotalEccErrors", target.handle, kind, pynvml.NVML_VOLATILE_ECC)
        for name, kind in (
            ("corrected", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ("uncorrected", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        )
    }
    if any(counts.values()):
        text = ", ".join(f"{count} {name}" for name, count in counts.items())
        say(f"ECC counters cleared; errors since they were last cleared: {text}")
        target.nvml.call("nvmlDeviceClearEccErrorCounts", target.handle, pynvml.NVML_VOLATILE_ECC)


_STEPS: Mapping[str, Callable[[Target], None]] = {
    "compute mode": _call("nvmlDeviceSetComputeMode", pynvml.NVML_COMPUTEMODE_DEFAULT),
    "GPU clocks": _call("nvmlDeviceResetGpuLockedClocks"),
    "memory clocks": _call("nvmlDeviceResetMemoryLockedClocks"),
    "application clocks": _call("nvmlDeviceResetApplicationsClocks"),
    "power limit": _default_power,
    "accounting": _call("nvmlDeviceClearAccountingPids"),
    "ECC counters": _clear_counters,
}
