"""The status of a node as data. `dphub status --json` and `/status` are this as JSON.

The schema is stable: for a given `schema` number, fields may be added, but none is renamed, removed or given a
different meaning.
"""

from enum import StrEnum

import msgspec

from hub.model.hub import HubReport, ProcessReport
from hub.model.plugin import PluginReport

SCHEMA = 1
"""The number of the schema."""


class Condition(StrEnum):
    """The condition of a plugin."""

    STARTING = "starting"
    """Its process is running and has not finished its first scan."""
    REGISTERING = "registering"
    REGISTERED = "registered"
    """The kubelet has a ListAndWatch stream open for each of its resources."""
    FAILING = "failing"
    """It is registered, but the last allocations all failed, or a reset cannot begin: containers do not start."""
    NO_RESOURCES = "no resources"
    """It has nothing to register, for example on a node without its hardware; its message says why."""
    STANDBY = "standby"
    """Its first scan failed while an older hub on the node is serving the devices, so it leaves them to that hub."""
    SUPERSEDED = "superseded"
    """A newer hub on the node is serving its resources, as happens during an upgrade; or the node's service is."""
    EXTERNAL = "external"
    """Its command runs a program that is not a plugin of the hub, and reports no status."""
    WAITING = "waiting for kubelet"
    REGISTRATION_FAILED = "registration failed"
    """A resource cannot be registered; the message says why."""
    UNRESPONSIVE = "unresponsive"
    """Its heartbeat has stopped, or a scan does not finish; the hub is about to kill it."""
    BACKING_OFF = "backing off"
    """It exited unexpectedly, and is restarted after a delay."""
    START_FAILED = "start failed"
    """The operating system cannot start its command; the hub keeps trying."""
    STOPPING = "stopping"
    STOPPED = "stopped"


class Severity(StrEnum):
    """How bad a problem is."""

    ERROR = "error"
    """A plugin is not working, or prevents containers from getting their devices."""
    WARNING = "warning"
    """All plugins work, but a device cannot be used, or a configuration was rejected."""
    INFO = "info"
    """Nothing to fix, such as a device that an administrator cordoned."""


class Problem(msgspec.Struct, frozen=True):
    """Something that an administrator should know."""

    severity: Severity
    about: str
    """The plugin, or "hub", or "kubelet"."""
    message: str
    """What is wrong."""
    remedy: str = ""
    """What fixes it, if there is a command for that."""


class PluginStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin: what the hub and the plugin report about it, and what follows from that."""

    name: str
    condition: Condition
    message: str
    """Why it is in this condition, if there is more to say."""
    last_heartbeat: float
    """Unix time of its last heartbeat, which comes every few seconds; 0 before the first."""
    log_level: str
    """Empty if it is unknown."""
    memory: int | None
    """Bytes of its process (proportional set size); null if that is unknown."""
    process: ProcessReport
    """Its process, as the hub sees it."""
    report: PluginReport
    """What the process wrote; an empty report, with the pid 0, if it has not written one."""

    @property
    def is_off(self) -> bool:
        """Whether it has not been started since the hub was, because its section has `autostart = false`."""
        return self.condition is Condition.STOPPED and not self.process.starts


class HubStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The hub: what it reports, and whether that is current."""

    running: bool
    """Whether its process is running and responds."""
    unresponsive: bool
    """Whether its process is running, and its event loop has been blocked for a long time."""
    last_heartbeat: float
    """Unix time of its last heartbeat; if the hub is not running, this status is from that time."""
    memory: int | None
    """Bytes of its process (proportional set size); null if that is unknown."""
    report: HubReport
    service: str = ""
    """The name of the hub that is the node's service, which may be this one; empty if none is running."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole node."""

    schema: int = SCHEMA
    time: float
    """Unix time of this status."""
    node: str
    """The node's name."""
    ok: bool
    """Whether nothing needs to be fixed."""
    ready: bool
    """Whether every plugin is registered, or is unregistered for a reason that is not an error."""
    problems: tuple[Problem, ...]
    """The worst first."""
    hub: HubStatus
    plugins: tuple[PluginStatus, ...]
