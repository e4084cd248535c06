"""One session with the driver, from nvmlInit to nvmlShutdown."""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pynvml
import structlog

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState, Gpu, Topology
from plugins.gpu.nvml.calls import GONE, LOST, MISMATCH, MISSING, TIMEOUT, Nvml, NvmlError
from plugins.gpu.nvml.probing import Prober
from plugins.gpu.nvml.reading import read_gpu
from plugins.gpu.nvml.topology import read_topology

_EVERYTHING = 0xFFFFFFFF
"""The instance that an event names when it concerns the whole GPU."""


class Xid(msgspec.Struct, frozen=True):
    """An error that the driver reports."""

    gpu: str
    """The GPU's UUID."""
    code: int
    mig: str = ""
    """The MIG device's UUID, where the report names one."""


class Session:
    """NVML while one driver is loaded.

    Args:
        nvml: The library.
        places: Where the driver's files are.
        prober: Looks after the GPUs' health.
        xids: Whether anybody wants to hear of XIDs.

    Raises:
        NvmlError: there is no driver, or it does not want us.
    """

    def __init__(self, nvml: Nvml, places: DriverPaths, prober: Prober, *, xids: bool) -> None:
        self._nvml = nvml
        self._places = places
        self._prober = prober
        self._xids = xids
        nvml.call("nvmlInit")
        try:
            self._driver: str = nvml.call("nvmlSystemGetDriverVersion")
            cuda = nvml.call("nvmlSystemGetCudaDriverVersion_v2")
        except NvmlError:
            self.close()
            raise
        self._cuda = (cuda // 1000, cuda % 1000 // 10)
        self._events: Any = None
        self._deaf = ""
        """Why no XID at all was heard when it was last tried."""
        self._monitored: dict[str, str] = {}
        """By UUID, why its XIDs are not heard; empty when they are."""
        self._names: dict[int | None, str] = {}
        self._migs: dict[tuple[str, int, int], str] = {}
        self._topology: Topology | None = None
        self._linked: set[str] = set()

    @property
    def listens(self) -> bool:
        """Whether there is anything to wait for."""
        return self._events is not None and "" in self._monitored.values()

    def poll(self, known: dict[str, Gpu], between: Callable[[], None]) -> DriverState:
        """What the driver knows now.

        Args:
            known: The GPUs of earlier looks by UUID, for those that do not answer any more.
            between: Called after each GPU: to ask many takes a while, and XIDs should not wait for it.

        Raises:
            NvmlError: the session is over.
        """
        answering: dict[str, tuple[Any, Gpu]] = {}
        silent: dict[int, str] = {}
        for index in range(self._nvml.call("nvmlDeviceGetCount")):
            try:
                handle = self._nvml.call("nvmlDeviceGetHandleByIndex", index)
                gpu = read_gpu(self._nvml, self._places, handle, index)
                answering[gpu.uuid] = handle, self._probed(handle, gpu)
            except NvmlError as error:
                if error.code in GONE or error.code == MISMATCH:
                    raise
                silent[index] = _unanswered(error)
            between()
        lost, unknown = self._missing(known, answering, silent)
        gpus = sorted((*(gpu for _, gpu in answering.values()), *lost), key=lambda gpu: gpu.index)
        reason = "" if gpus or unknown else f"the NVIDIA driver {self._driver} has no GPU"
        return DriverState(tuple(gpus), self._links(answering), self._driver, self._cuda, tuple(unknown), reason)

    def wait(self, milliseconds: int) -> Iterator[Xid]:
        """The next XIDs, if there are any within the time.

        Raises:
            NvmlError: nothing can be heard until the next look.
        """
        try:
            event = self._nvml.call("nvmlEventSetWait_v2", self._events, milliseconds)
        except NvmlError as error:
            if error.code != TIMEOUT:
                self._stop_listening(error)
                raise
            event = None
        self._deaf = ""
        if event is not None:
            uuid = self._names.get(_address(event.device)) or self._nvml.call("nvmlDeviceGetUUID", event.device)
            yield from self._attributed(uuid, event)

    def close(self) -> None:
        """End the session; a driver that is gone need not agree."""
        try:
            self._nvml.call("nvmlShutdown")
        except NvmlError as error:
            structlog.get_logger().debug("nvml shutdown failed", reason=str(error))

    def remember(self, view: DriverState) -> None:
        """The MIG devices that events may name."""
        self._migs = {
            (gpu.uuid, mig.gpu_instance, mig.compute_instance): mig.uuid for gpu in view.gpus for mig in gpu.migs
        }

    def _probed(self, handle: Any, gpu: Gpu) -> Gpu:  # noqa: ANN401 - NVML's handle
        fault = self._prober.fault(handle, gpu)
        self._names[_address(handle)] = gpu.uuid
        deaf = self._monitor(handle, gpu.uuid) if self._xids else ""
        return msgspec.structs.replace(gpu, fault="; ".join(part for part in (fault, deaf) if part))

    def _monitor(self, handle: Any, uuid: str) -> str:  # noqa: ANN401 - NVML's handle
        """Listen to a GPU's XIDs; why that is not possible, where it is not."""
        if self._events is None:
            self._events = self._nvml.call("nvmlEventSetCreate")
            self._monitored.clear()
        if self._monitored.get(uuid) != "":
            try:
                self._nvml.call("nvmlDeviceRegisterEvents", handle, pynvml.nvmlEventTypeXidCriticalError, self._events)
                self._monitored[uuid] = ""
            except NvmlError as error:
                if error.code in GONE or error.code in {LOST, MISMATCH}:
                    raise
                self._monitored[uuid] = "the card reports none" if error.code in MISSING else str(error)
        why = self._monitored[uuid] or self._deaf
        return f"nobody watches its errors: XIDs cannot be heard ({why})" if why else ""

    def _stop_listening(self, error: NvmlError) -> None:
        """Until the next look, which begins to listen anew."""
        # A GPU that is lost says so itself, and the others can be heard without it.
        self._deaf = "" if error.code == LOST else str(error)
        try:
            self._nvml.call("nvmlEventSetFree", self._events)
        except NvmlError as unfreed:
            structlog.get_logger().debug("event set not freed", reason=str(unfreed))
        self._events = None

    def _attributed(self, uuid: str, event: Any) -> Iterator[Xid]:  # noqa: ANN401 - NVML's event
        code = int(event.eventData)
        if event.gpuInstanceId == _EVERYTHING:
            yield Xid(uuid, code)
            return
        instances = {event.computeInstanceId} - {_EVERYTHING}
        for (gpu, gpu_instance, compute_instance), mig in self._migs.items():
            if (gpu, gpu_instance) == (uuid, event.gpuInstanceId) and instances <= {compute_instance}:
                yield Xid(uuid, code, mig)

    def _missing(
        self, known: dict[str, Gpu], answering: dict[str, tuple[Any, Gpu]], silent: dict[int, str]
    ) -> tuple[list[Gpu], list[tuple[str, str]]]:
        """Who is behind the indices that do not answer, and who is not counted any more."""
        missing = {gpu.index: gpu for uuid, gpu in known.items() if uuid not in answering}
        missing = {index: gpu for index, gpu in missing.items() if self._is_on_bus(gpu)}
        lost, unknown = [], []
        for index, fault in silent.items():
            if missing:
                # The one that had this index, or else the next: indices move up when a GPU goes.
                gpu = missing.pop(index if index in missing else min(missing))
                lost.append(msgspec.structs.replace(gpu, index=index, fault=fault))
            else:
                unknown.append((f"gpu-index-{index}", fault))
        unknown += [
            (gpu.uuid, "the driver does not list it any more, and it is on the bus") for gpu in missing.values()
        ]
        return lost, unknown

    def _is_on_bus(self, gpu: Gpu) -> bool:
        bus = self._places.host.path("/sys/bus/pci/devices")
        return (bus / gpu.pci).exists() or not bus.is_dir()

    def _links(self, answering: dict[str, tuple[Any, Gpu]]) -> Topology:
        """Read when a GPU is there for the first time; otherwise it stays as it was."""
        if self._topology is None or not answering.keys() <= self._linked:
            self._topology = read_topology(self._nvml, answering)
            self._linked = set(answering)
        return self._topology


def _address(handle: Any) -> int | None:  # noqa: ANN401 - NVML's handle
    return ctypes.cast(handle, ctypes.c_void_p).value


def _unanswered(error: NvmlError) -> str:
    what = "the GPU is lost" if error.code == LOST else "the GPU does not answer"
    return f"{what} ({error})"
