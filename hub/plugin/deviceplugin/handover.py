"""How a resource goes from one hub to another in a rolling upgrade, so that one of them is serving it at all times.

The older hub still has its stream when the newer one registers, and it may exit at any moment. A kubelet disconnects by
name: the end of the older hub's stream would take the newer one's registration with it. So the newer hub, once
registered, makes the kubelet forget which socket has the name, while both streams stay open. When the older hub is
gone, the newer one registers once more, on the same socket, so that the kubelet notices when this one exits.

If the newer hub exits first, the kubelet may not have noticed, and the older one registers on a fresh socket.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from hub.base.instances import now
from hub.base.log import get_logger
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.ownership import Ownership

RegistrationError = tuple[RegistrationStatus, str]
"""The status of a resource that the kubelet did not accept, and why."""


class Handover:
    """What the other hubs mean for the registration of one resource.

    Args:
        resource: The resource's name.
        server: Its server in this process.
        ownership: The other hubs.
    """

    def __init__(self, resource: str, server: DevicePluginServer, ownership: Ownership) -> None:
        self._resource = resource
        self._server = server
        self._ownership = ownership
        self._registered_at = 0
        self._detached_from = ""
        self._log = get_logger(resource=resource)

    @property
    def older(self) -> str:
        """An older hub that serves the resource too; empty if none does."""
        return self._ownership.older_of(self._resource)

    @property
    def newer(self) -> str:
        """A newer hub that serves the resource too; empty if none does."""
        return self._ownership.newer_of(self._resource)

    @property
    def has_newer_hub(self) -> bool:
        """Whether there is a newer hub, which may be about to serve the resource."""
        return bool(self._ownership.newer)

    @property
    def may_have_registered(self) -> bool:
        """Whether another hub may have registered the resource after this one did."""
        return bool(self.older) or self._ownership.started_since(self._registered_at)

    def refresh(self) -> None:
        """Find the hubs that serve now."""
        self._ownership.refresh()

    def before_register(self) -> None:
        """Record the time of a registration, which follows at once."""
        self.refresh()
        # A newer hub that is already there may register later than this one.
        self._registered_at = 0 if self.has_newer_hub else now()

    def restart(self) -> None:
        """Forget that the kubelet was detached: it has accepted another registration."""
        self._detached_from = ""

    async def detach_kubelet(self, register: Callable[[Path], Awaitable[RegistrationError | None]]) -> None:
        """Let an older hub exit at any time: make the kubelet forget which socket has the name, with all streams open.

        A kubelet notes which socket registers before it calls back, and if that call fails it notes that none has the
        name. A stream that ends then does not disconnect any other. (Kubelet, devicemanager/plugin/v1beta1/handler.go.
        Since 1.37, the end of a stream affects only its own socket, so this call has no effect.)

        Args:
            register: Asks the kubelet to accept the resource on a socket.
        """
        older = self.older
        if older == self._detached_from:
            return
        try:
            async with self._server.decoy_socket() as decoy:
                status, reason = await register(decoy) or (RegistrationStatus.REGISTERED, "the kubelet accepted it")
        except OSError as error:
            status, reason = RegistrationStatus.WAITING, str(error)
        if status is RegistrationStatus.REJECTED:
            self._detached_from = older
            self._log.info("handover complete", hub=older)
        else:
            self._log.warning("handover incomplete", hub=older, reason=reason)
