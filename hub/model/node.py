"""The condition of a node as data. `dphub status --json` and `/status` are this as JSON.

The schema is stable: within one `schema` number fields are added, never renamed, removed or given another meaning.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from hub.model.hub import LastExit, RestartReason
from hub.model.plugin import ConfigState, DeviceStatus, ExcludedDevice, RegistrationStatus, Rejection, ResetReport

SCHEMA = 1
"""The number of the schema."""


class Condition(StrEnum):
    """How a plugin is."""

    STARTING = "starting"
    """Its process runs and has not finished its first scan."""
    REGISTERING = "registering"
    REGISTERED = "registered"
    """The kubelet has the device lists of all its resources open."""
    NO_RESOURCES = "no resources"
    """It has nothing to register, such as on a node without its hardware; its message says why."""
    STANDBY = "standby"
    """Its first scan failed while an older hub of the node serves the devices, so it leaves them to that hub."""
    SUPERSEDED = "superseded"
    """A newer hub of the node serves its resources, as during an upgrade."""
    EXTERNAL = "external"
    """It is a program other than a plugin process of the hub, and reports nothing."""
    WAITING = "waiting for kubelet"
    REGISTRATION_FAILED = "registration failed"
    """A resource cannot be registered; the message says why."""
    UNRESPONSIVE = "unresponsive"
    """It shows no sign of life; the hub is about to kill it."""
    BACKING_OFF = "backing off"
    """It exited unexpectedly, and is restarted after a delay."""
    START_FAILED = "start failed"
    """The operating system cannot start its command; the hub keeps trying."""
    STOPPING = "stopping"
    STOPPED = "stopped"


class Severity(StrEnum):
    """How bad a problem is."""

    ERROR = "error"
    """A plugin does not work. The node is not ready."""
    WARNING = "warning"
    """All plugins work, but a device cannot be used, or a configuration was rejected."""
    INFO = "info"
    """Nothing to fix, such as a device that an administrator cordoned."""


class Problem(msgspec.Struct, frozen=True):
    """Something that an administrator should know, worst first."""

    severity: Severity
    about: str
    """The plugin, or "hub", or "kubelet"."""
    message: str
    """What is wrong, in words."""
    remedy: str = ""
    """What mends it, where there is a command for that."""


class ResourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One resource."""

    name: str
    registration: RegistrationStatus
    detail: str
    """The kubelet's words, or what is awaited."""
    since: float
    """Unix time of the last change of `registration`."""
    registrations: int
    """Since the plugin's process started."""
    total: int
    """Its devices."""
    healthy: int
    """Those of them that are healthy."""
    allocated: int | None
    """Those that somebody holds; null where nobody can tell."""
    reason: str
    """Why it has no device, if it has none."""
    problems: tuple[str, ...]
    """What the plugin offered that cannot be sent to a kubelet."""
    warnings: tuple[str, ...]
    """What will go wrong with devices that are advertised, such as device files that do not exist."""
    devices: tuple[DeviceStatus, ...]
    removed_in_use: Mapping[str, str]
    """What somebody still holds and the plugin does not offer any more: device id to holder."""
    rejection: Rejection | None
    """That containers did not get their devices, or were kept from starting; null where none was."""


class PluginStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin."""

    name: str
    condition: Condition
    message: str
    """Why it is so, where there is more to say."""
    pid: int
    """0 when there is no process."""
    last_heartbeat: float
    """Unix time of its last sign of life, which it gives every few seconds; 0 when it has given none."""
    started: float
    """Unix time; 0 when there is no process."""
    memory: int | None
    """Bytes of its process (proportional set size); null where that is unknown."""
    starts: int
    """How often it was started, or tried to be, since the hub started."""
    restarts: Mapping[RestartReason, int]
    """Since the hub started."""
    last_exit: LastExit | None
    next_start: float
    """Unix time of the next start; 0 when none is planned."""
    log_level: str
    """Empty where it is unknown."""
    reason: str
    """What keeps it from finding its devices, if anything does."""
    fault: bool
    """Whether that is a fault, and not just a node without such hardware."""
    resources: tuple[ResourceStatus, ...]
    excluded: tuple[ExcludedDevice, ...]
    """What is there and not advertised."""
    resets: Mapping[str, ResetReport]
    """The last reset of each physical device."""
    cordons: Mapping[str, str]
    """An operator's reasons by physical device."""
    holders_known: bool
    """Whether the kubelet tells who holds what."""
    config: ConfigState | None
    """The configuration file that its process has read; null where it has read none."""


class HubStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The hub itself."""

    running: bool
    """Whether its process is there, and shows life."""
    unresponsive: bool
    """Whether its process is there, and its event loop has not turned for long."""
    version: str
    pid: int
    started: float
    """Unix time."""
    last_heartbeat: float
    """Unix time of its last sign of life: this status is that old where the hub is not running."""
    memory: int | None
    """Bytes (proportional set size)."""
    instance: str
    config: str
    """Its circus.ini."""
    config_error: str
    """Why the last reload was refused; empty when it was not."""
    plugin_dir: str
    directory: str
    """Where it was started, which relative paths in circus.ini start from."""
    http: str
    """Where it listens; empty when it does not."""
    http_error: str
    """Why it cannot listen where it should; empty when it can."""
    kubelet_since: float
    """Unix time at which the kubelet made its socket; 0 when there is none, or nobody answers on it."""
    kubelet_unresponsive: bool
    """Whether its socket is there, and nobody answers on it."""
    kubelet_starts: int
    """Starts of a kubelet that the hub has seen."""
    failures: Mapping[str, str]
    """The parts of the hub that failed of late, and how. They are started anew."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole node."""

    schema: int = SCHEMA
    time: float
    """Unix time of this status."""
    node: str
    """The node's name: `DPHUB_NODE_NAME`, which the DaemonSet sets, or else the host's name."""
    ok: bool
    """Whether there is nothing to mend."""
    ready: bool
    """Whether every plugin is registered, or is not for a reason that is no fault."""
    problems: tuple[Problem, ...]
    hub: HubStatus
    plugins: tuple[PluginStatus, ...]
