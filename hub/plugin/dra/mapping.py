"""A plugin's devices as the devices of a ResourceSlice: names, attributes and taints, within the API server's limits.

One invalid value makes the API server reject the whole slice, so a value that does not fit is shortened or left out
here, and what an administrator should know about that is reported in the status.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hub.api.device import Device
from hub.api.kernel import PCI_ADDRESS
from hub.base.wording import counted
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.pci import PciTree
from hub.plugin.health.record import BROKEN, CORDONS, EXTERNAL, FLAPPING, HELD, PLUGIN, RESET, Health
from hub.plugin.health.store import DeviceHealth

NAME_CHARACTERS = 63
"""Maximum length of the name of a device, which is a DNS label."""

ATTRIBUTES = 32
"""Maximum number of attributes of a device."""

ATTRIBUTE_CHARACTERS = 32
VALUE_BYTES = 64

_FAULTS = frozenset({PLUGIN, BROKEN, RESET, EXTERNAL})
"""The sources that say that a device does not work. Others only say that it must not be allocated to a new pod or,
after a failed scan, that its condition is unknown: no pod is evicted for those reasons."""

_DIGEST_CHARACTERS = 8
_DNS_LABEL = re.compile("[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_STANDARD = "resource.kubernetes.io/"
"""The domain of the attributes that have the same meaning for all drivers."""


class DraDevice(NamedTuple):
    """One device as a claim names it."""

    name: str
    resource: str
    device: Device
    health: DeviceHealth
    content: Mapping[str, Any]
    """The device as in the specification of a ResourceSlice."""
    problem: str = ""
    """What was left out."""


def dra_devices(
    inventory: Inventory, own_resource: str, driver: str, tree: PciTree, *, evict: bool = False
) -> dict[str, DraDevice]:
    """Return all devices by their names, in the plugin's order.

    Args:
        inventory: The devices.
        own_resource: The resource of devices that do not set one.
        driver: The driver's name.
        tree: Finds the PCI root of a device.
        evict: Whether pods are evicted from devices that fail.
    """
    found: dict[str, DraDevice] = {}
    for resource in inventory:
        for device in resource.list.devices.values():
            name = device_name(device.id, resource.name, own_resource)
            health = resource.list.health[device.id]
            attributes, problem = _attributes(device, resource.name, tree)
            content: dict[str, Any] = {"name": name, "attributes": attributes}
            if health.reason:
                content["taints"] = taints(driver, health, evict=evict)
            found[name] = DraDevice(name, resource.name, device, health, content, problem)
    return found


def device_name(device_id: str, resource: str, own_resource: str) -> str:
    """Return the name of a device in its pool. Claims contain it, so it depends on nothing but these arguments.

    An id is unique only within its resource, and may have characters that a name cannot have: in such cases, a digest
    of both makes the name unique.
    """
    if resource == own_resource and len(device_id) <= NAME_CHARACTERS and _DNS_LABEL.fullmatch(device_id):
        return device_id
    digest = hashlib.sha256(f"{resource} {device_id}".encode()).hexdigest()[:_DIGEST_CHARACTERS]
    readable = re.sub("[^a-z0-9]+", "-", device_id.lower()).strip("-")
    return f"{readable[: NAME_CHARACTERS - _DIGEST_CHARACTERS - 1].rstrip('-') or 'device'}-{digest}"


def taint_key(driver: str, source: str) -> str:
    """Return the key of the taint for a fault from this source."""
    if source == HELD:
        return f"{driver}/held"
    if source in CORDONS:
        return f"{driver}/cordon"
    return f"{driver}/broken" if source in (BROKEN, FLAPPING) else f"{driver}/unhealthy"


def taints(driver: str, health: DeviceHealth, *, evict: bool = False) -> list[dict[str, str]]:
    """Return the taints of a device that cannot be used: no new claim gets it.

    Claims that have it keep it, unless `evict` is set and the device has a fault.
    """
    sources = dict.fromkeys([health.source, *([HELD] if health.held else [])])
    evicting = _FAULTS if evict and health.health is Health.UNHEALTHY else frozenset()
    effects = {source: "NoExecute" if source in evicting else "NoSchedule" for source in sources}
    return [{"key": taint_key(driver, source), "value": source, "effect": effects[source]} for source in sources]


def _attributes(device: Device, resource: str, tree: PciTree) -> tuple[dict[str, Any], str]:
    """Return the attributes, and what was left out."""
    found: dict[str, Any] = {"resource": _text(resource), "id": _text(device.id)}
    if device.physical:
        found["physical"] = _text(device.physical)
    found |= dict(_standard_attributes(device, tree))
    omitted = []
    for name, value in device.attributes.items():
        known = _attribute_name(name)
        if known in found or len(found) >= ATTRIBUTES:
            omitted.append(name)
        else:
            found[known] = _text(value)
    problems = []
    if found["resource"] != {"string": resource}:
        problems.append("the name of the resource is too long for an attribute, which has only its beginning")
    if omitted:
        left_out = counted(len(omitted), "attribute")
        problems.append(f"{left_out} left out: a device has at most {ATTRIBUTES}, each with a unique name")
    return found, "; ".join(problems)


def _standard_attributes(device: Device, tree: PciTree) -> Iterator[tuple[str, Any]]:
    addresses = [address.lower() for address in device.pci if PCI_ADDRESS.fullmatch(address.lower())]
    if addresses:
        yield f"{_STANDARD}pciBusID", {"string": addresses[0]}
    if len(roots := {tree.root(address) for address in addresses}) == 1 and (root := roots.pop()):
        yield f"{_STANDARD}pcieRoot", {"string": root}
    if len(device.numa) == 1:
        yield f"{_STANDARD}numaNode", {"int": device.numa[0]}


def _attribute_name(name: str) -> str:
    """Return the plugin's name of an attribute, converted to a C identifier."""
    plain = re.sub("[^A-Za-z0-9_]", "_", name)[:ATTRIBUTE_CHARACTERS]
    return plain if plain and not plain[0].isdigit() else f"_{plain}"[:ATTRIBUTE_CHARACTERS]


def _text(value: str) -> dict[str, str]:
    return {"string": value.encode()[:VALUE_BYTES].decode(errors="ignore")}
