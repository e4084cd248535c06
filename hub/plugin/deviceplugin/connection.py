"""A plugin's connection to the kubelet for one resource: a call that registers it, and the stream that follows."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.base.notifier import Notifier
from hub.base.sockets import KubeletIdentity, kubelet_identity
from hub.kubelet.registration import KubeletUnavailable, RegistrationRejected, register
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.kubeletcalls import KubeletCalls
from hub.plugin.deviceplugin.server import MAX_STREAMS, SETTLE, DevicePluginServer

CONFIRM_TIMEOUT = 5.0
"""Maximum seconds from the kubelet's response to its stream, which normally follows at once."""

SWITCH = 0.3
"""Seconds from a registration until all of the kubelet's calls arrive on the connection of the new stream."""

QUIET = 0.5
"""Seconds to wait for an allocation; if none has begun by then, none is likely to begin at just that moment."""

ALREADY_CONNECTED = "already connected"
"""Part of the response from kubelet 1.37 and later if it has not yet seen the end of an earlier stream from the
socket's path. In that case, it never sees that end (devicemanager/manager.go)."""

RegistrationError = tuple[RegistrationStatus, str]
"""The status of a resource that the kubelet did not accept, and why."""


class KubeletConnection:
    """The connection of one resource.

    Args:
        resource: The resource's name.
        server: Serves the resource.
        kubelet_socket: Where the kubelet listens.
        options: What the plugin can do. The kubelet asks again when it calls back, and uses that response.
        calls: The kubelet's calls.
        notifier: Notified when something that is awaited here may have changed.

    Attributes:
        is_registering: Whether a registration is in progress, or waits for its turn.
    """

    def __init__(
        self,
        resource: str,
        server: DevicePluginServer,
        kubelet_socket: Path,
        options: wire.DevicePluginOptions,
        *,
        calls: KubeletCalls,
        notifier: Notifier,
    ) -> None:
        self.is_registering = False
        self._resource = resource
        self._server = server
        self._kubelet_socket = kubelet_socket
        self._options = options
        self._calls = calls
        self._notifier = notifier
        self._path_is_used = False

    @property
    def is_open(self) -> bool:
        """Whether there is a kubelet, and its stream is open."""
        return self._server.streams.kubelet_connected and self.kubelet() is not None

    @property
    def any_open(self) -> bool:
        """Whether any stream of the kubelet is open."""
        return self._server.streams.any_open

    @property
    def is_disconnected(self) -> bool:
        """Whether the kubelet has closed its latest stream, but not all: it would not notice the end of the others."""
        return self._server.streams.last_ended_first

    def kubelet(self) -> KubeletIdentity | None:
        """Return the kubelet that listens now; None if there is none."""
        return kubelet_identity(self._kubelet_socket)

    async def open(self, kubelet: KubeletIdentity) -> RegistrationError | None:
        """Register, and wait for the kubelet's stream; return None if the kubelet has opened it.

        Raises:
            OSError: another name for the socket cannot be created.
        """
        with self._endpoint() as socket:
            error = await self.register(kubelet, socket) or await self._confirm(kubelet)
        self._path_is_used = error is not None and ALREADY_CONNECTED in error[1]
        return error

    async def register(self, kubelet: KubeletIdentity, socket: Path) -> RegistrationError | None:
        """Call the kubelet, as long as it is still the same one; return None if it has accepted."""
        call = asyncio.ensure_future(register(self._kubelet_socket, kubelet, socket, self._resource, self._options))
        call.add_done_callback(lambda _: self._notifier.notify())
        try:
            await self._notifier.wait_for(lambda: call.done() or self.is_over(kubelet))
            if not call.done():
                return RegistrationStatus.WAITING, "the kubelet disappeared before it answered"
            call.result()
        except KubeletUnavailable as error:
            return RegistrationStatus.WAITING, str(error)
        except RegistrationRejected as error:
            return RegistrationStatus.REJECTED, str(error)
        else:
            return None
        finally:
            # Wait until the call ends: while pending, it could reach the next kubelet, as a second registration.
            call.cancel()
            await asyncio.wait([call])

    async def end_surplus(self, kubelet: KubeletIdentity) -> bool:
        """Close all streams but the last, right after a registration, if there are many; return whether any was closed.

        When the first of them ends, kubelet 1.37 and later may make the next call on another one that is about to end.
        So the streams are closed while the kubelet is waiting for a response on the last one.
        """
        if not self._server.streams.are_many:
            return False
        await self._notifier.wait_for(lambda: self.is_lost(kubelet), SWITCH)
        async with self._calls.held(QUIET) as are_answered:
            return are_answered and await self.end_old_streams(kubelet)

    async def end_old_streams(self, kubelet: KubeletIdentity | None, limit: int = MAX_STREAMS) -> bool:
        """Close at most this many streams, but not the last, and give the kubelet time to notice.

        A detached kubelet before 1.37 does nothing then. A later one may call any hub, until the next registration.

        Returns:
            Whether any stream was closed.
        """
        if kubelet is None or not self._server.streams.end_replaced(limit):
            return False
        await self._notifier.wait_for(lambda: self.is_lost(kubelet), SETTLE)
        return True

    async def settle(self) -> None:
        """Wait until all streams may end at the same time, because the kubelet has handled the last list.

        A kubelet before 1.37 disconnects the plugin when any of its streams ends. If it handles a list after that, the
        devices are healthy again, and the end of the list's own stream changes nothing: they stay healthy, although
        there is no plugin.
        (Kubelet, devicemanager/plugin/v1beta1/handler.go, runClient.)
        """
        streams, kubelet = self._server.streams, self.kubelet()
        if kubelet and (seconds := streams.unsettled_seconds):
            await self._notifier.wait_for(lambda: streams.last_ended_first or self.is_over(kubelet), seconds)

    def is_over(self, kubelet: KubeletIdentity) -> bool:
        """Return whether this round is over: the kubelet has changed or is gone, or none can reach the socket."""
        return self.kubelet() != kubelet or not self._server.reachable

    def is_lost(self, kubelet: KubeletIdentity) -> bool:
        """Return whether the stream is closed, or open but useless. A kubelet without its socket is still running."""
        is_replaced = self.kubelet() not in (kubelet, None) or not self._server.reachable
        return is_replaced or not self._server.streams.kubelet_connected

    @contextmanager
    def _endpoint(self) -> Iterator[Path]:
        """Yield the path at which the kubelet is to connect to the socket: a new one if it is already connected."""
        if not self._server.streams.opened and not self._path_is_used:
            yield self._server.path
            return
        with self._server.another_name() as path:
            yield path

    async def _confirm(self, kubelet: KubeletIdentity) -> RegistrationError | None:
        """Wait for the kubelet's stream; return None if the kubelet has opened it, even if it was closed since."""
        streams = self._server.streams
        await self._notifier.wait_for(lambda: not streams.is_awaited or self.is_over(kubelet), CONFIRM_TIMEOUT)
        if not streams.is_awaited and not self.is_over(kubelet):
            return None
        return RegistrationStatus.REJECTED, "the kubelet accepted, but did not open its stream"
