"""Keeps one resource registered with the kubelet, across all kubelet restarts.

The states of a resource, and the next state of each:

    waiting       no kubelet.sock, or nothing listens on it     -> registering, when a kubelet listens
    registering   asked; the kubelet calls back, then answers   -> registered, rejected or waiting
    registered    the kubelet's stream is open                  -> registering, when stream, socket or kubelet is gone
    rejected      the kubelet rejected the resource             -> registering, after a delay or on request
    socket taken  another process is serving on our socket      -> waiting, when that process is gone
    superseded    a newer hub is serving the resource           -> waiting, when that hub is gone
    invalid       no kubelet accepts the resource's name; `report` sets this state, such a resource has no registrar

Each round serves on a socket without streams before it registers. Old streams have to end first, since a kubelet
disconnects by name: a stream that ends late takes the new registration with it. For the same reason a registration
counts only once the kubelet has opened its stream, and as long as the stream stays open.

What other hubs mean for this, in a rolling upgrade, is in `handover`.
"""

import asyncio
import time
from enum import Enum
from pathlib import Path

from hub.base.log import get_logger
from hub.base.notifier import Notifier
from hub.base.sockets import KubeletIdentity, kubelet_identity
from hub.base.statusfile import StatusFile
from hub.kubelet.registration import KubeletUnavailable, RegistrationRejected, register
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.handover import Handover, RegistrationError
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership

CONFIRM_TIMEOUT = 5.0
"""Maximum seconds from the kubelet's answer to its stream, which normally follows at once."""

STEADY = 10.0
"""Seconds after which a stream counts as stable; after one that ended sooner the next try waits longer."""

SETTLE = 1.0
"""Seconds from the removal of another hub's socket until the kubelet sees its stream end."""

DETACH_TIMEOUT = 3.0
"""Seconds that a newer hub has to serve a resource after the start of a kubelet, before an older one registers it."""

RETRY_FIRST, RETRY_SILENT, RETRY_REJECTED = 0.05, 1.0, 30.0
"""Seconds between tries: initial, and maximum for a kubelet that does not answer and for one that rejects."""

_LEVELS = {
    RegistrationStatus.WAITING: "info",
    RegistrationStatus.REGISTERING: "debug",
    RegistrationStatus.REGISTERED: "info",
    RegistrationStatus.REJECTED: "warning",
    RegistrationStatus.SOCKET_TAKEN: "error",
    RegistrationStatus.SUPERSEDED: "info",
}


class _Next(Enum):
    """What follows a registration."""

    PAUSE = "the kubelet has closed its stream, or is gone"
    SAME_SOCKET = "an older hub is gone: register once more on the same socket"
    FRESH_SOCKET = "a newer hub came and went: register on a socket without streams"


class Registrar:
    """The state machine above, for one resource.

    Args:
        resource: The resource's name.
        server: Serves the resource.
        kubelet_socket: Where the kubelet listens.
        options: What the plugin can do. The kubelet asks again when it calls back, and believes that answer.
        notifier: Wakes this state machine when something may have changed.
        ownership: The other hubs, which may serve the resource too.
        metrics: Measures how long a registration takes.
        status: Written when `state` or `detail` changes.
    """

    def __init__(
        self,
        resource: str,
        server: DevicePluginServer,
        kubelet_socket: Path,
        options: wire.DevicePluginOptions,
        *,
        notifier: Notifier,
        ownership: Ownership,
        metrics: ProcessMetrics,
        status: StatusFile,
    ) -> None:
        self.state = RegistrationStatus.WAITING
        self.detail = ""
        self.since = time.time()
        self.registrations = 0
        self._resource = resource
        self._server = server
        self._kubelet_socket = kubelet_socket
        self._options = options
        self._handover = Handover(resource, server, ownership)
        self._notifier = notifier
        self._metrics = metrics
        self._status = status
        self._lost = self.since
        self._is_requested = False
        self._delay = RETRY_FIRST
        self._log = get_logger(resource=resource)

    def check(self) -> None:
        """Have the registration verified."""
        self._notifier.notify()

    def reregister(self) -> None:
        """Verify the registration now, without waiting for the next try."""
        self._is_requested = True
        self._notifier.notify()

    async def run(self) -> None:
        """Keep the resource registered until cancelled."""
        try:
            while True:
                await self._round()
        finally:
            self.state, self.detail = RegistrationStatus.WAITING, "the plugin has stopped"

    async def _round(self) -> None:
        kubelet = await self._prepare()
        self._is_requested = False
        # A retry keeps the state of the last try until its result is known.
        if self._delay == RETRY_FIRST:
            self._set_status(RegistrationStatus.REGISTERING)
        error = await self._register(kubelet, self._server.path)
        if not error and await self._is_confirmed(kubelet):
            await self._hold_registration(kubelet)
        elif not self._is_over(kubelet):
            self._set_status(
                *(error or (RegistrationStatus.REJECTED, "the kubelet accepted, but did not open its stream"))
            )
            await self._pause(kubelet)

    async def _prepare(self) -> KubeletIdentity:
        """Serve on a fresh socket and wait for a kubelet.

        The kubelet is checked before the socket: it deletes all sockets before it makes its own, so a socket that
        exists after the kubelet's was seen was bound for this kubelet.
        """
        while True:
            kubelet = self._kubelet()
            if self._server.socket_taken:
                self._set_status(RegistrationStatus.SOCKET_TAKEN, f"another process is using {self._server.path}")
                await self._notifier.wait_for(lambda: not self._server.socket_taken)
            elif not self._server.unused:
                await self._open()
            elif kubelet is not None:
                if not await self._is_superseded():
                    return kubelet
            else:
                self._set_status(RegistrationStatus.WAITING, f"there is no {self._kubelet_socket}")
                await self._notifier.wait_for(lambda: self._kubelet() is not None)

    async def _is_superseded(self) -> bool:
        """Return whether a newer hub is serving the resource; if so, wait until it no longer does."""
        handover = self._handover
        # Right now, not earlier: a process that registers over a newer hub takes the resource with it when it exits.
        handover.refresh()
        if not handover.has_newer_hub:
            return False
        await self._notifier.wait_for(lambda: not handover.has_newer_hub or bool(handover.newer), DETACH_TIMEOUT)
        if not handover.newer:
            return False
        self._set_status(RegistrationStatus.SUPERSEDED, f"hub {handover.newer} is serving it")
        await self._notifier.wait_for(lambda: not handover.newer)
        return True

    async def _open(self) -> None:
        try:
            await self._server.open()
        except OSError as error:
            self._is_requested = False
            self._set_status(RegistrationStatus.WAITING, str(error))
            await self._notifier.wait_for(lambda: self._is_requested, RETRY_SILENT)

    async def _register(self, kubelet: KubeletIdentity, socket: Path) -> RegistrationError | None:
        """Ask the kubelet, as long as it is the same one; return None if it accepted."""
        self._handover.before_register()
        call = asyncio.ensure_future(register(self._kubelet_socket, kubelet, socket, self._resource, self._options))
        call.add_done_callback(lambda _: self._notifier.notify())
        try:
            await self._notifier.wait_for(lambda: call.done() or self._is_over(kubelet))
            if not call.done():
                return RegistrationStatus.WAITING, "the kubelet went away before it answered"
            call.result()
        except KubeletUnavailable as error:
            return RegistrationStatus.WAITING, str(error)
        except RegistrationRejected as error:
            return RegistrationStatus.REJECTED, str(error)
        else:
            return None
        finally:
            # Wait for its end: a pending call could reach the next kubelet, as a second registration.
            call.cancel()
            await asyncio.wait([call])

    async def _is_confirmed(self, kubelet: KubeletIdentity) -> bool:
        """Return whether the kubelet opened its stream; it may have closed it since."""
        streams = self._server.streams
        await self._notifier.wait_for(lambda: not streams.awaited or self._is_over(kubelet), CONFIRM_TIMEOUT)
        return not streams.awaited and not self._is_over(kubelet)

    async def _hold_registration(self, kubelet: KubeletIdentity) -> None:
        """Return when the registration is lost."""
        self.registrations += 1
        # The change time of a kubelet's socket is when that kubelet started.
        self._metrics.registered(self._resource, max(0, time.time() - max(self._lost, kubelet[2] / 1e9)))
        self._handover.restart()
        # Before the status says so: a reader that sees all resources registered may end the older hub at once.
        await self._detach_kubelet(kubelet)
        self._set_status(RegistrationStatus.REGISTERED)
        begin = time.monotonic()
        while (follows := await self._until_next(kubelet)) is _Next.SAME_SOCKET and await self._register_again(kubelet):
            self.registrations += 1
        self._lost = time.time()
        if time.monotonic() - begin > STEADY:
            self._delay = RETRY_FIRST
        if follows is not _Next.FRESH_SOCKET and not self._is_over(kubelet):
            # A restarting kubelet is gone by now; one that stays but drops a resource is worth a log line.
            self._log.info("registration lost", reason="the kubelet has closed its stream")
            self._set_status(RegistrationStatus.REGISTERING, "the kubelet has closed its stream")
            await self._pause(kubelet)

    async def _until_next(self, kubelet: KubeletIdentity) -> _Next:
        """Wait until the registration is lost, or may be lost because another hub that registered has exited."""
        handover = self._handover
        await self._notifier.wait_for(lambda: self._is_lost(kubelet) or handover.may_have_registered)
        follows = _Next.SAME_SOCKET if handover.older else _Next.FRESH_SOCKET
        if not self._is_lost(kubelet):
            await self._detach_kubelet(kubelet)
        await self._notifier.wait_for(lambda: self._is_lost(kubelet) or not (handover.older or handover.has_newer_hub))
        if follows is _Next.SAME_SOCKET:
            await self._notifier.wait_for(lambda: self._is_lost(kubelet), SETTLE)
        return _Next.PAUSE if self._is_lost(kubelet) else follows

    async def _detach_kubelet(self, kubelet: KubeletIdentity) -> None:
        await self._handover.detach_kubelet(lambda socket: self._register(kubelet, socket))

    async def _register_again(self, kubelet: KubeletIdentity) -> bool:
        """Register on the socket that the kubelet already knows; return whether it opened one more stream."""
        self._handover.restart()
        self._server.streams.expect_another()
        error = await self._register(kubelet, self._server.path)
        return not error and await self._is_confirmed(kubelet)

    async def _pause(self, kubelet: KubeletIdentity) -> None:
        """Wait before the next try, unless something new happens."""
        longest = RETRY_SILENT if self.state is RegistrationStatus.WAITING else RETRY_REJECTED
        delay = min(self._delay, longest)
        self._delay = 2 * delay
        await self._notifier.wait_for(lambda: self._is_requested or self._is_over(kubelet), delay)
        if self._is_requested or self._kubelet() != kubelet:
            self._delay = RETRY_FIRST

    def _is_over(self, kubelet: KubeletIdentity) -> bool:
        """Return whether this round is over: another kubelet, or none, or a socket that no kubelet can reach."""
        return self._kubelet() != kubelet or not self._server.reachable

    def _is_lost(self, kubelet: KubeletIdentity) -> bool:
        """Return whether the stream is closed, or open but useless. A kubelet without its socket is still running."""
        is_replaced = self._kubelet() not in (kubelet, None) or not self._server.reachable
        return is_replaced or not self._server.streams.kubelet_connected

    def _kubelet(self) -> KubeletIdentity | None:
        return kubelet_identity(self._kubelet_socket)

    def _set_status(self, state: RegistrationStatus, detail: str = "") -> None:
        """Set the state and log what is new, so that retries do not repeat log lines."""
        if (state, detail) == (self.state, self.detail):
            return
        self.state, self.detail, self.since = state, detail, time.time()
        getattr(self._log, _LEVELS[state])(str(state), **({"detail": detail} if detail else {}))
        self._status.mark_changed()
