"""What a plugin process tells about itself and its devices."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class RegistrationStatus(StrEnum):
    """How a resource stands with the kubelet."""

    WAITING = "waiting for kubelet"
    """There is no kubelet, or it does not answer yet."""
    REGISTERING = "registering"
    """Asked; the kubelet has not opened its stream yet."""
    REGISTERED = "registered"
    """The kubelet's ListAndWatch stream is open."""
    REJECTED = "refused"
    """The kubelet said no; the detail has its words."""
    SOCKET_TAKEN = "displaced"
    """Another process has bound the resource's socket and serves on it; the detail has the path."""
    SUPERSEDED = "handed over"
    """A younger hub of the node serves it; the detail names the hub."""
    INVALID = "invalid"
    """The resource can never be registered as it is; the detail says why."""


class DeviceStatus(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One device as it is advertised."""

    id: str
    healthy: bool
    reason: str = ""
    """Why it is not healthy."""
    numa: tuple[int, ...] = ()
    physical: str = ""
    """The physical device that it is a share of, if it is one."""
    health: str = "healthy"
    """healthy, unhealthy or recovering."""
    since: float = 0
    """Unix time since when it is not healthy; 0 when it is."""
    source: str = ""
    """Who says so: plugin, broken, reset, flapping, cordon, admin or scan; empty when it is healthy."""
    pci: tuple[str, ...] = ()
    """Its PCI addresses, as sysfs writes them."""
    upstream: tuple[str, ...] = ()
    """The PCI bridges between the processor and it, the outermost first; of several addresses those of the first."""
    attributes: Mapping[str, str] = {}
    """What the plugin tells about it, such as its model."""
    holder: str = ""
    """Who has it, as "namespace/pod/container"; empty when nobody has it, or nobody can tell."""


class ExcludedDevice(msgspec.Struct, frozen=True):
    """Something that is there and not advertised."""

    id: str
    reason: str


class ResetReport(msgspec.Struct, frozen=True):
    """The last reset of one physical device."""

    outcome: str
    """ok, failed, timed out, crashed, abandoned or skipped."""
    message: str
    ended: float
    """Unix time."""
    seconds: float
    """How long it took."""


class Rejection(msgspec.Struct, frozen=True):
    """That containers did not get their devices, or were kept from starting."""

    reason: str
    """Of the last one."""
    time: float
    """Unix time of the last one."""
    count: int
    """Since the process started."""


class ResourceReport(msgspec.Struct, frozen=True):
    """One resource of a plugin."""

    name: str
    socket: str
    """File name in the kubelet's plugin directory."""
    registration: RegistrationStatus
    since: float
    """Unix time of the last change of `registration`."""
    registrations: int = 0
    """How often the kubelet accepted this resource since the process started."""
    detail: str = ""
    """The kubelet's words, or what is awaited."""
    reason: str = ""
    """Why there is no device, if there is none."""
    problems: tuple[str, ...] = ()
    """What the plugin offered that cannot be sent to a kubelet."""
    warnings: tuple[str, ...] = ()
    """What will go wrong with devices that are advertised, such as device files that do not exist."""
    devices: tuple[DeviceStatus, ...] = ()
    removed_in_use: Mapping[str, str] = {}
    """What somebody still holds and the plugin does not offer any more: device id to holder."""
    rejection: Rejection | None = None
    """None where no container was refused."""


class ConfigState(msgspec.Struct, frozen=True):
    """The configuration file that a plugin has read."""

    path: str
    digest: str
    """SHA-256 of its content as it was read."""


class PluginReport(msgspec.Struct, frozen=True):
    """One plugin process."""

    plugin: str
    pid: int
    started: float
    """Unix time."""
    scanned: bool = False
    """Whether it has looked for its devices yet."""
    resources: tuple[ResourceReport, ...] = ()
    reason: str = ""
    """What keeps the plugin from finding its devices, if anything does."""
    fault: bool = False
    """Whether that is a fault, and not just a node without such hardware."""
    excluded: tuple[ExcludedDevice, ...] = ()
    """What is there and not advertised."""
    resets: Mapping[str, ResetReport] = {}
    """The last reset of each physical device, by its `physical`, or by "RESOURCE ID" where it has none."""
    reset_counts: Mapping[str, int] = {}
    """Resets since the process started, by outcome."""
    config: ConfigState | None = None
    """None where it has read no file."""
    holders_known: bool = True
    """Whether the kubelet tells who holds what; its pod resources API may be off or not mounted."""
    cordons: Mapping[str, str] = {}
    """The reasons of an operator by physical device, of those too that are not there just now."""
