"""Keeps one resource registered with whatever kubelet there is.

Where a resource stands, and what leads on:

    waiting      no kubelet.sock, or nobody answers on it     -> registering, when there is one
    registering  asked; the kubelet calls back, then answers  -> registered, refused or waiting
    registered   the kubelet's stream is open                 -> registering, when stream, socket or kubelet goes
    refused      the kubelet said no                          -> registering, after a while or when asked to
    displaced    another process serves on our socket         -> waiting, when it is gone
    handed over  a younger hub serves the resource            -> waiting, when it is gone

Each round serves on a socket without streams before it registers. Old streams have to end first, since a kubelet
disconnects by name: a stream that ends late takes the new registration with it. For the same reason a registration
counts only once the kubelet has opened its stream, and as long as it stays open.

What other hubs mean for that, in a rolling upgrade, is in `takeover`.
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
from hub.plugin.deviceplugin.handover import Handover, Refusal
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership

CONFIRM_TIMEOUT = 5.0
"""Seconds between the kubelet's answer and its stream, which follows at once."""

STEADY = 10.0
"""Seconds after which a stream has proved itself; after one that ended sooner the next try waits longer."""

SETTLE = 1.0
"""Seconds between the end of another hub's socket and that of its stream, as the kubelet sees it."""

DETACH_TIMEOUT = 3.0
"""Seconds that a younger hub has to serve a resource after the start of a kubelet, before an older one does."""

RETRY_FIRST, RETRY_SILENT, RETRY_REFUSED = 0.05, 1.0, 30.0
"""Seconds between tries: at first, and at most for a kubelet that does not answer and for one that says no."""

_LEVELS = {
    RegistrationStatus.WAITING: "info",
    RegistrationStatus.REGISTERING: "debug",
    RegistrationStatus.REGISTERED: "info",
    RegistrationStatus.REJECTED: "warning",
    RegistrationStatus.SOCKET_TAKEN: "error",
    RegistrationStatus.SUPERSEDED: "info",
}


class _Next(Enum):
    """What comes after a registration."""

    PAUSE = "the kubelet has let go of us, or is gone"
    SAME_SOCKET = "an older hub is gone: once more on the same socket"
    FRESH_SOCKET = "a younger hub was there: on a socket without streams"


class Registrar:
    """The state machine above, for one resource.

    Args:
        resource: The resource's name.
        endpoint: Where it is served.
        kubelet_socket: Where the kubelet listens.
        options: What the plugin can do. The kubelet asks again when it calls back, and believes that.
        notifier: Wakes this state machine when something may have changed.
        ownership: The other hubs, which may serve the resource too.
        metrics: Measures how long a registration takes.
        status: Is written again when `state` or `detail` changes.
    """

    def __init__(
        self,
        resource: str,
        endpoint: DevicePluginServer,
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
        self._endpoint = endpoint
        self._kubelet_socket = kubelet_socket
        self._options = options
        self._resource = resource
        self._takeover = Handover(resource, endpoint, ownership)
        self._metrics = metrics
        self._status = status
        self._lost = self.since
        self._waker = notifier
        self._impatient = False
        self._delay = RETRY_FIRST
        self._log = get_logger(resource=resource)

    def check(self) -> None:
        """Look again whether all is well."""
        self._waker.notify()

    def reregister(self) -> None:
        """Look again, and wait for nothing: somebody asks for it."""
        self._impatient = True
        self._waker.notify()

    async def run(self) -> None:
        """Keep the resource registered for ever."""
        try:
            while True:
                await self._round()
        finally:
            self.state, self.detail = RegistrationStatus.WAITING, "the plugin has stopped"

    async def _round(self) -> None:
        kubelet = await self._prepare()
        self._impatient = False
        # A retry stays in the state of the last try until it is known how it went.
        if self._delay == RETRY_FIRST:
            self._set_status(RegistrationStatus.REGISTERING)
        refusal = await self._register(kubelet, self._endpoint.path)
        if not refusal and await self._confirmed(kubelet):
            await self._stay(kubelet)
        elif not self._is_superseded(kubelet):
            self._set_status(
                *(refusal or (RegistrationStatus.REJECTED, "the kubelet accepted, but has not opened its stream"))
            )
            await self._pause(kubelet)

    async def _prepare(self) -> KubeletIdentity:
        """Serve on a fresh socket and wait for a kubelet.

        The kubelet is looked at before the socket: it deletes all sockets before it makes its own, so a socket that is
        there after the kubelet's was seen was bound for this kubelet.
        """
        while True:
            kubelet = self._kubelet()
            if self._endpoint.socket_taken:
                self._set_status(RegistrationStatus.SOCKET_TAKEN, f"another process serves {self._endpoint.path}")
                await self._waker.wait_for(lambda: not self._endpoint.socket_taken)
            elif not self._endpoint.unused:
                await self._open()
            elif kubelet is not None:
                if not await self._superseded():
                    return kubelet
            else:
                self._set_status(RegistrationStatus.WAITING, f"there is no {self._kubelet_socket}")
                await self._waker.wait_for(lambda: self._kubelet() is not None)

    async def _superseded(self) -> bool:
        """Whether a younger hub serves the resource; if it does, this returns when it does no more."""
        takeover = self._takeover
        # Now: who registers over a younger hub takes the resource with it when it ends.
        takeover.refresh()
        if not takeover.newer_hub:
            return False
        await self._waker.wait_for(lambda: not takeover.newer_hub or bool(takeover.newer), DETACH_TIMEOUT)
        if not takeover.newer:
            return False
        self._set_status(RegistrationStatus.SUPERSEDED, f"hub {takeover.newer} serves it")
        await self._waker.wait_for(lambda: not takeover.newer)
        return True

    async def _open(self) -> None:
        try:
            await self._endpoint.open()
        except OSError as error:
            self._impatient = False
            self._set_status(RegistrationStatus.WAITING, str(error))
            await self._waker.wait_for(lambda: self._impatient, RETRY_SILENT)

    async def _register(self, kubelet: KubeletIdentity, endpoint: Path) -> Refusal | None:
        """Ask the kubelet, as long as it is the same one; None when it accepted."""
        self._takeover.registers()
        asking = asyncio.ensure_future(register(self._kubelet_socket, endpoint, self._resource, self._options))
        asking.add_done_callback(lambda _: self._waker.notify())
        try:
            await self._waker.wait_for(lambda: asking.done() or self._is_superseded(kubelet))
            if not asking.done():
                return RegistrationStatus.WAITING, "the kubelet went away before it answered"
            asking.result()
        except KubeletUnavailable as error:
            return RegistrationStatus.WAITING, str(error)
        except RegistrationRejected as error:
            return RegistrationStatus.REJECTED, str(error)
        else:
            return None
        finally:
            # Waited for: a call that is still on its way would reach the next kubelet, and be its second.
            asking.cancel()
            await asyncio.wait([asking])

    async def _confirmed(self, kubelet: KubeletIdentity) -> bool:
        """Whether the kubelet opens its stream; it may have closed it since."""
        streams = self._endpoint.streams
        await self._waker.wait_for(lambda: not streams.awaited or self._is_superseded(kubelet), CONFIRM_TIMEOUT)
        return not streams.awaited and not self._is_superseded(kubelet)

    async def _stay(self, kubelet: KubeletIdentity) -> None:
        """Return when the registration is lost."""
        self.registrations += 1
        # A kubelet's socket tells by its change time when that kubelet started.
        self._metrics.registered(self._resource, max(0, time.time() - max(self._lost, kubelet[2] / 1e9)))
        self._takeover.restart()
        # Before anybody is told: who hears that all is registered may end the older hub at once.
        await self._detach_kubelet(kubelet)
        self._set_status(RegistrationStatus.REGISTERED)
        begin = time.monotonic()
        while (follows := await self._until_next(kubelet)) is _Next.SAME_SOCKET and await self._register_again(kubelet):
            self.registrations += 1
        self._lost = time.time()
        if time.monotonic() - begin > STEADY:
            self._delay = RETRY_FIRST
        if follows is not _Next.FRESH_SOCKET and not self._is_superseded(kubelet):
            self._set_status(RegistrationStatus.REGISTERING, "the kubelet has closed its stream")
            await self._pause(kubelet)

    async def _until_next(self, kubelet: KubeletIdentity) -> _Next:
        """Wait until the registration is lost, or may be, since another hub has come and gone that registered too."""
        takeover = self._takeover
        await self._waker.wait_for(lambda: self._is_lost(kubelet) or takeover.started_since)
        follows = _Next.SAME_SOCKET if takeover.older else _Next.FRESH_SOCKET
        if not self._is_lost(kubelet):
            await self._detach_kubelet(kubelet)
        await self._waker.wait_for(lambda: self._is_lost(kubelet) or not (takeover.older or takeover.newer_hub))
        if follows is _Next.SAME_SOCKET:
            await self._waker.wait_for(lambda: self._is_lost(kubelet), SETTLE)
        return _Next.PAUSE if self._is_lost(kubelet) else follows

    async def _detach_kubelet(self, kubelet: KubeletIdentity) -> None:
        await self._takeover.detach_kubelet(lambda endpoint: self._register(kubelet, endpoint))

    async def _register_again(self, kubelet: KubeletIdentity) -> bool:
        """Register on the socket that the kubelet knows already; whether it has opened one more stream."""
        self._takeover.restart()
        self._endpoint.streams.expect_another()
        refusal = await self._register(kubelet, self._endpoint.path)
        return not refusal and await self._confirmed(kubelet)

    async def _pause(self, kubelet: KubeletIdentity) -> None:
        """Wait before the next try, unless something new happens."""
        longest = RETRY_SILENT if self.state is RegistrationStatus.WAITING else RETRY_REFUSED
        delay = min(self._delay, longest)
        self._delay = 2 * delay
        await self._waker.wait_for(lambda: self._impatient or self._is_superseded(kubelet), delay)
        if self._impatient or self._kubelet() != kubelet:
            self._delay = RETRY_FIRST

    def _is_superseded(self, kubelet: KubeletIdentity) -> bool:
        """Whether this round is over: another kubelet, or none, or a socket that no kubelet can reach any more."""
        return self._kubelet() != kubelet or not self._endpoint.reachable

    def _replaced(self, kubelet: KubeletIdentity) -> bool:
        """Whether an open stream is worth nothing any more. A kubelet that has merely lost its socket lives on."""
        return self._kubelet() not in (kubelet, None) or not self._endpoint.reachable

    def _is_lost(self, kubelet: KubeletIdentity) -> bool:
        return not self._listening() or self._replaced(kubelet)

    def _kubelet(self) -> KubeletIdentity | None:
        return kubelet_identity(self._kubelet_socket)

    def _listening(self) -> bool:
        return self._endpoint.streams.kubelet_connected

    def _set_status(self, state: RegistrationStatus, detail: str = "") -> None:
        """Note where the resource stands; log what is new, so that a retry repeats no line."""
        if (state, detail) == (self.state, self.detail):
            return
        self.state, self.detail, self.since = state, detail, time.time()
        getattr(self._log, _LEVELS[state])(str(state), **({"detail": detail} if detail else {}))
        self._status.mark_changed()
