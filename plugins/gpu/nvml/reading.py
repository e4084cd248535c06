"""Read a GPU and its MIG devices from the driver."""

import re
from collections.abc import Iterator
from typing import Any

import pynvml

from hub import UnreadableError, read_number, read_text
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Engines, Gpu, MigDevice
from plugins.gpu.nvml.calls import Nvml, NvmlError

_NO_SUCH_MIG = {pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT}
_LISTED = "/proc/driver/nvidia/gpus/*/information"
"""The kernel module's own list: a file for each GPU, with lines such as "Device Minor: 0"."""

_PROFILE = re.compile(r"(?:(\d+)c\.)?(\d+)g\.(\d+)gb")


def read_gpu(nvml: Nvml, paths: DriverPaths, handle: Any, index: int) -> Gpu:  # noqa: ANN401 - NVML's handle
    """Read everything about a GPU except its health.

    Raises:
        NvmlError: the GPU does not answer.
    """
    uuid = nvml.call("nvmlDeviceGetUUID", handle)
    pci, minor = _location(nvml, paths, handle, uuid)
    memory = memory_info(nvml, handle)
    capability = nvml.ask("nvmlDeviceGetCudaComputeCapability", handle)
    mode = nvml.ask("nvmlDeviceGetMigMode", handle)
    mig = bool(mode and mode[0])
    return Gpu(
        uuid=uuid,
        index=index,
        minor=minor,
        name=nvml.call("nvmlDeviceGetName", handle),
        pci=pci,
        memory=memory.total if memory else None,
        numa=read_number(paths.host.path(f"/sys/bus/pci/devices/{pci}/numa_node")) if pci else None,
        compute_capability=tuple(capability) if capability else None,
        mig=mig,
        migs=tuple(_read_migs(nvml, handle)) if mig else (),
        mig_capable=mode is not None,
    )


def memory_info(nvml: Nvml, handle: Any) -> Any:  # noqa: ANN401 - NVML's handle and structure
    """Read a GPU's memory; None if unknown.

    Version 1, for drivers before 510, counts the memory that the driver reserves as used, or not at all. A GPU that
    shares the memory of the CPU supports neither.
    """
    versioned = nvml.ask("nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2)
    return versioned or nvml.ask("nvmlDeviceGetMemoryInfo", handle)


def _location(nvml: Nvml, paths: DriverPaths, handle: Any, uuid: str) -> tuple[str, int | None]:  # noqa: ANN401 - NVML's handle
    """Read the PCI address and minor number, from the kernel module if NVML does not report them."""
    info = nvml.ask("nvmlDeviceGetPciInfo", handle)
    pci = sysfs_address(info.busId) if info else ""
    minor = nvml.ask("nvmlDeviceGetMinorNumber", handle)
    if pci and minor is not None:
        return pci, minor
    listed = _listed(paths, uuid)
    if not pci and "Bus Location" in listed:
        pci = sysfs_address(listed["Bus Location"])
    if minor is None and re.fullmatch("[0-9]{1,7}", listed.get("Device Minor", "")):
        minor = int(listed["Device Minor"])
    return pci, minor


def _listed(paths: DriverPaths, uuid: str) -> dict[str, str]:
    """Read what the kernel module's own list contains about a GPU; empty if it has no such GPU."""
    for path in paths.host.glob(_LISTED):
        try:
            text = read_text(paths.host.path(path))
        except UnreadableError:
            continue
        facts = dict(re.findall(r"^([^:\n]+):[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
        if facts.get("GPU UUID") == uuid:
            return facts
    return {}


def sysfs_address(bus_id: str | bytes) -> str:
    """Convert a PCI address to sysfs's form; NVML writes eight domain digits, in upper case."""
    text = bus_id.decode() if isinstance(bus_id, bytes) else bus_id
    domain, _, rest = text.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def _read_migs(nvml: Nvml, handle: Any) -> Iterator[MigDevice]:  # noqa: ANN401 - NVML's handle
    for index in range(nvml.ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        try:
            mig = nvml.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        except NvmlError as error:
            if error.code in _NO_SUCH_MIG:
                continue
            raise
        if mig is None:
            return
        # The driver names a MIG device after its GPU: "NVIDIA A100-SXM4-40GB MIG 1g.5gb".
        profile = nvml.call("nvmlDeviceGetName", mig).rpartition(" MIG ")[2]
        attributes = nvml.ask("nvmlDeviceGetAttributes", mig)
        gpu_slices, compute_slices, memory = _size(attributes, profile)
        yield MigDevice(
            uuid=nvml.call("nvmlDeviceGetUUID", mig),
            index=index,
            profile=profile,
            gpu_instance=nvml.call("nvmlDeviceGetGpuInstanceId", mig),
            compute_instance=nvml.call("nvmlDeviceGetComputeInstanceId", mig),
            gpu_slices=gpu_slices,
            compute_slices=compute_slices,
            memory=memory,
            engines=_engines(attributes),
        )


def _engines(attributes: Any) -> Engines | None:  # noqa: ANN401 - NVML's structure, None if there was no response
    if not attributes:
        return None
    return Engines(
        attributes.multiprocessorCount,
        copy=attributes.sharedCopyEngineCount,
        decoder=attributes.sharedDecoderCount,
        encoder=attributes.sharedEncoderCount,
        jpeg=attributes.sharedJpegCount,
        ofa=attributes.sharedOfaCount,
    )


def _size(attributes: Any, profile: str) -> tuple[int, int, int]:  # noqa: ANN401 - NVML's structure, as above
    """Return a MIG device's GPU slices, compute slices and memory; without a response, take them from its profile."""
    if attributes:
        sizes = attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount
        return *sizes, attributes.memorySizeMB << 20
    found = _PROFILE.match(profile)
    if found is None:
        return 0, 0, 0
    compute, gpu, gibibytes = found.groups()
    return int(gpu), int(compute or gpu), int(gibibytes) << 30
