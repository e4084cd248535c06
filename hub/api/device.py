"""Devices, what a container gets for them, hardware that is excluded, and settings that match nothing."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import msgspec
from msgspec.structs import force_setattr

Path = str | os.PathLike[str]


class DeviceNode(msgspec.Struct, frozen=True):
    """A device file for a container.

    Args:
        host_path: The path on the node.
        container_path: The path in the container; by default the same.
        permissions: What the container may do: any of r(ead), w(rite) and m(knod).
    """

    host_path: Path
    container_path: Path = ""
    permissions: str = "rw"

    def __post_init__(self) -> None:
        force_setattr(self, "host_path", os.fspath(self.host_path))
        force_setattr(self, "container_path", os.fspath(self.container_path) or self.host_path)


class Mount(msgspec.Struct, frozen=True):
    """A file or directory on the node that is mounted into a container.

    Args:
        host_path: The path on the node.
        container_path: The path in the container; by default the same.
        read_only: Whether the mount is read-only.
    """

    host_path: Path
    container_path: Path = ""
    read_only: bool = True

    def __post_init__(self) -> None:
        force_setattr(self, "host_path", os.fspath(self.host_path))
        force_setattr(self, "container_path", os.fspath(self.container_path) or self.host_path)


class Device(msgspec.Struct, frozen=True):
    """A device that the kubelet can allocate to one container.

    Args:
        id: The id in the kubelet's API: unique within the resource, at most 63 characters.
        resource: The resource of the device; by default the plugin's `resource`.
        nodes: Device files that a container with this device gets.
        mounts: Files and directories that a container with this device gets.
        env: Environment variables that a container with this device gets.
        cdi: Names of CDI devices ("vendor.com/class=device") that a container with this device gets.
        annotations: Annotations for the container runtime.
        unhealthy: Why it cannot be used now; empty when it can.
        broken: Why it cannot be used until a reset of it succeeds or an administrator uncordons it. Set it once: the
            hub keeps it, even across restarts.
        warning: What is wrong with it although it can be used, to be shown to an administrator; empty if nothing is.
        numa: The NUMA nodes that the device is close to; empty if unknown.
        physical: The id of the physical device of which this device is one share; empty for a whole device.
        pci: The PCI addresses as sysfs writes them ("0000:3b:00.0"), to be shown to an administrator.
        attributes: More facts for an administrator, such as the model.
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
    warning: str = ""

    def with_fault(self, fault: str) -> Self:
        """Return this device with one more reason why it cannot be used; the same device if the reason is empty."""
        faults = filter(None, [self.unhealthy, fault])
        return msgspec.structs.replace(self, unhealthy="; ".join(faults)) if fault else self


class Excluded(msgspec.Struct, frozen=True):
    """Hardware that exists but is not advertised, to be shown to an administrator.

    Args:
        id: Its name.
        reason: Why it is excluded.
    """

    id: str
    reason: str


class Unmatched(msgspec.Struct, frozen=True):
    """A setting that matches nothing on the node, to be shown to an administrator.

    Args:
        reason: What was not found, such as "no file matches /dev/ttyUSB*".
        resource: The resource whose devices it selects; empty if it is not about one resource.
    """

    reason: str
    resource: str = ""


class Allocation(msgspec.Struct, frozen=True):
    """What one container gets for its devices."""

    nodes: Sequence[DeviceNode] = ()
    mounts: Sequence[Mount] = ()
    env: Mapping[str, str] = {}
    cdi: Sequence[str] = ()
    annotations: Mapping[str, str] = {}

    @classmethod
    def merge(cls, devices: Iterable[Device]) -> Self:
        """Merge what the devices define; duplicates appear once.

        A device file that several devices have gets the combined permissions of all of them. Different values
        of the same environment variable or annotation are joined by commas.

        Raises:
            ValueError: two devices have different files at the same container path.
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
