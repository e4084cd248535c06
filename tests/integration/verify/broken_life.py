"""Plugins that break the rules about their life cycle: registration, restarts, robustness and the end."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import grpc.aio

from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import KubeletIdentity
from hub.testing.scripted import refuse
from tests.integration.verify.model import SLOW, ModelPlugin, breaks

# Registration.


@breaks("registers")
class _Silent(ModelPlugin):
    async def announce(self) -> None:
        pass


@breaks("api-version")
class _OldVersion(ModelPlugin):
    version = "v1alpha"


@breaks("resource-name")
class _NoDomain(ModelPlugin):
    resource = "model"


@breaks("endpoint-name")
class _Path(ModelPlugin):
    async def announce(self) -> None:
        await self.register(endpoint=str(self.directory / self.socket))


@breaks("serves-before-registering")
class _RegistersFirst(ModelPlugin):
    async def renew(self) -> None:
        await self.close()

    async def announce(self) -> None:
        with suppress(grpc.aio.AioRpcError):
            await self.register()
        await super().renew()


@breaks("options-answered")
class _NoOptions(ModelPlugin):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.on_options = refuse(grpc.StatusCode.UNIMPLEMENTED, "method not implemented")


# Restarts of the kubelet.


@breaks("kubelet-restart")
class _RegistersOnce(ModelPlugin):
    def is_over(self, kubelet: KubeletIdentity) -> bool:
        del kubelet
        return False


@breaks("kubelet-crash")
class _WaitsForAbsence(ModelPlugin):
    """A plugin that registers again only after the kubelet's socket has been missing for a while."""

    _missing = 0

    def is_over(self, kubelet: KubeletIdentity) -> bool:
        del kubelet
        self._missing = 0 if (self.directory / KUBELET_SOCKET).exists() else self._missing + 1
        return self._missing > 20


@breaks("quick-return")
class _Hesitates(ModelPlugin):
    async def announce(self) -> None:
        await asyncio.sleep(SLOW)
        await super().announce()


@breaks("registers-once")
class _RegistersTwice(ModelPlugin):
    async def announce(self) -> None:
        await super().announce()
        await super().announce()


# Robustness.


@breaks("survives-garbage")
class _EndsAtGarbage(ModelPlugin):
    """A plugin that stops its server after a client that does not speak HTTP/2."""

    async def renew(self) -> None:
        self.socket = "behind.sock"
        await super().renew()
        (self.directory / self.name).unlink(missing_ok=True)
        self._front = await asyncio.start_unix_server(self._forward, self.directory / self.name)

    async def announce(self) -> None:
        await self.register(endpoint=self.name)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begin = await reader.read(1000)
        if not begin.startswith(b"PRI * HTTP/2.0"):
            writer.close()
            self._front.close()
            return
        behind, before = await asyncio.open_unix_connection(self.directory / self.socket)
        before.write(begin)
        await asyncio.gather(_copy(reader, before), _copy(behind, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(10_000):
            writer.write(data)
    writer.close()


@breaks("socket-deleted")
class _IgnoresItsSocket(ModelPlugin):
    def is_unreachable(self) -> bool:
        return False


@breaks("socket-replaced")
class _LooksForAFile(ModelPlugin):
    def is_unreachable(self) -> bool:
        return not (self.directory / self.socket).exists()


@breaks("directory-emptied")
class _KeepsAFile(ModelPlugin):
    """A plugin that keeps a file in the directory, and does not work without it."""

    _written = False

    async def renew(self) -> None:
        path = self.directory / "model.state"
        if not self._written:
            path.touch()
            self._written = True
        if path.exists():
            await super().renew()
        else:
            await self.close()


@breaks("directory-replaced")
class _Mounted(ModelPlugin):
    """A plugin that keeps seeing the directory in which it was started, as through a mount."""

    def __init__(self, directory: Path) -> None:
        super().__init__(Path(f"/proc/self/fd/{os.open(directory, os.O_PATH)}"))


# The end. These two run as processes.


@breaks("stops-on-sigterm")
class _IgnoresSigterm(ModelPlugin):
    async def run(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await super().run()


@breaks("removes-socket")
class _LeavesItsSocket(ModelPlugin):
    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
        await super().run()
