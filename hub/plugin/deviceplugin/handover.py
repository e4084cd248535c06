"""How a resource goes from one hub to another in a rolling upgrade, with somebody who answers for it at any moment.

The older hub still has its stream when the younger one registers, and it may end at any moment. A kubelet disconnects
by name: the end of the older one's stream would take the younger one's registration with it. So the younger one, once
registered, has the kubelet forget who holds the name; both streams stay open meanwhile. When the older hub is gone it
registers once more, on the socket that it has, for the kubelet to notice its own end.

Where the younger one is gone first, the kubelet may not have noticed, and the older one begins anew.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from hub.base.instances import now
from hub.base.log import get_logger
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.ownership import Ownership

Refusal = tuple[RegistrationStatus, str]
"""Where it leaves a resource that the kubelet did not accept it, and why."""


class Handover:
    """What other hubs mean for one resource of ours.

    Args:
        resource: Its name.
        endpoint: Where we serve it.
        neighbours: The other hubs.
    """

    def __init__(self, resource: str, endpoint: DevicePluginServer, neighbours: Ownership) -> None:
        self._resource = resource
        self._endpoint = endpoint
        self._neighbours = neighbours
        self._asked = 0
        self._taken_over = ""
        self._log = get_logger(resource=resource)

    @property
    def older(self) -> str:
        """An older hub that serves it too; empty where none does."""
        return self._neighbours.older_serving(self._resource)

    @property
    def newer(self) -> str:
        """A younger hub that serves it too; empty where none does."""
        return self._neighbours.newer_serving(self._resource)

    @property
    def newer_hub(self) -> bool:
        """Whether there is a younger hub; it may be about to serve it."""
        return bool(self._neighbours.newer)

    @property
    def started_since(self) -> bool:
        """Whether another hub may have registered since we did; one may have come and gone between two looks."""
        return bool(self.older) or self._neighbours.newest > self._asked

    def refresh(self) -> None:
        """Find out who else is there now."""
        self._neighbours.refresh()

    def registers(self) -> None:
        """We are about to register."""
        self.refresh()
        # A younger hub that is there already may register later than we do.
        self._asked = 0 if self.newer_hub else now()

    def restart(self) -> None:
        """Nobody has been taken over yet."""
        self._taken_over = ""

    async def detach_kubelet(self, register: Callable[[Path], Awaitable[Refusal | None]]) -> None:
        """Let an older hub end when it likes: the kubelet forgets who holds the name, without a word to those who do.

        A kubelet notes who registers before it calls back, and where that fails it notes that nobody does. A stream
        that ends then takes nobody with it. (Kubelet, devicemanager/plugin/v1beta1/handler.go. From 1.37 on a stream's
        end concerns its own socket alone; there this changes nothing.)

        Args:
            register: Asks the kubelet to take the resource on a socket.
        """
        older = self.older
        if older == self._taken_over:
            return
        try:
            async with self._endpoint.decoy_socket() as unanswered:
                state, reason = await register(unanswered) or (RegistrationStatus.REGISTERED, "the kubelet took it")
        except OSError as error:
            state, reason = RegistrationStatus.WAITING, str(error)
        if state is RegistrationStatus.REJECTED:
            self._taken_over = older
            self._log.info("handover complete", hub=older)
        else:
            self._log.warning("handover incomplete", hub=older, reason=reason)
