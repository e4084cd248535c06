"""What a plugin process reports about itself and its devices."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from hub.base.untrusted import Integer

DRIVER_VARIABLE = "DPHUB_DRA_DRIVER"
"""The variable in which a plugin gets the name of its DRA driver; without it, it serves the device plugin API."""

EVICT_VARIABLE = "DPHUB_DRA_EVICT"
"""The variable that says whether pods are evicted from devices that fail: `true` or `false`."""

DRIVER_SUFFIX = ".driver"
"""The suffix of an empty file next to the records of claims; the rest of its name is the name of a driver in use."""


class RegistrationStatus(StrEnum):
    """The state of a resource's registration with the kubelet."""

    WAITING = "waiting for kubelet"
    """There is no kubelet, or it does not answer yet."""
    REGISTERING = "registering"
    """Register was called; the kubelet has not opened its stream yet."""
    REGISTERED = "registered"
    """The kubelet's ListAndWatch stream is open."""
    REJECTED = "rejected"
    """The kubelet rejected it; the detail is the kubelet's error."""
    SOCKET_TAKEN = "socket taken"
    """Another process has bound the resource's socket and serves on it; the detail has the path."""
    SUPERSEDED = "superseded"
    """A newer hub on the node, or the node's service, serves it; the detail names the hub."""
    INVALID = "invalid"
    """The resource can never be registered as it is; the detail says why."""


CORDON_SOURCES = frozenset({"cordon", "annotation"})
"""The values of `DeviceStatus.source` that mean a cordon: by an administrator, or by the node's annotation."""

HELD_SOURCE = "held"
"""The value of `DeviceStatus.source` for a device that another kubelet API or DRA driver has given to a pod."""

INTENDED_SOURCES = CORDON_SOURCES | {HELD_SOURCE}
"""The values of `DeviceStatus.source` that do not mean that a device is faulty."""

RESET_SOURCE = "admin"
"""The value of `DeviceStatus.source` for a device that an administrator is resetting."""

NO_FAULT_SOURCES = INTENDED_SOURCES | {RESET_SOURCE}
"""The same, for programs that react to faults: for them, an administrator's reset is not a fault either."""


class DeviceStatus(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One device as it is advertised."""

    id: str
    healthy: bool
    reason: str = ""
    """Why it is not healthy."""
    numa: tuple[Integer, ...] = ()
    physical: str = ""
    """The physical device that it is a share of, if it is one."""
    health: str = "healthy"
    """healthy, unhealthy or recovering."""
    since: float = 0
    """Unix time at which it became unhealthy; 0 when it is healthy."""
    source: str = ""
    """What reported that: plugin, broken, reset, flapping, cordon, annotation, admin, scan, external, held; empty when
    it is healthy."""
    pci: tuple[str, ...] = ()
    """Its PCI addresses, as sysfs writes them."""
    upstream: tuple[str, ...] = ()
    """The PCI bridges between the CPU and the device, outermost first; for the first of several addresses."""
    attributes: Mapping[str, str] = {}
    """What the plugin adds, such as the model."""
    holder: str = ""
    """The container that uses it, as "namespace/pod/container"; empty when none does, or that is unknown."""
    reporters: tuple[str, ...] = ()
    """The other programs on the node that report it as faulty."""


class ExcludedDevice(msgspec.Struct, frozen=True):
    """Something that exists and is deliberately not advertised."""

    id: str
    reason: str


class UnmatchedSetting(msgspec.Struct, frozen=True):
    """A setting that matches nothing on the node."""

    reason: str
    """What was not found."""
    resource: str = ""
    """The resource whose devices it selects; empty if it is not about one resource."""

    def __str__(self) -> str:
        return f"{self.resource}: {self.reason}" if self.resource else self.reason


class ResetReport(msgspec.Struct, frozen=True):
    """The last reset of one physical device."""

    outcome: str
    """ok, failed, timed out, crashed, stuck or skipped."""
    message: str
    ended: float
    """Unix time."""
    seconds: float
    """How long it took."""


class Rejection(msgspec.Struct, frozen=True):
    """Containers that did not get their devices, or could not start."""

    reason: str
    """The reason for the last one."""
    time: float
    """Unix time of the last one."""
    count: Integer
    """Since the process started."""


class ResourceStatus(msgspec.Struct, frozen=True):
    """One resource of a plugin."""

    name: str
    socket: str
    """File name in the kubelet's plugin directory."""
    registration: RegistrationStatus
    since: float
    """Unix time of the last change to `registration`."""
    registrations: Integer = 0
    """Registrations that the kubelet has accepted since the process started."""
    detail: str = ""
    """The kubelet's error, or what the registration is waiting for."""
    capacity: Integer = 0
    """Number of its devices."""
    allocatable: Integer = 0
    """Number of healthy devices."""
    allocated: Integer | None = 0
    """Number of devices that a container uses; null if unknown."""
    reason: str = ""
    """Why there is no device, if there is none."""
    problems: tuple[str, ...] = ()
    """What the plugin offered that cannot be sent to a kubelet."""
    warnings: tuple[str, ...] = ()
    """What is wrong, or will go wrong, with advertised devices, such as device files that do not exist."""
    devices: tuple[DeviceStatus, ...] = ()
    removed_in_use: Mapping[str, str] = {}
    """Devices that the plugin no longer offers and a container still uses: device id to container."""
    failing: str = ""
    """Why allocations fail: all of the last few did. Empty if one has succeeded since, or none has been requested."""
    rejection: Rejection | None = None
    """null if no container was rejected."""


class ConfigFile(msgspec.Struct, frozen=True):
    """The configuration file that a plugin has read."""

    path: str
    digest: str
    """SHA-256 of the content that was read; empty in `/status`, because users who cannot read the file can read the
    status."""


class PluginReport(msgspec.Struct, frozen=True):
    """One plugin process."""

    plugin: str
    pid: Integer = 0
    started: float = 0
    """Unix time."""
    scanned: bool = False
    """Whether it has finished its first scan."""
    standby: bool = False
    """Whether it leaves the devices to an older hub on the node because its first scan failed."""
    resources: tuple[ResourceStatus, ...] = ()
    reason: str = ""
    """What keeps the plugin from finding its devices, if anything does."""
    fault: bool = False
    """Whether that is an error, and not just a node without such hardware."""
    excluded: tuple[ExcludedDevice, ...] = ()
    """What exists and is deliberately not advertised."""
    unmatched: tuple[UnmatchedSetting, ...] = ()
    """Settings that match nothing."""
    notes: tuple[str, ...] = ()
    """What administrators should know about the settings, such as one that has no effect."""
    resets: Mapping[str, ResetReport] = {}
    """The last reset of each physical device, by its `physical`, or else by its resource, a space and its id."""
    reset_counts: Mapping[str, Integer] = {}
    """Resets since the process started, by outcome."""
    reset_fault: str = ""
    """Why the last reset could not begin, such as a function that cannot be imported; empty if it began."""
    config: ConfigFile | None = None
    """null if it has not read a file."""
    holders_known: bool = True
    """Whether it is known which container uses which device: the kubelet's pod resources API answers."""
    failures: Mapping[str, str] = {}
    """The tasks of the process that failed recently and were restarted, each with its error."""
    cordons: Mapping[str, str] = {}
    """The reasons of all cordons by physical device, including devices that are currently absent."""
    annotated: tuple[str, ...] = ()
    """The physical devices that the node's annotation cordons."""
