"""The GPU or MIG device that is to be reset."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml

from hub import ResetFailed
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.calls import MISSING, Nvml, NvmlError
from plugins.gpu.nvml.library import preload

_AMPERE = 8


class Target:
    """A device, and what can be asked of it.

    Args:
        nvml: The driver.
        paths: Where the driver's files are.
        uuid: Which device.
    """

    def __init__(self, nvml: Nvml, paths: DriverPaths, uuid: str) -> None:
        self.nvml = nvml
        self.paths = paths
        self.uuid = uuid
        self.handle: Any = nvml.call("nvmlDeviceGetHandleByUUID", uuid)
        self.is_mig = uuid.startswith("MIG-")

    def reset_blocked(self) -> str:
        """Why the GPU cannot be reset alone; empty when it can.

        GPUs that NVLink connects directly are only reset all together; those on an NVSwitch can be since the Ampere
        generation (documentation of nvidia-smi, --gpu-reset).
        """
        if self.is_mig:
            return "a MIG device is a part of a GPU that others may be using"
        if self._links_to(pynvml.NVML_NVLINK_DEVICE_TYPE_GPU):
            return "NVLink connects it directly with other GPUs, which would have to be reset with it"
        generation, _ = self.nvml.call("nvmlDeviceGetCudaComputeCapability", self.handle)
        if generation < _AMPERE and self._links_to(pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH):
            return "on an NVSwitch, GPUs of its generation are only reset all together"
        return ""

    def _links_to(self, kind: int) -> bool:
        for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
            try:
                if not self.nvml.call("nvmlDeviceGetNvLinkState", self.handle, link):
                    continue
                if self.nvml.call("nvmlDeviceGetNvLinkRemoteDeviceType", self.handle, link) == kind:
                    return True
            except NvmlError as error:
                if error.code in MISSING or error.code == pynvml.NVML_ERROR_INVALID_ARGUMENT:
                    return False
                raise
        return False


@contextmanager
def open_target(paths: DriverPaths, uuid: str) -> Iterator[Target]:
    """A device, in a session with the driver of its own.

    Raises:
        ResetFailed: the driver or the device does not answer, now or while it is used.
    """
    nvml = Nvml()
    preload(paths)
    try:
        nvml.call("nvmlInit")
        yield Target(nvml, paths, uuid)
        nvml.call("nvmlShutdown")
    except NvmlError as error:
        raise ResetFailed(f"the driver does not do what it is asked ({error})") from error
