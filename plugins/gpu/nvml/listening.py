"""Receive the errors that the driver reports (XIDs) during a session."""

import ctypes
from collections.abc import Iterator
from typing import Any

import msgspec
import pynvml
import structlog

from plugins.gpu.discovery.facts import Gpu, Xid
from plugins.gpu.nvml.calls import ENDED, LOST, TIMEOUT, UNKNOWN, Nvml, NvmlError

_EVERYTHING = 0xFFFFFFFF
"""The instance of an event for the whole GPU."""


class XidListener:
    """A listener for the XIDs of each GPU that reports them.

    Args:
        nvml: The driver, in a session.
    """

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._supported = True
        """Whether the driver has events at all."""
        self._events: Any = None
        self._failure = ""
        """Why listening failed for all GPUs at the last attempt."""
        self._handles: dict[str, Any] = {}
        """The GPUs that are listened to, by UUID."""
        self._names: dict[int | None, str] = {}
        self._migs: dict[tuple[str, int, int], str] = {}

    @property
    def listens(self) -> bool:
        """Whether the session receives XIDs of any GPU."""
        return self._events is not None and bool(self._handles)

    def add(self, handle: Any, gpu: Gpu) -> Gpu:  # noqa: ANN401 - NVML's handle
        """Listen for a GPU's XIDs; return the GPU with any fault that prevents this, or marked as reporting none.

        Raises:
            NvmlError: the GPU, or the driver, is gone.
        """
        self._names[_address(handle)] = gpu.uuid
        try:
            listens = gpu.uuid in self._handles or self._register(handle, gpu.uuid)
        except NvmlError as error:
            if error.code in ENDED:
                raise
            return _unmonitored(gpu, str(error))
        if not listens:
            return msgspec.structs.replace(gpu, reports_xids=False)
        return _unmonitored(gpu, self._failure) if self._failure else gpu

    def remember(self, gpus: tuple[Gpu, ...]) -> None:
        """Store the MIG devices that events may name."""
        self._migs = {(gpu.uuid, mig.gpu_instance, mig.compute_instance): mig.uuid for gpu in gpus for mig in gpu.migs}

    def wait(self, milliseconds: int) -> Iterator[Xid]:
        """Wait for the next XIDs.

        Raises:
            NvmlError: no XID can be received until the next poll.
        """
        try:
            event = self._nvml.ask("nvmlEventSetWait_v2", self._events, milliseconds)
        except NvmlError as error:
            if error.code == TIMEOUT:
                self._failure = ""
                return
            # A lost GPU is reported by the poll, and the others can still be monitored.
            self._failure = "" if error.code == LOST else str(error)
            self._free()
            raise
        if event is None:
            self._supported = False
            self._free()
            return
        self._failure = ""
        if event.eventType & pynvml.nvmlEventTypeXidCriticalError:
            uuid = self._names.get(_address(event.device)) or self._nvml.call("nvmlDeviceGetUUID", event.device)
            yield from self._attributed(uuid, event)

    def close(self) -> None:
        """Stop listening; the end of the session alone does not release what the driver opened for this."""
        if self._events is not None:
            self._free()

    def _register(self, handle: Any, uuid: str) -> bool:  # noqa: ANN401 - NVML's handle
        """Listen for a GPU's XIDs; return whether the card and the driver report them."""
        if self._supported and self._events is None:
            self._events = self._nvml.ask("nvmlEventSetCreate")
            self._supported = self._events is not None
        types = self._nvml.ask("nvmlDeviceGetSupportedEventTypes", handle)
        wanted = pynvml.nvmlEventTypeXidCriticalError
        if not self._supported or not (wanted if types is None else types & wanted):
            return False
        try:
            listens = self._nvml.attempt("nvmlDeviceRegisterEvents", handle, wanted, self._events)
        except NvmlError as error:
            if error.code == UNKNOWN:
                self._renew()
            raise
        if listens:
            self._handles[uuid] = handle
        return listens

    def _renew(self) -> None:
        """Replace the event set, which is in an undefined state after an unknown error (NVML's documentation)."""
        handles = self._handles
        self._free()
        for uuid, handle in handles.items():
            try:
                self._events = self._events or self._nvml.ask("nvmlEventSetCreate")
                self._nvml.attempt(
                    "nvmlDeviceRegisterEvents", handle, pynvml.nvmlEventTypeXidCriticalError, self._events
                )
                self._handles[uuid] = handle
            except NvmlError as error:
                structlog.get_logger().debug("gpu not monitored", gpu=uuid, reason=str(error))

    def _free(self) -> None:
        """Stop listening until the next poll, which starts listening again."""
        try:
            self._nvml.attempt("nvmlEventSetFree", self._events)
        except NvmlError as error:
            structlog.get_logger().debug("event set not freed", reason=str(error))
        self._events = None
        self._handles = {}

    def _attributed(self, uuid: str, event: Any) -> Iterator[Xid]:  # noqa: ANN401 - NVML's event
        code = int(event.eventData)
        if event.gpuInstanceId == _EVERYTHING:
            yield Xid(uuid, code)
            return
        instances = {event.computeInstanceId} - {_EVERYTHING}
        for (gpu, gpu_instance, compute_instance), mig in self._migs.items():
            if (gpu, gpu_instance) == (uuid, event.gpuInstanceId) and instances <= {compute_instance}:
                yield Xid(uuid, code, mig)


def _unmonitored(gpu: Gpu, why: str) -> Gpu:
    return gpu.with_fault(f"its errors (XIDs) cannot be monitored: {why}")


def _address(handle: Any) -> int | None:  # noqa: ANN401 - NVML's handle
    return ctypes.cast(handle, ctypes.c_void_p).value
