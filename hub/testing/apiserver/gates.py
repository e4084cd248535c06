"""Fields that a server silently drops, because a feature gate is off in its version."""

from collections.abc import Callable, Iterator
from typing import Any

from hub.testing.apiserver.kinds import Object

VERSIONS = ("1.34", "1.35", "1.36", "1.37")
"""The Kubernetes versions that the fake API server can imitate."""

ON_SINCE = {
    "DRADeviceTaints": "1.36",
    "DRAPartitionableDevices": "1.36",
    "DRADeviceBindingConditions": "1.36",
    "DRAConsumableCapacity": "1.36",
    "DRAListTypeAttributes": "",
    "DRANodeAllocatableResources": "",
    "DRAExtendedResource": "1.36",
}
"""The first version in which each gate is on by default; empty if it is off in all versions."""

_LISTS = ("ints", "bools", "strings", "versions")

Place = tuple[Object, str]
"""An object, and the name of a field in it."""


def enabled(version: str) -> frozenset[str]:
    """Return the gates that are on by default in a version."""
    return frozenset(gate for gate, since in ON_SINCE.items() if since and version >= since)


def drop_disabled_fields(new: Object, old: Object | None, gates: frozenset[str]) -> None:
    """Drop the fields of a ResourceSlice whose gates are off, unless the slice had such fields before."""
    for gate, places in _PLACES.items():
        if gate in gates or (old is not None and any(name in place for place, name in places(old))):
            continue
        for place, name in list(places(new)):
            place.pop(name, None)


def _devices(found: Object) -> list[Object]:
    return found.get("spec", {}).get("devices") or []


def _of_devices(*names: str) -> Callable[[Object], Iterator[Place]]:
    def places(found: Object) -> Iterator[Place]:
        return ((device, name) for device in _devices(found) for name in names)

    return places


def _partitionable(found: Object) -> Iterator[Place]:
    yield from ((found.get("spec", {}), name) for name in ("sharedCounters", "perDeviceNodeSelection"))
    yield from _of_devices("consumesCounters", "nodeName", "nodeSelector", "allNodes")(found)


def _consumable(found: Object) -> Iterator[Place]:
    yield from _of_devices("allowMultipleAllocations")(found)
    yield from ((each, "requestPolicy") for each in _values(found, "capacity"))


def _list_attributes(found: Object) -> Iterator[Place]:
    return ((each, name) for each in _values(found, "attributes") for name in _LISTS)


def _values(found: Object, field: str) -> Iterator[Any]:
    return (each for device in _devices(found) for each in (device.get(field) or {}).values())


_PLACES: dict[str, Callable[[Object], Iterator[Place]]] = {
    "DRADeviceTaints": _of_devices("taints"),
    "DRAPartitionableDevices": _partitionable,
    "DRADeviceBindingConditions": _of_devices("bindingConditions", "bindingFailureConditions", "bindsToNode"),
    "DRAConsumableCapacity": _consumable,
    "DRAListTypeAttributes": _list_attributes,
    "DRANodeAllocatableResources": _of_devices("nodeAllocatableResourceMappings"),
}
"""Where in a slice the fields of each gate are."""
