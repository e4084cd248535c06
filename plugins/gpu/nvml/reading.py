"""Read a GPU and its MIG devices from the driver."""

import re
from collections.abc import Iterator
from typing import Any

import pynvml

from hub import UnreadableError, read_text
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu, MigDevice
from plugins.gpu.nvml.calls import Nvml, NvmlError

_NO_SUCH_MIG = {pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT}
_MEMORY_V2 = pynvml.nvmlMemory_v2


def read_gpu(nvml: Nvml, paths: DriverPaths, handle: Any, index: int) -> Gpu:  # noqa: ANN401 - NVML's handle
    """Read everything about a GPU except its health.

    Raises:
        NvmlError: it does not answer.
    """
    pci = sysfs_address(nvml.call("nvmlDeviceGetPciInfo", handle).busId)
    mode = nvml.ask("nvmlDeviceGetMigMode", handle)
    mig = bool(mode and mode[0])
    return Gpu(
        uuid=nvml.call("nvmlDeviceGetUUID", handle),
        index=index,
        minor=nvml.call("nvmlDeviceGetMinorNumber", handle),
        name=nvml.call("nvmlDeviceGetName", handle),
        pci=pci,
        memory=nvml.call("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2).total,
        numa=_numa_node(paths, pci),
        compute_capability=tuple(nvml.call("nvmlDeviceGetCudaComputeCapability", handle)),
        mig=mig,
        migs=tuple(_read_migs(nvml, handle)) if mig else (),
    )


def sysfs_address(bus_id: str | bytes) -> str:
    """Convert a PCI address to that of sysfs; NVML writes eight domain digits, in upper case."""
    text = bus_id.decode() if isinstance(bus_id, bytes) else bus_id
    domain, _, rest = text.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def _numa_node(paths: DriverPaths, pci: str) -> int | None:
    """Read the NUMA node from sysfs, where a negative number means none."""
    try:
        text = read_text(paths.host.path(f"/sys/bus/pci/devices/{pci}/numa_node")).strip()
    except UnreadableError:
        return None
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _read_migs(nvml: Nvml, handle: Any) -> Iterator[MigDevice]:  # noqa: ANN401 - NVML's handle
    for index in range(nvml.call("nvmlDeviceGetMaxMigDeviceCount", handle)):
        try:
            mig = nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        except NvmlError as error:
            if error.code in _NO_SUCH_MIG:
                continue
            raise
        attributes = nvml.call("nvmlDeviceGetAttributes", mig)
        yield MigDevice(
            uuid=nvml.call("nvmlDeviceGetUUID", mig),
            index=index,
            # The driver names a MIG device after its GPU: "NVIDIA A100-SXM4-40GB MIG 1g.5gb".
            profile=nvml.call("nvmlDeviceGetName", mig).rpartition(" MIG ")[2],
            gpu_instance=nvml.call("nvmlDeviceGetGpuInstanceId", mig),
            compute_instance=nvml.call("nvmlDeviceGetComputeInstanceId", mig),
            gpu_slices=attributes.gpuInstanceSliceCount,
            compute_slices=attributes.computeInstanceSliceCount,
            memory=attributes.memorySizeMB << 20,
        )
