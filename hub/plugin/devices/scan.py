"""One scan: a plugin's devices, validated and sorted by resource.

A scan of a serving plugin also prepares the node for the devices; a scan of a check is read-only. Both may request
labels.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from hub.api.device import Device, Excluded, Unmatched
from hub.api.plugin import NeedsRestart, NoDevices, Plugin
from hub.base.calls import Calls, at_most, limited
from hub.base.failures import PluginError, PluginTimeout, one_line
from hub.base.location import location_of_function
from hub.base.log import get_logger
from hub.base.wording import shortened
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.files import missing_files
from hub.plugin.devices.labels import ScannedLabels, read_labels
from hub.plugin.devices.validation import wrong_answer
from hub.plugin.devices.warnings import device_warnings

MAX_DEVICES = 250_000
"""Maximum number of devices of a plugin: far more than a kubelet's list has room for, and far below what a mistake in
a loop would create."""

MAX_RESOURCES = 1000
"""Maximum number of resources that a plugin declares: each has a socket."""

MAX_REASONS = 8
"""Maximum number of settings in the reason why a resource has no device."""


class Scan(msgspec.Struct, frozen=True):
    """The result of one scan."""

    resources: Mapping[str, ScannedDevices] = {}
    """Keyed by name, including those that the plugin declares without having a device for them."""
    reason: str = ""
    """Why the plugin has no device, or its devices are unknown."""
    fault: bool = False
    """Whether that is a fault, rather than a node without such hardware."""
    failed: bool = False
    """Whether the scan has no result, so that the devices of the previous scan may be out of date."""
    excluded: tuple[Excluded, ...] = ()
    """Hardware that the plugin does not advertise."""
    unmatched: tuple[Unmatched, ...] = ()
    """Settings that match nothing."""
    needs_restart: bool = False
    """Whether only a new process can scan."""
    labels: ScannedLabels = ScannedLabels()
    """The node labels that the plugin offers."""


async def scan_in_time(plugin: Plugin) -> Scan:
    """Return the result of one read-only scan, or a failed one if it exceeds the plugin's `scan_timeout`."""
    calls = Calls()
    scanning = calls.start(plugin.devices, lambda: scan(plugin, prepares=False, labels=True))
    done, _ = await asyncio.wait([scanning], timeout=plugin.scan_timeout)
    return scanning.result() if done else overdue(plugin, calls.location(scanning))


def scan(plugin: Plugin, watch_failure: str = "", *, prepares: bool, labels: bool = False) -> Scan:
    """Get the plugin's devices, validate them, and sort them by resource.

    Args:
        plugin: The plugin.
        watch_failure: Why no device counts as healthy, whatever the plugin reports; empty if there is no such reason.
        prepares: Whether the plugin also prepares the node for its devices.
        labels: Whether to request the plugin's labels; after a fault, those of the last scan stay instead.
    """
    declared: list[str] = []
    method: Callable[..., object] = plugin.resources
    try:
        declared = _declared(plugin)
        method = plugin.devices
        found = _found(plugin)
        if prepares:
            method = plugin.prepare
            prepared = _listed(plugin.prepare(found.devices), "hub.Device objects: those to advertise")
            found = found._replace(devices=prepared)
        result = _validated(plugin, declared, found, watch_failure)
        asked = labels and not found.fault
        return msgspec.structs.replace(result, labels=read_labels(plugin, found.devices)) if asked else result
    except NeedsRestart as request:
        return restart_request(request)
    except BaseException as error:  # noqa: BLE001 - plugin code; every exception becomes a failed scan
        get_logger().debug("scan failed", exc_info=True)
        reason = str(PluginError.of(error, method))
        return Scan({name: ScannedDevices(reason=reason) for name in declared}, reason, fault=True, failed=True)


def overdue(plugin: Plugin, location: str) -> Scan:
    """Return the result of a scan that exceeded its time limit at this location in the author's code."""
    timeout = PluginTimeout(plugin.devices, plugin.scan_timeout, location)
    return Scan(reason=str(timeout), fault=True, failed=True)


def restart_request(reason: NeedsRestart) -> Scan:
    """Return the result of a scan, or of a watch, that only a new process can continue."""
    return Scan(reason=one_line(reason), fault=True, failed=True, needs_restart=True)


class _Found(NamedTuple):
    """What a plugin has found, before it is validated."""

    devices: list[Device]
    invalid: list[Any]
    """The items that have none of the types that a plugin may yield."""
    excluded: list[Excluded]
    unmatched: list[Unmatched]
    reason: str
    fault: bool


def _found(plugin: Plugin) -> _Found:
    found = _Found([], [], [], [], "", fault=False)
    try:
        for each in _items(plugin.devices(), "hub.Device objects: yield each of them, or return a list"):
            if isinstance(each, Device):
                found.devices.append(each)
            elif isinstance(each, Excluded):
                found.excluded.append(each)
            elif isinstance(each, Unmatched):
                found.unmatched.append(each)
            else:
                found.invalid.append(each)
    except NoDevices as nothing:
        return found._replace(devices=[], reason=one_line(nothing), fault=nothing.fault)
    return found


def _validated(plugin: Plugin, declared: Iterable[str], found: _Found, watch_failure: str) -> Scan:
    reason = found.reason or watch_failure
    unmatched = tuple(
        dict.fromkeys(Unmatched(one_line(each.reason), _ascii(each.resource)) for each in found.unmatched)
    )
    reasons = _reasons(unmatched)
    resources = {name: ScannedDevices(reason=reasons.get(name, reason)) for name in declared}
    excluded = tuple(Excluded(one_line(each.id), one_line(each.reason)) for each in found.excluded)
    where = location_of_function(plugin.devices)
    for name, devices in _by_resource(plugin, [*found.devices, *found.invalid]):
        scanned = ScannedDevices.of(devices, where)
        valid = scanned.devices.values()
        scanned = scanned.with_warnings([*missing_files(plugin.host, valid), *device_warnings(valid)])
        resources[name] = scanned.all_unhealthy(watch_failure) if watch_failure else scanned
    return Scan(resources, reason, found.fault or bool(watch_failure), excluded=excluded, unmatched=unmatched)


def _reasons(unmatched: Iterable[Unmatched]) -> Mapping[str, str]:
    """Return which settings match nothing, by resource."""
    found: dict[str, list[str]] = {}
    for each in unmatched:
        found.setdefault(each.resource, []).append(each.reason)
    return {
        resource: "; ".join(shortened(reasons, MAX_REASONS, "setting", "without a match"))
        for resource, reasons in found.items()
    }


def _declared(plugin: Plugin) -> list[str]:
    answer: object = plugin.resources()
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise wrong_answer(answer, 'a list of resource names, such as ["example.com/name"]')
    return [_ascii(name) for name in at_most(answer, MAX_RESOURCES, "resources")]


def _listed(answer: object, expected: str) -> list[Any]:
    """Return what a plugin has returned as its devices; each item is validated later."""
    return list(_items(answer, expected))


def _items(answer: object, expected: str) -> Iterator[Any]:
    if isinstance(answer, (str, bytes, Mapping)) or not isinstance(answer, Iterable):
        raise wrong_answer(answer, expected)
    return limited(answer, MAX_DEVICES, "devices")


def _by_resource(plugin: Plugin, offered: Iterable[Device]) -> Iterable[tuple[str, list[Device]]]:
    def resource(device: Device) -> str:
        named: object = getattr(device, "resource", "")
        # Anything other than a name makes the device invalid; it does not create another resource.
        return _ascii(named if named and isinstance(named, str) else plugin.resource)

    # Sorting is stable: within a resource the plugin's own order is kept.
    return [(name, list(devices)) for name, devices in groupby(sorted(offered, key=resource), key=resource)]


def _ascii(name: object) -> str:
    """Return a resource name as ASCII, which can be written anywhere. A valid name is unchanged."""
    return str(name).encode("ascii", "backslashreplace").decode()
