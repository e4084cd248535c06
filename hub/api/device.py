"""What a plugin says with: devices, what a container gets with them, and what is left out."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import msgspec
from msgspec.structs import force_setattr

Path = str | os.PathLike[str]


class DeviceNode(msgspec.Struct, frozen=True):
    """A device file that a container gets.

    Args:
        host_path: Where it is on the node.
        container_path: Where the container finds it; by default at the same path.
        permissions: What the container may do: some of r(ead), w(rite) and m(ake the node).
    """

    host_path: Path
    container_path: Path = ""
    permissions: str = "rw"

    def __post_init__(self) -> None:
        force_setattr(self, "host_path", os.fspath(self.host_path))
        force_setattr(self, "container_path", os.fspath(self.container_path) or self.host_path)


class Mount(msgspec.Struct, frozen=True):
    """A file or directory of the node that a container gets.

    Args:
        host_path: Where it is on the node.
        container_path: Where the container finds it; by default at the same path.
        read_only: Whether the container may not write to it.
    """

    host_path: Path
    container_path: Path = ""
    read_only: bool = True

    def __post_init__(self) -> None:
        force_setattr(self, "host_path", os.fspath(self.host_path))
        force_setattr(self, "container_path", os.fspath(self.container_path) or self.host_path)


class Device(msgspec.Struct, frozen=True):
    """One thing that the kubelet may hand to one container.

    Args:
        id: Its name towards the kubelet, unique within the resource, at most 63 characters.
        resource: The resource it belongs to; by default the plugin's `resource`.
        nodes: Device files that come with it.
        mounts: Files and directories that come with it.
        env: Environment variables that come with it.
        cdi: Names of CDI devices ("vendor.com/class=device") that come with it.
        annotations: Annotations for the container runtime.
        unhealthy: Why it cannot be used just now; empty when it can.
        broken: Why it cannot be used until a reset of it succeeds or an operator says so. To say it once is enough: it
            is kept, also across restarts.
        numa: The NUMA nodes it is close to; empty when that is unknown.
        physical: The id of the physical device of which this is one share among several; empty when it is a whole one.
        pci: Its PCI addresses as sysfs writes them ("0000:3b:00.0"), for an administrator who looks for it.
        attributes: What else an administrator wants to know of it, such as its model.
    """

    id: str
    resource: str = ""
    nodes: Sequence[DeviceNode] = ()
    mounts: Sequence[Mount] = ()
    env: Mapping[str, str] = {}
    cdi: Sequence[str] = ()
    annotations: Mapping[str, str] = {}
    unhealthy: str = ""
    broken: str = ""
    numa: Sequence[int] = ()
    physical: str = ""
    pci: Sequence[str] = ()
    attributes: Mapping[str, str] = {}


class Excluded(msgspec.Struct, frozen=True):
    """Something that is there and not advertised, for an administrator who looks for it.

    Args:
        id: What it is called.
        reason: Why it is left out.
    """

    id: str
    reason: str


class Allocation(msgspec.Struct, frozen=True):
    """What one container gets for the devices it was given."""

    nodes: Sequence[DeviceNode] = ()
    mounts: Sequence[Mount] = ()
    env: Mapping[str, str] = {}
    cdi: Sequence[str] = ()
    annotations: Mapping[str, str] = {}

    @classmethod
    def merge(cls, devices: Iterable[Device]) -> Self:
        """Everything that the devices carry, each thing once.

        Device files with the same container path are joined, with the permissions of all. Values of the same
        environment variable or annotation are joined by commas, each value once.

        Raises:
            ValueError: two devices want different things at the same container path.
        """
        devices = list(devices)
        return cls(
            nodes=_merge_nodes(node for device in devices for node in device.nodes),
            mounts=_merge_mounts(mount for device in devices for mount in device.mounts),
            env=_join_values(device.env for device in devices),
            cdi=list(dict.fromkeys(name for device in devices for name in device.cdi)),
            annotations=_join_values(device.annotations for device in devices),
        )


def _merge_nodes(nodes: Iterable[DeviceNode]) -> list[DeviceNode]:
    merged: dict[Path, DeviceNode] = {}
    for node in nodes:
        known = merged.setdefault(node.container_path, node)
        if known.host_path != node.host_path:
            raise ValueError(f"{node.container_path} would be both {known.host_path} and {node.host_path}")
        permissions = "".join(letter for letter in "rwm" if letter in known.permissions + node.permissions)
        merged[node.container_path] = DeviceNode(node.host_path, node.container_path, permissions)
    return list(merged.values())


def _merge_mounts(mounts: Iterable[Mount]) -> list[Mount]:
    merged: dict[Path, Mount] = {}
    for mount in mounts:
        known = merged.setdefault(mount.container_path, mount)
        if known != mount:
            both = "both read-only and writable"
            if known.host_path != mount.host_path:
                both = f"from {known.host_path} and from {mount.host_path}"
            raise ValueError(f"{mount.container_path} would be mounted {both}")
    return list(merged.values())


def _join_values(maps: Iterable[Mapping[str, str]]) -> dict[str, str]:
    values: dict[str, dict[str, None]] = {}
    for each in maps:
        for name, value in each.items():
            values.setdefault(name, {})[value] = None
    return {name: ",".join(distinct) for name, distinct in values.items()}
