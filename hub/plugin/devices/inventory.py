"""All resources of a plugin, kept in step with what its scans find."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator

from hub.api.device import Device, Excluded
from hub.api.plugin import Plugin
from hub.base.errors import ConfigError
from hub.base.log import get_logger
from hub.model.plugin import ExcludedDevice, RegistrationStatus, ResourceStatus
from hub.plugin.deviceplugin.messages import Snapshot
from hub.plugin.deviceplugin.resource import Resource
from hub.plugin.devices.scanner import Scan
from hub.plugin.devices.validation import validate_resource


class Inventory:
    """What a plugin offers, by resource.

    Args:
        make: Makes a resource of a valid name, and has it served.
        kind: The plugin's class.
        changed: Called when the state has changed.

    Attributes:
        reason: What keeps the plugin from finding its devices, if anything does.
        fault: Whether that is a fault, and not just a node without such hardware.
    """

    def __init__(self, make: Callable[[str], Resource], kind: type[Plugin], changed: Callable[[], None]) -> None:
        self._make = make
        self._kind = kind
        self._changed = changed
        self._served: dict[str, Resource] = {}
        self._refused: dict[str, ResourceStatus] = {}
        self._excluded: tuple[Excluded, ...] = ()
        self._judging: asyncio.Handle | None = None
        self.reason = ""
        self.fault = False
        self._log = get_logger()

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._served.values())

    def names(self) -> Collection[str]:
        """The resources that are served."""
        return self._served.keys()

    def all_devices(self) -> Iterator[tuple[str, Device]]:
        """All advertised devices, each with its resource."""
        return ((resource.name, device) for resource in self for device in resource.devices)

    def update(self, scan: Scan) -> None:
        """Bring the resources in step with what a scan found."""
        self._explain(scan.reason, fault=scan.fault)
        self._refused = {name: state for name, state in self._refused.items() if name in scan.snapshots or scan.failed}
        for name in scan.snapshots:
            if name not in self._served and name not in self._refused:
                self._add(name)
        gone = Snapshot(reason=scan.reason or "the plugin offers no device of this resource any more")
        for resource in self:
            if scan.failed:
                resource.mark_unhealthy(scan.reason)
            else:
                resource.update(scan.snapshots.get(resource.name, gone))
        if not scan.failed and scan.excluded != self._excluded:
            self._exclude(scan.excluded)

    def leave_to_others(self, scan: Scan) -> None:
        """Serve nothing: the scan has found a fault, and an older hub serves."""
        self._explain(f"{scan.reason}; an older hub goes on serving", fault=scan.fault)

    def mark_dirty(self) -> None:
        """Advertise what is known of the devices' health by then; many changes make one list."""
        if self._judging is None:
            self._judging = asyncio.get_running_loop().call_soon(self._judge)

    def states(self) -> tuple[ResourceStatus, ...]:
        """The resources as others see them."""
        return (*(resource.state() for resource in self), *self._refused.values())

    def excluded(self) -> tuple[ExcludedDevice, ...]:
        """What is there and not advertised."""
        return tuple(ExcludedDevice(each.id, each.reason) for each in self._excluded)

    def _explain(self, reason: str, *, fault: bool) -> None:
        if (reason, fault) != (self.reason, self.fault):
            say = self._log.warning if fault else self._log.info
            say("scan result changed", reason=reason or "no problems")
            self.reason, self.fault = reason, fault
            self._changed()

    def _judge(self) -> None:
        self._judging = None
        for resource in self:
            resource.publish()

    def _exclude(self, excluded: tuple[Excluded, ...]) -> None:
        for each in excluded:
            if each not in self._excluded:
                self._log.info("device excluded", device=each.id, reason=each.reason)
        self._excluded = excluded
        self._changed()

    def _add(self, name: str) -> None:
        """Serve a resource from now on, unless no kubelet would take it."""
        problem = validate_resource(self._kind, name)
        try:
            if not problem:
                self._served[name] = self._make(name)
        except ConfigError as error:
            problem = str(error)
        if problem:
            self._log.error("resource invalid", resource=name, reason=problem)
            self._refused[name] = ResourceStatus(name, "", RegistrationStatus.INVALID, time.time(), detail=problem)
            self._changed()
