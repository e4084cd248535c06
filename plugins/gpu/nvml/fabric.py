"""The state of a GPU on the NVLink fabric, to which it is connected through NVSwitches."""

import ctypes
from typing import Any

import pynvml

from plugins.gpu.nvml.calls import Nvml, NvmlError

_STATES = {
    pynvml.NVML_GPU_FABRIC_STATE_NOT_STARTED: "has not started: is NVIDIA's fabric manager running?",
    pynvml.NVML_GPU_FABRIC_STATE_IN_PROGRESS: "is in progress",
}

_FLAGS = {
    pynvml.NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW: "its bandwidth is reduced",
    pynvml.NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_RECOVERY: "a route is being restored",
    pynvml.NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_UNHEALTHY: "a route is faulty",
    pynvml.NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ACCESS_TIMEOUT_RECOVERY: "it is recovering from an access that timed out",
}
"""Each flag has two bits, at this position: 1 means true, 2 false, 0 not supported."""

_TRUE = 1

_CONFIGURATIONS = {
    2: "the system's GUID is wrong",
    3: "the chassis' serial number is wrong",
    4: "it is not in any partition",
    5: "it has too few NVLinks",
    6: "the GPU's firmware is not compatible",
    7: "the GPU is at the wrong location",
    8: "the GPU's state is not valid",
}
"""NVML_GPU_FABRIC_HEALTH_MASK_INCORRECT_CONFIGURATION_*; 0 and 1 mean none."""

_SUMMARIES = {
    pynvml.NVML_GPU_FABRIC_HEALTH_SUMMARY_UNHEALTHY: "the driver reports it as unhealthy",
    pynvml.NVML_GPU_FABRIC_HEALTH_SUMMARY_LIMITED_CAPACITY: "its capacity is limited",
}


def read_fabric(nvml: Nvml, handle: Any) -> Any:  # noqa: ANN401 - NVML's handle and structure
    """Read a GPU's fabric information: version 3 since driver 580, 2 since 550, 1 before; None if there is none.

    Raises:
        NvmlError: the GPU does not answer.
    """
    for kind, version in (
        (pynvml.c_nvmlGpuFabricInfo_v3_t, pynvml.nvmlGpuFabricInfo_v3),
        (pynvml.c_nvmlGpuFabricInfo_v2_t, pynvml.nvmlGpuFabricInfo_v2),
    ):
        info = kind()
        info.version = version
        try:
            if nvml.attempt("nvmlDeviceGetGpuFabricInfoV", handle, ctypes.byref(info)):
                return info
        except NvmlError as error:
            # A driver that does not know the version may answer this.
            if error.code != pynvml.NVML_ERROR_INVALID_ARGUMENT:
                raise
    info = pynvml.c_nvmlGpuFabricInfo_t()
    return info if nvml.attempt("nvmlDeviceGetGpuFabricInfo", handle, ctypes.byref(info)) else None


def fabric_state(info: Any) -> str:  # noqa: ANN401 - NVML's structure
    """Return why CUDA cannot start on the GPU; empty if it can, or if there is no fabric."""
    if info.state in _STATES:
        return f"the registration with the NVLink fabric {_STATES[info.state]}"
    if info.state == pynvml.NVML_GPU_FABRIC_STATE_COMPLETED and info.status != pynvml.NVML_SUCCESS:
        return f"the registration with the NVLink fabric failed: {pynvml.NVMLError(info.status)}"
    return ""


def fabric_health(info: Any) -> str:  # noqa: ANN401 - NVML's structure
    """Return what is wrong with the GPU's connection to the fabric; empty if nothing is."""
    if info.state != pynvml.NVML_GPU_FABRIC_STATE_COMPLETED:
        return ""
    mask = getattr(info, "healthMask", 0)
    words = [text for shift, text in _FLAGS.items() if mask >> shift & 3 == _TRUE]
    configuration = (
        mask >> pynvml.NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_INCORRECT_CONFIGURATION
        & pynvml.NVML_GPU_FABRIC_HEALTH_MASK_WIDTH_INCORRECT_CONFIGURATION
    )
    if configuration > 1:
        words.append(_CONFIGURATIONS.get(configuration, f"configuration error {configuration}"))
    if not words and (summary := _SUMMARIES.get(getattr(info, "healthSummary", 0))):
        words.append(summary)
    return f"its NVLink fabric: {', '.join(words)}" if words else ""
