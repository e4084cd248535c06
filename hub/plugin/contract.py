"""What a plugin author writes against.

A plugin is one class with one required method, `devices`. It is synchronous and knows its hardware; the process around
it owns asyncio, gRPC and the kubelet. What the kubelet is told about a plugin's abilities follows from what it
overrides.
"""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import msgspec
from msgspec.structs import force_setattr

from hub.plugin.health import Policy, Probing
from hub.plugin.host import Host
from hub.plugin.settingsfile import read_settings

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
        numa: The NUMA nodes it is close to; empty when that is unknown.
        physical: The id of the physical device of which this is one share among several; empty when it is a whole one.
    """

    id: str
    resource: str = ""
    nodes: Sequence[DeviceNode] = ()
    mounts: Sequence[Mount] = ()
    env: Mapping[str, str] = {}
    cdi: Sequence[str] = ()
    annotations: Mapping[str, str] = {}
    unhealthy: str = ""
    numa: Sequence[int] = ()
    physical: str = ""


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


class NoDevices(Exception):
    """Raised by `Plugin.devices` where there is nothing to advertise, with the reason for the administrator."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a plugin without any, and the base of those with some."""

    @classmethod
    def read(cls, path: pathlib.Path) -> Self:
        """The settings that a YAML or JSON file holds.

        Raises:
            hub.errors.ConfigError: the file cannot be read, or says something that these settings do not know.
        """
        return read_settings(path, cls)


class Plugin:
    """A device plugin: the devices of a node and what is particular about them.

    Attributes:
        resource: The resource that devices belong to when they name none, and which is served even without a device.
        settings: What the plugin's configuration file says. Annotate it with your own subclass of `Settings`, and the
            file is decoded into that.
        host: The node's file system.
        interval: Seconds between two calls of `devices`, when nothing else asks for one.
        scan_timeout: Seconds after which a call of `devices` that has not ended makes the known devices unhealthy.
        allocate_timeout: Seconds after which a call of `allocate` fails. The kubelet sets no limit of its own, and
            admits no other pod while it waits.
        prefer_timeout: Seconds after which the kubelet is left to its own choice.
        reset: The function ("module:function") that makes a device ready for its next container, see `hub.reset`. It
            is called before each start of a container, in a process of its own.
        reset_timeout: Seconds for all resets of one container, at most 26: the kubelet gives up after 30, and to end
            what has not ended by then takes up to 3.
        reset_failures: So many failed resets in a row make a device unhealthy, until one succeeds.
        recovery: How a device that was unhealthy comes back.
        probing: When devices that cannot be reset are tried again.
    """

    resource: str = ""
    settings: Settings
    host: Host
    interval: ClassVar[float] = 10.0
    scan_timeout: ClassVar[float] = 30.0
    allocate_timeout: ClassVar[float] = 5.0
    prefer_timeout: ClassVar[float] = 1.0
    reset: str = ""
    reset_timeout: float = 25.0
    reset_failures: ClassVar[int] = 3
    recovery: ClassVar[Policy] = Policy()
    probing: ClassVar[Probing] = Probing()

    def __init__(self, settings: Any = None, host: Host | None = None) -> None:  # noqa: ANN401 - see `settings`
        self.settings = Settings() if settings is None else settings
        self.host = host or Host()

    def resources(self) -> Iterable[str]:
        """Resources to serve even while they have no device."""
        return [self.resource] if self.resource else []

    def devices(self) -> Iterable[Device]:
        """The whole truth as of now; what is not in it is gone.

        Called on a period, on SIGHUP and when `watch` says so, never twice at once, in a thread of its own.

        Raises:
            NoDevices: there is nothing to advertise, and this is why.
        """
        raise NotImplementedError

    def watch(self, changed: Callable[[], None]) -> None:  # noqa: ARG002 - for those who override it
        """Wait for hardware events and call `changed` at each; may block for ever, in a thread of its own.

        While it fails, the plugin's devices are unhealthy for that reason.
        """
        return

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """What a container gets for these devices. Answers from memory, touches no hardware."""
        return Allocation.merge(devices)

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """The best `size` of the available devices, the required ones among them. Answers from memory.

        An empty answer, an error and an overrun all leave the choice to the kubelet.
        """
        raise NotImplementedError

    def reset_settings(self) -> object:
        """What the reset function gets as its settings; anything that JSON can say. Answers within two seconds."""
        return self.settings

    def why_not_reset(self, shares: Sequence[Device]) -> str:
        """Why a physical device must not be reset now; empty when it may be. Answers within two seconds.

        A reset is left out when this fails, does not answer, or answers something else than a text.

        Args:
            shares: All devices that are advertised of the physical one, in whatever resource.
        """
        return f"it is shared by {len(shares)} devices, and others may be in use" if len(shares) > 1 else ""


def overrides(plugin: Plugin, method: str) -> bool:
    """Whether a plugin brings an implementation of its own."""
    return getattr(type(plugin), method) is not getattr(Plugin, method)


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
