"""Intel's XPU Manager daemon as clients see it: its socket, on which it streams the health of GPUs."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Self

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE, METHOD = "deviceinfo.DeviceInfo", "WatchDeviceHealth"

_TYPES = descriptor_pb2.FieldDescriptorProto
_MESSAGES: Mapping[str, Sequence[tuple[int, str, str]]] = {
    "DeviceHealthResponse": [(1, "devices", "*DeviceHealth")],
    "DeviceHealth": [(1, "info", "DeviceInformation"), (2, "health", "*HealthStatus")],
    "DeviceInformation": [(1, "uuid", ""), (2, "model", ""), (3, "pci", "PciInfo")],
    "PciInfo": [(1, "bdf", ""), (2, "device_id", ""), (3, "vendor_id", "")],
    "HealthStatus": [(1, "name", ""), (2, "severity", "int"), (3, "reason", ""), (4, "message", "")],
}
"""The messages of the API, version v1alpha1: the number, the name and the type of each field, by default text."""


class Severity(IntEnum):
    """The severity of a state."""

    UNKNOWN = 0
    OK = 1
    WARNING = 2
    CRITICAL = 3
    FAILED = 4


Health = Sequence[tuple[str, Severity, str]]
"""The name of a part of a GPU, the severity of its state, and the reason."""


def response(health: Mapping[str, Health]) -> bytes:
    """Encode the health of GPUs, by PCI address."""
    message = _response_class()()
    for pci, parts in health.items():
        device = message.devices.add()
        device.info.model = "Intel(R) Graphics"
        device.info.pci.bdf = pci
        for name, severity, reason in parts:
            device.health.add(name=name, severity=severity, reason=reason, message=f"{name} is {severity.name}")
    return bytes(message.SerializeToString())


class Xpumd:
    """The daemon, on a socket.

    Args:
        socket: The path of its socket.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._server: grpc.aio.Server | None = None
        self._response = response({})
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        method = grpc.unary_stream_rpc_method_handler(self._watch)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
        self._server.add_insecure_port(f"unix://{self.socket}")
        await self._server.start()

    async def stop(self) -> None:
        """End all streams, and stop listening."""
        if self._server:
            await self._server.stop(None)
            self._server = None
        self.socket.unlink(missing_ok=True)

    async def report(self, health: Mapping[str, Health]) -> None:
        """Send the health of these GPUs to all clients that watch now, and to others once they begin to watch."""
        await self.send(response(health))

    async def send(self, message: bytes) -> None:
        """Send any bytes as a message."""
        async with self._changed:
            self._response = message
            self._changed.notify_all()

    async def _watch(self, _: bytes, __: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        while True:
            sent = self._response
            yield sent
            async with self._changed:
                while self._response is sent:
                    await self._changed.wait()


def _response_class() -> type:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="deviceinfo.proto", package="deviceinfo", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            scalar = {"": _TYPES.TYPE_STRING, "int": _TYPES.TYPE_INT32}.get(kind)
            message.field.add(
                name=field,
                number=number,
                label=_TYPES.LABEL_REPEATED if kind.startswith("*") else _TYPES.LABEL_OPTIONAL,
                type=_TYPES.TYPE_MESSAGE if scalar is None else scalar,
                type_name=f".deviceinfo.{kind.removeprefix('*')}" if scalar is None else None,
            )
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("deviceinfo.DeviceHealthResponse"))
