"""Build the devices: what a container gets for the hardware of a resource."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from hub import Device, DeviceNode, Mount, fill_template
from plugins.generic.discovery.sysfs import facts, numa_node
from plugins.generic.resources import Found, GivenFile
from plugins.generic.settings import SHARE, Resource

ID_CHARACTERS = 63
"""The longest id that the kubelet's API allows."""

MAX_DEVICES = 16_384
"""Maximum number of devices of a resource, with all shares: a kubelet does not accept much longer lists."""

_DIGEST = 8
_ROOM = len(f"::{MAX_DEVICES}")


class DescribedDevice(NamedTuple):
    """A device of a resource, with the values of all placeholders except that of the share."""

    resource: Resource
    found: Found
    id: str
    values: Mapping[str, str]
    files: Sequence[tuple[GivenFile, str]]
    """Its files, with their paths in the container."""

    @property
    def key(self) -> tuple[str, str]:
        """The key that identifies it among all devices of the plugin."""
        return self.resource.name, self.id

    @property
    def physical(self) -> str:
        """The id of the hardware, which other resources may offer too."""
        return _short(self.found.physical or "+".join(given.file.physical for given in self.found.files))

    @property
    def uses(self) -> int:
        """How many containers can use it at the same time."""
        return self.resource.count * self.found.uses

    @property
    def problem(self) -> str:
        """Why no container can get it; empty if one can."""
        paths: dict[str, str] = {}
        for given, path in self.files:
            first = paths.setdefault(path, given.file.path)
            if first != given.file.path:
                return f"{first} and {given.file.path} would both be {path} in the container"
        return ""


class Offer(NamedTuple):
    """The devices of a resource."""

    devices: list[DescribedDevice]
    excluded: dict[str, str]
    """Why other devices are excluded, by the name of their hardware."""


def describe_all(resource: Resource, found: Sequence[Found]) -> Offer:
    """Return the devices of a resource; those that cannot be served are excluded."""
    offer, ids, total = Offer([], {}), set[str](), 0
    for index, each in enumerate(found):
        described = describe(resource, each, index)
        problem = described.problem
        first = _share_id(described, {**described.values, "share": "0"})
        if first in ids:
            problem = f"its id, {first}, is already used by another device of the resource"
        elif total + described.uses > MAX_DEVICES:
            problem = f"the resource has {MAX_DEVICES} devices already"
        if problem:
            offer.excluded[each.key] = problem
        else:
            total += described.uses
            ids.add(first)
            offer.devices.append(described)
    return offer


def describe(resource: Resource, found: Found, index: int) -> DescribedDevice:
    """Return a device of a resource with the values of its placeholders.

    Args:
        resource: The resource.
        found: The hardware.
        index: The number of the device in the resource.
    """
    known = facts(found.device)
    paths = [given.file.path for given in found.files]
    values = {name: known.get(name, "") for name in ("serial", "port", "vendor", "product")}
    values["pci"] = ",".join(found.functions) or known.get("pci", "")
    values["name"] = _base(paths[0]) if paths else found.device.name if found.device else ""
    name = found.key if SHARE in resource.id or not resource.id else fill_template(resource.id, values)
    values |= {"id": _short(name or found.key), "index": str(index)}
    files = [(given, _container_path(given, values)) for given in found.files]
    targets = [given.file.target for given in found.files]
    inside = [path for _, path in files]
    values |= {"host_path": "".join(targets[:1]), "host_paths": ",".join(targets)}
    values |= {"path": "".join(inside[:1]), "paths": ",".join(inside)}
    return DescribedDevice(resource, found, values["id"], values, files)


def shares(described: DescribedDevice, fault: str) -> Iterator[Device]:
    """Return the devices that can be allocated to containers.

    Args:
        described: The device.
        fault: Why it cannot be used; empty if it can.
    """
    found, resource = described.found, described.resource
    numa = numa_node(found.device) if resource.numa else None
    pci = found.functions or tuple(filter(None, [described.values["pci"]]))
    nodes = [DeviceNode(g.file.target, path, g.permissions) for g, path in described.files if not g.mount]
    attributes = _attributes(described)
    for share in range(described.uses):
        values = {**described.values, "share": str(share)}
        yield Device(
            _share_id(described, values),
            resource.name,
            nodes=nodes,
            mounts=[*_mounts(described), *_mounted_files(described)],
            env={name: fill_template(value, values) for name, value in resource.env.items()},
            cdi=[fill_template(name, values) for name in resource.cdi],
            annotations={name: fill_template(value, values) for name, value in resource.annotations.items()},
            unhealthy=fault,
            numa=[] if numa is None else [numa],
            physical=described.physical,
            pci=pci,
            attributes=attributes,
        )


def _share_id(described: DescribedDevice, values: Mapping[str, str]) -> str:
    if SHARE in described.resource.id:
        return _short(fill_template(described.resource.id, values), ID_CHARACTERS)
    return f"{described.id}::{values['share']}" if described.uses > 1 else described.id


def _mounts(described: DescribedDevice) -> Iterator[Mount]:
    for mount in described.resource.mounts:
        host_path, container_path = (
            fill_template(path, described.values) for path in (mount.host_path, mount.container_path)
        )
        yield Mount(host_path, container_path, mount.read_only)


def _mounted_files(described: DescribedDevice) -> Iterator[Mount]:
    for given, path in described.files:
        if given.mount:
            yield Mount(given.file.target, path, given.read_only)


def _container_path(given: GivenFile, values: Mapping[str, str]) -> str:
    path = fill_template(given.container_path, values) if given.container_path else given.file.path
    return path + _base(given.file.path) if path.endswith("/") else path


def _attributes(described: DescribedDevice) -> dict[str, str]:
    """Describe a device for administrators."""
    values, device = described.values, described.found.device
    known = {
        "links": ", ".join(given.file.path for given, _ in described.files if given.file.path != given.file.target),
        "serial": values["serial"],
        "port": values["port"],
        "hardware": ":".join(filter(None, [values["vendor"], values["product"]])),
        "driver": device.driver if device else "",
    }
    return {name: value for name, value in known.items() if value}


def _short(name: str, limit: int = ID_CHARACTERS - _ROOM) -> str:
    """Return a name that is short enough for an id: the end of a longer name is replaced with a digest of it."""
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: limit - _DIGEST - 1]}~{digest}"


def _base(path: str) -> str:
    return path.rpartition("/")[2]
