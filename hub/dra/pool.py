"""The ResourceSlices of one driver on this node: what they should be, and what has to be written.

Nothing here reads or writes anything itself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hub.model.dra import Object

API = "/apis/resource.k8s.io/v1"
SLICES = f"{API}/resourceslices"

DEVICES_PER_SLICE = 64
"""The limit of the API server for slices in which a device has a taint; up to 128 are allowed in others. The lower
limit is always used, or else the first taint would move devices between all slices."""

_NAME_CHARACTERS = 253
_DIGEST_CHARACTERS = 12


class Pool(NamedTuple):
    """The pool of a driver: all its devices on this node."""

    driver: str
    node: str
    node_uid: str

    def slice_name(self, index: int) -> str:
        """Return the name of a slice. The scheduler takes slices in name order."""
        name = f"{index:05x}-{self.driver}-{self.node}"
        if len(name) <= _NAME_CHARACTERS:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        return f"{name[: _NAME_CHARACTERS - _DIGEST_CHARACTERS - 1].rstrip('-.')}-{digest}"

    def slices(self, devices: Sequence[Object], generation: int) -> list[dict[str, Any]]:
        """Return the slices with these devices; a driver without devices has an empty slice."""
        chunks = [devices[i : i + DEVICES_PER_SLICE] for i in range(0, len(devices), DEVICES_PER_SLICE)] or [()]
        pool = {"name": self.node, "generation": generation, "resourceSliceCount": len(chunks)}
        return [self._slice(index, pool, list(chunk)) for index, chunk in enumerate(chunks)]

    def _slice(self, index: int, pool: Object, devices: list[Object]) -> dict[str, Any]:
        owner = {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": self.node_uid, "controller": True}
        return {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": self.slice_name(index), "ownerReferences": [owner]},
            "spec": {"driver": self.driver, "nodeName": self.node, "pool": pool, "devices": devices},
        }


class Plan(NamedTuple):
    """What has to be written, in this order: until all slices of a generation are there, nothing is allocated."""

    deletes: Sequence[dict[str, Any]] = ()
    updates: Sequence[dict[str, Any]] = ()
    creates: Sequence[dict[str, Any]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be written."""
        return not (self.deletes or self.updates or self.creates)


def plan(pool: Pool, devices: Sequence[Object], found: Mapping[str, dict[str, Any]], generation: int) -> Plan:
    """Return what has to be written so that the API server has these devices.

    The generation stays the same as long as each slice keeps its devices, whatever changes in them. If a device could
    be in two slices for a moment, all slices get a new generation, and the scheduler waits until they are complete.

    Args:
        pool: The pool.
        devices: The devices.
        found: The slices of the driver on this node that the API server has, by name.
        generation: The latest known generation, including that of slices that have since been deleted.
    """
    latest = max([generation, *(_generation(each) for each in found.values())])
    wanted = {each["metadata"]["name"]: each for each in pool.slices(devices, latest)}
    if found.keys() - wanted.keys() or any(_moved(found[name], wanted[name]) for name in wanted if name in found):
        latest += 1
        wanted = {each["metadata"]["name"]: each for each in pool.slices(devices, latest)}
    return Plan(
        deletes=[found[name] for name in sorted(found.keys() - wanted.keys())],
        updates=[
            replacement(found[name], each)
            for name, each in wanted.items()
            if name in found and not same(found[name], each)
        ],
        creates=[each for name, each in wanted.items() if name not in found],
    )


def replacement(found: Object, wanted: Object) -> dict[str, Any]:
    """Return the slice that replaces another one; it keeps the times at which taints were added."""
    times = {
        (device.get("name"), *_taint_key(taint)): taint["timeAdded"]
        for device in _devices(found)
        for taint in device.get("taints") or ()
        if "timeAdded" in taint
    }
    devices = [_with_times(device, times) for device in _devices(wanted)]
    version = {"resourceVersion": found["metadata"].get("resourceVersion", "")}
    return {
        **wanted,
        "metadata": {**wanted["metadata"], **version},
        "spec": {**wanted["spec"], "devices": devices},
    }


def same(found: Object, wanted: Object) -> bool:
    """Return whether two slices are equivalent. The order of devices matters; the time of a taint does not."""
    return _meaning(found) == _meaning(wanted)


def lost(sent: Object, answer: Object) -> bool:
    """Return whether the API server has left a field out, because it does not have the feature."""
    return _meaning(sent) != _meaning(answer)


def _meaning(content: Object) -> tuple[Any, ...]:
    spec = content["spec"]
    owners = [(each.get("kind"), each.get("uid")) for each in content["metadata"].get("ownerReferences") or ()]
    pool = spec.get("pool", {})
    return (
        spec.get("driver"),
        spec.get("nodeName"),
        (pool.get("name"), pool.get("generation"), pool.get("resourceSliceCount")),
        owners,
        [_without_times(device) for device in _devices(content)],
    )


def _without_times(device: Object) -> Object:
    taints = [{key: value for key, value in each.items() if key != "timeAdded"} for each in device.get("taints") or ()]
    plain = {key: value for key, value in device.items() if value not in ({}, [], None) and key != "taints"}
    return plain | ({"taints": taints} if taints else {})


def _with_times(device: Object, times: Mapping[tuple[Any, ...], str]) -> Object:
    if not device.get("taints"):
        return device
    taints = []
    for taint in device["taints"]:
        added = times.get((device["name"], *_taint_key(taint)))
        taints.append({**taint, "timeAdded": added} if added else taint)
    return {**device, "taints": taints}


def _taint_key(taint: Object) -> tuple[Any, ...]:
    return taint.get("key"), taint.get("value"), taint.get("effect")


def _moved(found: Object, wanted: Object) -> bool:
    """Return whether a slice's device names, or its pool's number of slices or generation, have to change."""
    pools = found["spec"].get("pool", {}), wanted["spec"]["pool"]
    names = [[device.get("name") for device in _devices(each)] for each in (found, wanted)]
    counts = [pool.get("resourceSliceCount") for pool in pools]
    generations = [pool.get("generation") for pool in pools]
    return names[0] != names[1] or counts[0] != counts[1] or generations[0] != generations[1]


def _generation(content: Object) -> int:
    return int(content["spec"].get("pool", {}).get("generation", 0))


def _devices(content: Object) -> Sequence[Object]:
    devices: Sequence[Object] = content["spec"].get("devices") or ()
    return devices
