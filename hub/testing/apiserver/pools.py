"""The devices that the slices of a node offer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hub.testing.apiserver.kinds import Object


class Candidate(NamedTuple):
    """A device that may be allocated."""

    driver: str
    pool: str
    device: Object

    @property
    def key(self) -> tuple[str, str, str]:
        """The driver, pool and name, which identify a device."""
        return self.driver, self.pool, self.device["name"]


def candidates(slices: Iterable[Object], node: str) -> list[Candidate]:
    """Return the devices of all complete pools of a node, sorted by the name of their slice.

    A pool is complete if all slices of its highest generation are there, and no two devices have the same name.
    """
    pools: dict[tuple[str, str], list[Object]] = {}
    for each in sorted(slices, key=lambda found: str(found["metadata"]["name"])):
        spec = each["spec"]
        if spec.get("nodeName") == node or spec.get("allNodes"):
            pools.setdefault((spec["driver"], spec["pool"]["name"]), []).append(each)
    return [
        Candidate(driver, pool, device)
        for (driver, pool), found in pools.items()
        for device in _complete_devices(found)
    ]


def untolerated(device: Object, tolerations: Sequence[Object], effects: Iterable[str]) -> list[Object]:
    """Return the taints of a device with one of these effects that no toleration tolerates."""
    taints = [each for each in device.get("taints") or () if each["effect"] in effects]
    return [taint for taint in taints if not any(_tolerates(each, taint) for each in tolerations)]


def _complete_devices(slices: Sequence[Object]) -> list[Object]:
    latest = max(each["spec"]["pool"].get("generation", 0) for each in slices)
    current = [each["spec"] for each in slices if each["spec"]["pool"].get("generation", 0) == latest]
    devices = [device for spec in current for device in spec.get("devices") or ()]
    complete = all(spec["pool"]["resourceSliceCount"] == len(current) for spec in current)
    distinct = len({device["name"] for device in devices}) == len(devices)
    return devices if complete and distinct else []


def _tolerates(toleration: Object, taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    exists = bool(toleration.get("operator") == "Exists")
    if not toleration.get("key"):
        return exists
    if toleration["key"] != taint["key"]:
        return False
    return exists or bool(toleration.get("value", "") == taint.get("value", ""))
