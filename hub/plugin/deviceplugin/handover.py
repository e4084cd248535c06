"""How a resource goes from one hub to another in a rolling upgrade, so that one of them is serving it at all times.

Several hubs may have a stream to the kubelet, and each may exit at any moment. The kubelet calls the hub that
registered last. A kubelet before 1.37 disconnects by the resource's name: the end of any stream would also end the
last registration. So a hub that registers while others have streams then makes the kubelet forget which socket has the
name, while all streams stay open. When the others are gone, the hub registers once more, so that the kubelet notices
when it exits.

From 1.37 on, the end of a stream disconnects one socket. The kubelet then calls any of the others, not
necessarily the newest. So the newest hub registers once more when any of the others is gone.

In all of this, only one process acts at a time: see `ownerfile`. The newest hub whose plugin is serving has the
resource. If that hub exits or hands over, the next one reads in the file that the kubelet calls another hub, and
registers. A hub that hands over waits for that.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from hub.base.instances import now
from hub.base.log import get_logger
from hub.base.notifier import Notifier
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.connection import RegistrationError
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.ownership import Ownership, Role

LINGER = 1.0
"""Seconds for which a plugin keeps answering once the kubelet calls another hub's plugin: a call may be in progress."""

SEEN_AFTER = 2.0
"""Seconds from the end of another hub until the kubelet has seen the end of its stream, even on a node so busy
that everything takes a second. Until then, the kubelet would not notice if this process were killed."""

REPEAT_TIMEOUT = 4.0
"""Seconds within which another hub notices that a third one is gone, and registers once more."""

_MOMENT = 0.01
_NS = 1_000_000_000


class Handover:
    """How the other hubs affect the registration of one resource.

    Args:
        resource: The resource's name.
        server: Its server in this process.
        ownership: The other hubs.
        notifier: Notified when another registration has become due just because time has passed.

    Attributes:
        is_detached: Whether the kubelet has forgotten which socket has the resource's name, or may have forgotten it.
    """

    def __init__(self, resource: str, server: DevicePluginServer, ownership: Ownership, notifier: Notifier) -> None:
        self._notifier = notifier
        self._resource = resource
        self._server = server
        self._ownership = ownership
        self._file = ownership.owner_file(resource)
        self._neighbors: set[str] = set()
        self._ended = ""
        self._ended_at = 0
        self._is_closed = False
        self.is_detached = False
        self._log = get_logger(resource=resource)

    @property
    def newer(self) -> str:
        """The newest hub that is serving the resource too; empty if none is newer than this hub."""
        return self._ownership.newer_of(self._resource)

    @property
    def superseded_reason(self) -> str:
        """Why this hub does not serve the resource: a sentence that names the newer hub that does."""
        return f"{self._ownership.describe(self.newer)} is serving it"

    @property
    def has_service(self) -> bool:
        """Whether the resource is served by the node's service, which is not this hub."""
        return self._ownership.is_service(self.newer)

    @property
    def has_newer_hub(self) -> bool:
        """Whether there is a newer hub, which may be about to serve the resource."""
        return bool(self._ownership.newer)

    def is_alone(self) -> bool:
        """Return whether no other hub is running on the node."""
        if not self._ownership.others:
            # One may have started since the last check.
            self._ownership.refresh()
        return not self._ownership.others

    @property
    def is_exiting(self) -> bool:
        """Whether this process begins no more registrations, even if one is due, because it is about to exit."""
        return self._is_closed or self._ownership.role is Role.EXITING

    def refresh(self) -> None:
        """Find the hubs that are serving."""
        self._ownership.refresh()
        self._look()

    def due(self) -> str:
        """Return why this process has to register once more; empty if it need not."""
        self._look()
        if self.newer or self.is_exiting:
            return ""
        if self._ownership.has_hub and (hub := self._file.replaced_by):
            return f"the kubelet called hub {hub}"
        if self._ended and _seconds_since(self._ended_at) >= SEEN_AFTER:
            return f"hub {self._ended} is gone"
        return ""

    def is_last(self) -> bool:
        """Return whether no other hub's plugin is serving the resource."""
        self._ownership.refresh()
        return not self._ownership.is_served_elsewhere(self._resource)

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Keep other processes from changing what the kubelet knows about the resource."""
        return self._file.locked()

    @asynccontextmanager
    async def turn(self, kubelet_age: float) -> AsyncIterator[bool]:
        """Let this process register in the block; yield whether it may, given the hubs that are serving.

        Args:
            kubelet_age: Seconds since the start of the kubelet, which has no record of hubs that exited earlier.
        """
        async with self.locked():
            self.refresh()
            if _seconds_since(self._ended_at) > kubelet_age:
                self._ended = ""
            may_register = not (self.newer or self.is_exiting)
            if may_register:
                self._note_ended()
                self._file.begin()
                # If the registration fails, the kubelet may have forgotten which socket has the name.
                self.is_detached = True
            yield may_register

    async def complete(self, register: Callable[[Path], Awaitable[RegistrationError | None]]) -> None:
        """Finish a registration, so that other hubs may exit at any time; call it in the block of `turn`.

        Args:
            register: Registers the resource with the kubelet, on a socket.
        """
        # The kubelet may not yet have seen that a hub has just ended.
        hubs = self._neighbors | {self._ended} - {""}
        self.is_detached = bool(hubs) and await self._detach_kubelet(", ".join(sorted(hubs)), register)
        self._file.complete()

    def close(self) -> None:
        """Begin no more registrations that are due: the process is about to exit, and would interrupt them."""
        self._is_closed = True

    def request(self) -> None:
        """Have the owner register once more, since the kubelet may call this hub; call it in the block of `locked`."""
        self._file.begin()

    def would_end_unnoticed(self) -> bool:
        """Return whether the kubelet would not notice the exit of this process if no other one has the resource."""
        return self.is_detached or bool(self._file.replaced_by)

    def may_end(self) -> bool:
        """Return whether this process may end its streams: another hub has the resource, or none can take it over."""
        if self.is_handed_over():
            return True
        if not self._ownership.may_be_taken_over(self._resource):
            # One may have started since the last check.
            self._ownership.refresh()
        return not self._ownership.may_be_taken_over(self._resource)

    def is_handed_over(self) -> bool:
        """Return whether the kubelet calls another hub, which does not need this process any more."""
        self._look()
        owner = self._file.read()
        if not owner.since or owner.hub not in self._neighbors:
            return False
        has_repeated = owner.since > self._ended_at or _seconds_since(self._ended_at) > REPEAT_TIMEOUT
        return has_repeated and _seconds_since(owner.since) >= LINGER

    def _note_ended(self) -> None:
        """Record a hub that has just ended: until the kubelet has seen that, the registration is not final."""
        hub = self._file.replaced_by
        if hub and hub not in self._neighbors:
            # It started and exited between checks.
            self._set_ended(hub)
        elif _seconds_since(self._ended_at) >= SEEN_AFTER:
            self._ended = ""

    def _look(self) -> None:
        found = self._ownership.neighbors_of(self._resource)
        if ended := self._neighbors - found:
            self._set_ended(min(ended))
        self._neighbors = found

    def _set_ended(self, hub: str) -> None:
        self._ended, self._ended_at = hub, now()
        asyncio.get_running_loop().call_later(SEEN_AFTER + _MOMENT, self._notifier.notify)

    async def _detach_kubelet(self, hubs: str, register: Callable[[Path], Awaitable[RegistrationError | None]]) -> bool:
        """Make the kubelet forget which socket has the name, while all streams stay open; return whether it has.

        A kubelet records which socket registers before it calls back, and if that call fails, that none has the name.
        A stream that ends then does not disconnect any other. (Kubelet, devicemanager/plugin/v1beta1/handler.go.
        From 1.37 on, this affects only the socket that registers, and has no effect.)
        """
        try:
            async with self._server.decoy_socket() as decoy:
                status, reason = await register(decoy) or (RegistrationStatus.REGISTERED, "the kubelet accepted it")
        except OSError as error:
            status, reason = RegistrationStatus.WAITING, str(error)
        if status is RegistrationStatus.REJECTED:
            self._log.info("handover complete", hub=hubs)
        else:
            self._log.warning("handover incomplete", hub=hubs, reason=reason)
        return status is RegistrationStatus.REJECTED


def _seconds_since(time_ns: int) -> float:
    return (now() - time_ns) / _NS
