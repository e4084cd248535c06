"""The registration of one resource with the kubelet, kept across all kubelet restarts.

The states of a resource, and the next state of each:

    waiting       no kubelet.sock, or nothing listens on it     -> registering, when a kubelet listens
    registering   requested; kubelet calls back, then answers   -> registered, rejected or waiting
    registered    the kubelet's stream is open                  -> registering, when stream, socket or kubelet is gone
    rejected      the kubelet rejected the resource             -> registering, after a delay or on request
    socket taken  another process is serving on our socket      -> waiting, when that process is gone
    superseded    a newer hub is serving the resource           -> waiting, when that hub is gone
    invalid       no kubelet accepts the resource's name; set by `report`, since such a resource has no registrar

Each round opens a socket without streams before it registers. Old streams have to end first, since a kubelet
disconnects by name: a stream that ends late takes the new registration with it. For the same reason a registration
counts only once the kubelet has opened its stream, and as long as the stream stays open.

How other hubs affect this in a rolling upgrade is described in `handover`.
"""

import asyncio
import time
from pathlib import Path

from hub.base.log import get_logger
from hub.base.notifier import Notifier
from hub.base.sockets import KubeletIdentity
from hub.base.statusfile import StatusFile
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.connection import KubeletConnection, RegistrationError
from hub.plugin.deviceplugin.exithandover import ExitHandover
from hub.plugin.deviceplugin.handover import Handover
from hub.plugin.deviceplugin.kubeletcalls import KubeletCalls
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership

STEADY = 10.0
"""Seconds after which a stream counts as stable; after one that ended sooner, the next attempt waits longer."""

DETACH_TIMEOUT = 3.0
"""Seconds for which an older hub, after the start of a kubelet, waits for a newer one to serve a resource before it
registers the resource itself."""

RETRY_FIRST, RETRY_SILENT, RETRY_REJECTED = 0.05, 1.0, 30.0
"""Seconds between attempts: the first delay, and the maximum if the kubelet does not answer, and if it rejects."""

_LEVELS = {
    RegistrationStatus.WAITING: "info",
    RegistrationStatus.REGISTERING: "debug",
    RegistrationStatus.REGISTERED: "info",
    RegistrationStatus.REJECTED: "warning",
    RegistrationStatus.SOCKET_TAKEN: "error",
    RegistrationStatus.SUPERSEDED: "info",
}


class Registrar:
    """The state machine above, for one resource.

    Args:
        resource: The resource's name.
        server: Serves the resource.
        kubelet_socket: Where the kubelet listens.
        options: What the plugin can do. The kubelet asks again when it calls back, and uses that response.
        calls: The kubelet's calls.
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
        calls: KubeletCalls,
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
        self._connection = KubeletConnection(resource, server, kubelet_socket, options, calls=calls, notifier=notifier)
        self._handover = Handover(resource, server, ownership, notifier)
        self._exiting = ExitHandover(
            resource, server, self._connection, self._handover, calls=calls, notifier=notifier, metrics=metrics
        )
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
        """Verify the registration now, without waiting for the next attempt."""
        self._is_requested = True
        self._notifier.notify()

    async def run(self) -> None:
        """Keep the resource registered until cancelled."""
        try:
            while True:
                await self._round()
        finally:
            self.state, self.detail = RegistrationStatus.WAITING, "the plugin has stopped"

    async def hand_over(self) -> None:
        """Keep serving until another hub has the resource, or none can take it over; for a limited time."""
        await self._exiting.hand_over()

    async def close(self) -> None:
        """End the kubelet's streams, while no other process registers, and remove the socket."""
        async with self._handover.locked():
            await self._server.close()

    async def _round(self) -> None:
        kubelet = await self._prepare()
        self._is_requested = False
        # A retry keeps the state of the last attempt until its result is known.
        if self._delay == RETRY_FIRST:
            self._set_status(RegistrationStatus.REGISTERING)
        error = await self._register(kubelet)
        if not error:
            await self._hold_registration(kubelet)
        elif error[0] is not RegistrationStatus.SUPERSEDED and not self._connection.is_over(kubelet):
            self._set_status(*error)
            await self._pause(kubelet)

    async def _prepare(self) -> KubeletIdentity:
        """Serve on a fresh socket and wait for a kubelet.

        The kubelet is checked before the socket: it deletes all sockets before it creates its own, so a socket that
        exists after the kubelet's socket was seen was bound for this kubelet.
        """
        while True:
            kubelet = self._connection.kubelet()
            if self._server.socket_taken:
                self._set_status(RegistrationStatus.SOCKET_TAKEN, f"another process is using {self._server.path}")
                await self._notifier.wait_for(lambda: not self._server.socket_taken)
            elif self._handover.is_exiting:
                # Until this process exits.
                await asyncio.Event().wait()
            elif not self._server.unused:
                await self._open()
            elif kubelet is not None:
                if not await self._is_superseded():
                    return kubelet
            else:
                self._set_status(RegistrationStatus.WAITING, f"there is no {self._kubelet_socket}")
                await self._notifier.wait_for(lambda: self._connection.kubelet() is not None or not self._server.unused)

    async def _is_superseded(self) -> bool:
        """Return whether a newer hub is serving the resource; if so, wait until it no longer does."""
        handover = self._handover
        # Checked just before the registration: a process that registered in place of a newer hub's would take the
        # resource with it when it exits.
        handover.refresh()
        if not handover.has_newer_hub:
            return False
        await self._notifier.wait_for(lambda: not handover.has_newer_hub or bool(handover.newer), DETACH_TIMEOUT)
        if not handover.newer:
            return False
        self._set_status(RegistrationStatus.SUPERSEDED, handover.superseded_reason)
        await self._notifier.wait_for(lambda: not handover.newer)
        return True

    async def _open(self) -> None:
        try:
            await self._server.open()
        except OSError as error:
            self._is_requested = False
            self._set_status(RegistrationStatus.WAITING, str(error))
            await self._notifier.wait_for(lambda: self._is_requested, RETRY_SILENT)

    async def _register(self, kubelet: KubeletIdentity) -> RegistrationError | None:
        """Register unless a newer hub serves the resource; return None if the kubelet has opened its stream."""
        self._connection.is_registering = True
        try:
            # The change time of a kubelet's socket is when that kubelet started.
            async with self._handover.turn(time.time() - kubelet[2] / 1e9) as may_register:
                if not may_register:
                    return RegistrationStatus.SUPERSEDED, self._handover.superseded_reason
                error = await self._connect(kubelet)
                if not error and self._handover.is_detached and await self._connection.end_surplus(kubelet):
                    error = await self._connect(kubelet)
                return error
        except OSError as error:
            return RegistrationStatus.WAITING, str(error)
        finally:
            self._connection.is_registering = False
            self._notifier.notify()

    async def _connect(self, kubelet: KubeletIdentity) -> RegistrationError | None:
        """Register, so that other hubs may exit at any time; return None if the kubelet has opened its stream."""
        error = await self._connection.open(kubelet)
        if not error:
            # Done before the status shows it: a reader that sees all resources registered may stop the older hub.
            await self._handover.complete(lambda decoy: self._connection.register(kubelet, decoy))
        return error

    async def _hold_registration(self, kubelet: KubeletIdentity) -> None:
        """Keep the registration, and return when it is lost."""
        self.registrations += 1
        # The change time of a kubelet's socket is when that kubelet started.
        self._metrics.registered(self._resource, max(0, time.time() - max(self._lost, kubelet[2] / 1e9)))
        self._set_status(RegistrationStatus.REGISTERED)
        begin = time.monotonic()
        while reason := await self._until_due(kubelet):
            await self._register_again(kubelet, reason)
        self._lost = time.time()
        if time.monotonic() - begin > STEADY:
            self._delay = RETRY_FIRST
        if not self._connection.is_over(kubelet):
            # A restarting kubelet is gone by now; one that stays but drops a resource is worth a log line.
            self._log.info("registration lost", reason="the kubelet has closed its stream")
            self._set_status(RegistrationStatus.REGISTERING, "the kubelet has closed its stream")
            await self._pause(kubelet)

    async def _until_due(self, kubelet: KubeletIdentity) -> str:
        """Wait until another registration is due, and return why; return an empty string if this one is lost."""
        while True:
            await self._notifier.wait_for(
                lambda: self._connection.is_lost(kubelet) or self._has_other_owner() or bool(self._handover.due())
            )
            if not self._has_other_owner():
                break
            self._set_owner()
        return "" if self._connection.is_lost(kubelet) else self._handover.due()

    def _has_other_owner(self) -> bool:
        """Return whether the node's service has taken the resource, or given it up, since the status was set.

        After the latter, the kubelet may call a different hub until this one has registered again, if that is due.
        """
        if self._handover.has_service:
            return self.state is not RegistrationStatus.SUPERSEDED
        return self.state is RegistrationStatus.SUPERSEDED and not self._handover.due()

    def _set_owner(self) -> None:
        """Show which hub the kubelet calls: alongside the node's service, this hub's stream may stay open."""
        if self._handover.has_service:
            self._set_status(RegistrationStatus.SUPERSEDED, self._handover.superseded_reason)
        else:
            self._set_status(RegistrationStatus.REGISTERED)

    async def _register_again(self, kubelet: KubeletIdentity, reason: str) -> None:
        """Register with streams open, so that there is no moment without one."""
        error = await self._register(kubelet)
        if not error:
            self.registrations += 1
            self._log.info("registered again", reason=reason)
            self._set_owner()
        elif error[0] is not RegistrationStatus.SUPERSEDED:
            self._log.warning("not registered again", reason=error[1])
            await self._pause(kubelet)

    async def _pause(self, kubelet: KubeletIdentity) -> None:
        """Wait before the next attempt, unless something new happens."""
        longest = RETRY_SILENT if self.state is RegistrationStatus.WAITING else RETRY_REJECTED
        delay = min(self._delay, longest)
        self._delay = 2 * delay
        await self._notifier.wait_for(lambda: self._is_requested or self._connection.is_over(kubelet), delay)
        if self._is_requested or self._connection.kubelet() != kubelet:
            self._delay = RETRY_FIRST

    def _set_status(self, state: RegistrationStatus, detail: str = "") -> None:
        """Set the state and log what is new, so that retries do not repeat log lines."""
        if (state, detail) == (self.state, self.detail):
            return
        self.state, self.detail, self.since = state, detail, time.time()
        getattr(self._log, _LEVELS[state])(str(state), **({"detail": detail} if detail else {}))
        self._status.mark_changed()
