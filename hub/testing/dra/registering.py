"""The registration of one driver: the kubelet calls the socket in plugins_registry (operation_generator.go)."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc.aio

from hub.kubelet.channel import CHANNEL_OPTIONS, unix_target
from hub.kubelet.wire import pluginregistration_pb2 as wire
from hub.kubelet.wire.pluginregistration_pb2_grpc import RegistrationStub
from hub.testing.dra.connection import chosen_service
from hub.testing.dra.drivers import Drivers
from hub.testing.dra.model import DraError, DraOptions, DriverRegistration

if TYPE_CHECKING:
    from hub.kubelet.wire.pluginregistration_pb2_grpc import RegistrationAsyncStub

_TYPE = "DRAPlugin"
_DIAL_TIMEOUT, _NOTIFY_TIMEOUT = 10.0, 5.0
_PREFIX = "RegisterPlugin error -- "


class Registrar:
    """Registers drivers, one call after another.

    Args:
        options: The kubelet's options.
        drivers: Where drivers are added.
        noted: Receives each attempt.
        start: Which start of the kubelet this is.
    """

    def __init__(
        self, options: DraOptions, drivers: Drivers, noted: Callable[[DriverRegistration], None], start: int
    ) -> None:
        self._options = options
        self._drivers = drivers
        self._noted = noted
        self._start = start

    async def register(self, path: str) -> tuple[str, str]:
        """Register the driver whose socket this is, and return its name and its endpoint.

        Raises:
            DraError: the registration failed; the driver is notified if it responds.
        """
        info = wire.PluginInfo()
        error = "the kubelet has stopped"
        try:
            async with grpc.aio.insecure_channel(unix_target(path), options=_OPTIONS) as channel:
                stub = RegistrationStub(channel)
                await _dial(channel, path)
                info = await self._info(stub, path)
                await self._accept(stub, info, path)
            error = ""
        except DraError as failure:
            error = str(failure)
            raise
        finally:
            self._noted(DriverRegistration(path, info.name, info.endpoint, self._start, time.monotonic(), error))
        return info.name, info.endpoint

    async def _info(self, stub: "RegistrationAsyncStub", path: str) -> wire.PluginInfo:
        try:
            info = await stub.GetInfo(wire.InfoRequest(), timeout=self._options.info_timeout)
        except grpc.aio.AioRpcError as error:
            words = f"failed to get plugin info using RPC GetInfo at socket {path}, err: {_go_error(error)}"
            raise DraError(f"{_PREFIX}{words}") from None
        info.endpoint = info.endpoint or path
        return info

    async def _accept(self, stub: "RegistrationAsyncStub", info: wire.PluginInfo, path: str) -> None:
        """Add the driver, and notify it.

        Raises:
            DraError: it was refused, or cannot be notified.
        """
        versions = list(info.supported_versions)
        if info.type != _TYPE:
            await self._refuse(stub, f"no handler registered for plugin type: {info.type} at socket {path}")
        try:
            chosen_service(info.name, info.endpoint, versions)
        except DraError as error:
            await self._refuse(stub, f"plugin validation failed with err: {error}")
        try:
            self._drivers.add(info.name, info.endpoint, versions)
        except DraError as error:
            await self._refuse(stub, f"plugin registration failed with err: {error}")
        try:
            await _notify(stub, wire.RegistrationStatus(plugin_registered=True))
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            self._drivers.remove(info.name, info.endpoint)
            if isinstance(error, asyncio.CancelledError):
                raise
            words = f"failed to send registration status at socket {path}, err: {_go_error(error)}"
            raise DraError(f"{_PREFIX}{words}") from None

    async def _refuse(self, stub: "RegistrationAsyncStub", words: str) -> None:
        """Report to a driver why it is not registered.

        Raises:
            DraError: always.
        """
        text = f"{_PREFIX}{words}"
        try:
            await _notify(stub, wire.RegistrationStatus(plugin_registered=False, error=text))
        except grpc.aio.AioRpcError as error:
            raise DraError(f"{text}: {_go_error(error)}") from None
        raise DraError(text)


_OPTIONS: tuple[tuple[str, int | str], ...] = (("grpc.default_authority", "localhost"), *CHANNEL_OPTIONS)


async def _dial(channel: grpc.aio.Channel, path: str) -> None:
    try:
        async with asyncio.timeout(_DIAL_TIMEOUT):
            await channel.channel_ready()
    except TimeoutError:
        words = f"dial failed at socket {path}, err: failed to dial socket {path}, err: context deadline exceeded"
        raise DraError(f"{_PREFIX}{words}") from None


async def _notify(stub: "RegistrationAsyncStub", status: wire.RegistrationStatus) -> None:
    await stub.NotifyRegistrationStatus(status, timeout=_NOTIFY_TIMEOUT)


def _go_error(error: grpc.aio.AioRpcError) -> str:
    name = "Canceled" if error.code() is grpc.StatusCode.CANCELLED else error.code().name.title().replace("_", "")
    return f"rpc error: code = {name} desc = {error.details()}"
