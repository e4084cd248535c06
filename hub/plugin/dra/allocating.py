"""What a container gets for the devices of a claim, as the plugin decides."""

from collections.abc import Sequence
from typing import NamedTuple

from hub.api.device import Allocation, Device
from hub.api.plugin import Plugin, overrides
from hub.base.calls import Calls
from hub.base.failures import PluginError
from hub.model.dra import ClaimResult
from hub.plugin.devices.validation import validate_allocation, wrong_answer
from hub.plugin.dra.mapping import DraDevice


class ClaimRejected(Exception):
    """Why a claim cannot be prepared now, as text for the pod's events."""


class Group(NamedTuple):
    """Devices of one request and one resource: `allocate` is called once for them, and they have one CDI device."""

    cdi: str
    """The name of the CDI device."""
    resource: str
    devices: Sequence[Device]
    members: Sequence[tuple[ClaimResult, DraDevice]]


class Allocator:
    """Calls a plugin's `allocate`.

    Args:
        plugin: The plugin.
    """

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._calls = Calls()

    async def allocate(self, group: Group) -> Allocation:
        """Return what a container gets for a group of devices.

        Raises:
            ClaimRejected: the plugin does not return that.
        """
        try:
            if overrides(self._plugin, "allocate"):
                limit = self._plugin.allocate_timeout
                return await self._calls.call(self._plugin.allocate, lambda: self._respond(group), limit)
            return self._respond(group)
        except PluginError as failure:
            raise ClaimRejected(f"allocation failed: {failure}") from failure
        except Exception as error:
            raise ClaimRejected(f"allocation failed: {PluginError.of(error, self._plugin.allocate)}") from error

    def _respond(self, group: Group) -> Allocation:
        answer = self._plugin.allocate(group.devices)
        if not isinstance(answer, Allocation):
            raise wrong_answer(answer, "a hub.Allocation: return Allocation(nodes=[...], env={...})")
        if problem := validate_allocation(answer):
            raise TypeError(problem)
        if answer.annotations:
            raise ValueError("it returned annotations, which dynamic resource allocation does not have")
        return answer
