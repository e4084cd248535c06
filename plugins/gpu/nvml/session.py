"""One session with the driver, from nvmlInit to nvmlShutdown."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import structlog

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState, Gpu, Topology, Xid
from plugins.gpu.nvml.calls import GONE, LOST, MISMATCH, Nvml, NvmlError
from plugins.gpu.nvml.findings import Inspector
from plugins.gpu.nvml.listening import XidListener
from plugins.gpu.nvml.probing import Prober
from plugins.gpu.nvml.reading import read_gpu
from plugins.gpu.nvml.topology import read_topology


class Session:
    """A session with NVML while one driver is loaded.

    Args:
        nvml: The library.
        paths: Where the driver's files are.
        prober: Checks the GPUs' health.
        xids: Whether to listen for XIDs.

    Raises:
        NvmlError: there is no driver, or it refuses the session.
    """

    def __init__(self, nvml: Nvml, paths: DriverPaths, prober: Prober, *, xids: bool) -> None:
        self._nvml = nvml
        self._paths = paths
        self._prober = prober
        self._inspector = Inspector(nvml)
        nvml.call("nvmlInit")
        try:
            self._driver: str = nvml.call("nvmlSystemGetDriverVersion")
            cuda = nvml.ask("nvmlSystemGetCudaDriverVersion_v2") or 0
        except NvmlError:
            self.close()
            raise
        self._cuda = (cuda // 1000, cuda % 1000 // 10)
        self._xids = XidListener(nvml) if xids else None
        self._topology: Topology | None = None
        self._linked: set[str] = set()

    @property
    def listens(self) -> bool:
        """Whether the session receives XIDs of any GPU."""
        return self._xids is not None and self._xids.listens

    def poll(self, known: dict[str, Gpu], between: Callable[[], None]) -> DriverState:
        """Read the state of all GPUs.

        Args:
            known: The GPUs of earlier polls by UUID, for those that no longer answer.
            between: Called after each GPU: reading many takes a while, and XIDs should not wait for it.

        Raises:
            NvmlError: the session has ended.
        """
        answering: dict[str, tuple[Any, Gpu]] = {}
        unresponsive: dict[int, str] = {}
        for index in range(self._nvml.call("nvmlDeviceGetCount")):
            try:
                handle = self._nvml.call("nvmlDeviceGetHandleByIndex", index)
                gpu = read_gpu(self._nvml, self._paths, handle, index)
                answering[gpu.uuid] = handle, self._probed(handle, gpu)
            except NvmlError as error:
                if error.code in GONE or error.code == MISMATCH:
                    raise
                unresponsive[index] = _unanswered(error)
            between()
        lost, unknown = self._missing(known, answering, unresponsive)
        gpus = sorted((*self._compared(answering), *lost), key=lambda gpu: gpu.index)
        reason = "" if gpus or unknown else f"the NVIDIA driver {self._driver} finds no GPU"
        return DriverState(tuple(gpus), self._links(answering), self._driver, self._cuda, tuple(unknown), reason)

    def wait(self, milliseconds: int) -> Iterator[Xid]:
        """Wait for the next XIDs.

        Raises:
            NvmlError: no XID can be received until the next poll.
        """
        if self._xids is not None:
            yield from self._xids.wait(milliseconds)

    def close(self) -> None:
        """End the session; an error from a driver that is gone is only logged."""
        if self._xids is not None:
            self._xids.close()
        try:
            self._nvml.attempt("nvmlShutdown")
        except NvmlError as error:
            structlog.get_logger().debug("nvml shutdown failed", reason=str(error))

    def remember(self, state: DriverState) -> None:
        """Store the MIG devices that events may name."""
        if self._xids is not None:
            self._xids.remember(state.gpus)

    def _probed(self, handle: Any, gpu: Gpu) -> Gpu:  # noqa: ANN401 - NVML's handle
        gpu = gpu.with_fault(self._prober.fault(handle, gpu)).with_findings(self._inspector.inspect(handle, gpu))
        return self._xids.add(handle, gpu) if self._xids is not None else gpu

    def _compared(self, answering: dict[str, tuple[Any, Gpu]]) -> Iterator[Gpu]:
        found = self._inspector.compare(answering)
        for uuid, (_, gpu) in answering.items():
            yield gpu.with_findings([found[uuid]]) if uuid in found else gpu

    def _missing(
        self, known: dict[str, Gpu], answering: dict[str, tuple[Any, Gpu]], unresponsive: dict[int, str]
    ) -> tuple[list[Gpu], list[tuple[str, str]]]:
        """Find the GPUs behind indices that do not answer, and those that the driver no longer counts."""
        missing = {gpu.index: gpu for uuid, gpu in known.items() if uuid not in answering}
        missing = {index: gpu for index, gpu in missing.items() if not gpu.pci or self._is_on_bus(gpu)}
        lost, unknown = [], []
        for index, fault in unresponsive.items():
            if missing:
                # The GPU that had this index, or else the next: indices shift when a GPU disappears.
                gpu = missing.pop(index if index in missing else min(missing))
                lost.append(msgspec.structs.replace(gpu, index=index, fault=fault))
            else:
                unknown.append((f"gpu-index-{index}", fault))
        unknown += [
            (gpu.uuid, "the driver no longer lists it, although it is on the PCI bus")
            for gpu in missing.values()
            if gpu.pci
        ]
        return lost, unknown

    def _is_on_bus(self, gpu: Gpu) -> bool:
        bus = self._paths.host.path("/sys/bus/pci/devices")
        return (bus / gpu.pci).exists() or not bus.is_dir()

    def _links(self, answering: dict[str, tuple[Any, Gpu]]) -> Topology:
        """Read the topology if there is a new GPU; otherwise keep it."""
        if self._topology is None or not answering.keys() <= self._linked:
            self._topology = read_topology(self._nvml, answering)
            self._linked = set(answering)
        return self._topology


def _unanswered(error: NvmlError) -> str:
    what = "the GPU is lost" if error.code == LOST else "the GPU does not answer"
    return f"{what} ({error})"
