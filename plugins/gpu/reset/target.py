"""The GPU or MIG device to reset."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml

from hub import ResetFailed
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.calls import Nvml, NvmlError
from plugins.gpu.nvml.library import load_library

_AMPERE = 8


class Target:
    """A device in a session with the driver.

    Args:
        nvml: The driver.
        paths: Where the driver's files are.
        uuid: The device's UUID.
    """

    def __init__(self, nvml: Nvml, paths: DriverPaths, uuid: str) -> None:
        self.nvml = nvml
        self.paths = paths
        self.uuid = uuid
        self.handle: Any = nvml.call("nvmlDeviceGetHandleByUUID", uuid)
        self.is_mig = uuid.startswith("MIG-")

    def reset_blocked(self) -> str:
        """Return why the GPU cannot be reset individually; empty if it can.

        GPUs connected directly by NVLink can only be reset together; those on an NVSwitch can be reset individually
        since the Ampere generation (documentation of nvidia-smi, --gpu-reset).
        """
        if self.is_mig:
            return "it is a MIG device, and other containers may be using the rest of its GPU"
        if self._links_to(pynvml.NVML_NVLINK_DEVICE_TYPE_GPU):
            return "it is connected to other GPUs directly by NVLink, and they can only be reset together"
        generation, _ = self.nvml.ask("nvmlDeviceGetCudaComputeCapability", self.handle) or (_AMPERE, 0)
        if generation < _AMPERE and self._links_to(pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH):
            return "it is on an NVSwitch, where GPUs before the Ampere generation can only be reset together"
        return ""

    def _links_to(self, kind: int) -> bool:
        for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
            try:
                active = self.nvml.ask("nvmlDeviceGetNvLinkState", self.handle, link)
                if active is None:
                    return False
                if active and self.nvml.ask("nvmlDeviceGetNvLinkRemoteDeviceType", self.handle, link) == kind:
                    return True
            except NvmlError as error:
                if error.code == pynvml.NVML_ERROR_INVALID_ARGUMENT:
                    return False
                raise
        return False


@contextmanager
def open_target(paths: DriverPaths, uuid: str) -> Iterator[Target]:
    """Open a device in a new session with the driver.

    Raises:
        ResetFailed: the driver or the device fails, now or during the session.
    """
    nvml = Nvml()
    load_library(paths)
    try:
        nvml.call("nvmlInit")
        yield Target(nvml, paths, uuid)
        nvml.call("nvmlShutdown")
    except NvmlError as error:
        raise ResetFailed(f"the NVIDIA driver failed: {error}") from error
