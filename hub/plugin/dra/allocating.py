"""What a container gets for the devices of a claim, as the plugin decides."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from hub.api.device import Allocation, Device
from hub.api.plugin import Plugin, RequestRejected, overrides
from hub.base.calls import Calls
from hub.base.failures import PluginError
from hub.model.dra import ClaimResult
from hub.plugin.devices.validation import validate_allocation, wrong_answer
from hub.plugin.dra.mapping import DraDevice

MAX_FAILURES = 3
"""How many allocations in a row must fail before the plugin is considered at fault; a series this long involves
several pods."""


class ClaimRejected(Exception):
    """Why a claim cannot be prepared now, as text for the pod's events."""


class Group(NamedTuple):
    """Devices of one request and one resource: `allocate` is called once for them, and they share one CDI device."""

    cdi: str
    """The name of the CDI device."""
    resource: str
    devices: Sequence[Device]
    members: Sequence[tuple[ClaimResult, DraDevice]]


class Allocator:
    """Calls a plugin's `allocate`.

    Args:
        plugin: The plugin.

    Attributes:
        failing: By resource, why the last allocations failed, if all of the last few did.
    """

    def __init__(self, plugin: Plugin) -> None:
        self.failing: dict[str, str] = {}
        self._failures: Counter[str] = Counter()
        self._plugin = plugin
        self._calls = Calls()

    async def allocate(self, group: Group) -> Allocation:
        """Return what a container gets for a group of devices.

        Raises:
            ClaimRejected: the plugin's `allocate` failed, or did not return a valid allocation.
        """
        try:
            answer = await self._call(group)
        except PluginError as failure:
            if not isinstance(failure.__cause__, RequestRejected):
                self._count_failure(group.resource, str(failure))
            raise ClaimRejected(f"allocation failed: {failure}") from failure
        del self._failures[group.resource]
        self.failing.pop(group.resource, None)
        return answer

    async def _call(self, group: Group) -> Allocation:
        allocate = self._plugin.allocate
        if overrides(self._plugin, "allocate"):
            return await self._calls.call(allocate, lambda: self._respond(group), self._plugin.allocate_timeout)
        try:
            return self._respond(group)
        except Exception as error:
            raise PluginError.of(error, allocate) from error

    def _count_failure(self, resource: str, reason: str) -> None:
        self._failures[resource] += 1
        if (count := self._failures[resource]) >= MAX_FAILURES:
            self.failing[resource] = f"the last {count} allocations failed: {reason}"

    def _respond(self, group: Group) -> Allocation:
        answer = self._plugin.allocate(group.devices)
        if not isinstance(answer, Allocation):
            raise wrong_answer(answer, "a hub.Allocation: return Allocation(nodes=[...], env={...})")
        if problem := validate_allocation(answer):
            raise TypeError(problem)
        if answer.annotations:
            raise ValueError("it returned annotations, which dynamic resource allocation does not support")
        return answer
