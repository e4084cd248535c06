"""Faults in a GPU that answers."""

from collections.abc import Iterator
from typing import Any

import pynvml

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.nvml.calls import Nvml

_ACTIONS = {
    1: "a reset of the GPU",
    2: "a reboot of the node",
    3: "draining its peer-to-peer traffic",
    4: "draining its work and resetting it",
    5: "a recovery of the IMEX domain",
    6: "a reset of its PCIe bus",
    7: "a restart of the system",
}
"""nvmlDeviceGpuRecoveryAction_t."""


class Prober:
    """A prober of GPUs, which keeps their counters from one poll to the next."""

    def __init__(self, nvml: Nvml, paths: DriverPaths) -> None:
        self._nvml = nvml
        self._paths = paths
        self._uncorrected: dict[str, int] = {}

    def fault(self, handle: Any, gpu: Gpu) -> str:  # noqa: ANN401 - NVML's handle
        """Describe the faults in a GPU; empty if there are none. Checks that the card does not support are skipped.

        Raises:
            NvmlError: the GPU does not answer.
        """
        return "; ".join(self._faults(handle, gpu))

    def _faults(self, handle: Any, gpu: Gpu) -> Iterator[str]:  # noqa: ANN401 - NVML's handle
        yield from self._memory_faults(handle, gpu)
        yield from self._recovery_faults(handle)
        node = gpu.device_file
        # Without the driver's control node, this process does not see the node's device files at all.
        if node and self._paths.device("/dev/nvidiactl").exists() and not self._paths.device(node).exists():
            yield f"its device file is missing: {self._paths.device_on_node(node)}"

    def _memory_faults(self, handle: Any, gpu: Gpu) -> Iterator[str]:  # noqa: ANN401 - NVML's handle
        errors = self._nvml.ask(
            "nvmlDeviceGetTotalEccErrors",
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        )
        if errors is not None:
            # Reported once per increase: the recovery time starts then. A reset clears the counter.
            before, self._uncorrected[gpu.uuid] = self._uncorrected.get(gpu.uuid, errors), errors
            if errors > before:
                yield f"{errors - before} new uncorrectable memory errors (ECC)"
        rows = self._nvml.ask("nvmlDeviceGetRemappedRows", handle)
        if rows is not None and rows[3]:
            yield "faulty memory rows could not be replaced by spare ones (row remapping failed)"

    def _recovery_faults(self, handle: Any) -> Iterator[str]:  # noqa: ANN401 - NVML's handle
        values = self._nvml.ask("nvmlDeviceGetFieldValues", handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
        if values is None or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
            return
        action = values[0].value.uiVal
        if action:
            yield f"recovery requires {_ACTIONS.get(action, f'what NVML calls action {action}')}"
