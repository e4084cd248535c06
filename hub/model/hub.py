"""What the hub reports about itself and the processes that it supervises."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from hub.base.untrusted import Integer


class RunState(StrEnum):
    """The state of a plugin's process."""

    STARTING = "starting"
    """The hub is about to start it for the first time."""
    RUNNING = "running"
    BACKING_OFF = "backing off"
    """It exited unexpectedly, and is restarted after a delay."""
    START_FAILED = "start failed"
    """The operating system cannot start its command; the hub keeps trying."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """An administrator stopped it, or it is configured not to start with the hub."""


class RestartReason(StrEnum):
    """Why a process was restarted."""

    CRASHED = "crashed"
    UNRESPONSIVE = "unresponsive"
    SELF_REQUESTED = "self_requested"
    """It exited because only a new process can continue."""
    REQUESTED = "requested"
    """An administrator asked for it."""


AS_REQUESTED = "stopped as requested"
"""The reason for a requested exit."""


class LastExit(msgspec.Struct, frozen=True):
    """How a process exited."""

    pid: Integer
    ended: float
    """Unix time."""
    reason: str
    """As text, such as "killed by SIGSEGV"."""
    code: Integer
    """Its exit code, or the negative number of the signal that killed it."""


class ProcessReport(msgspec.Struct, frozen=True):
    """One plugin's process."""

    name: str
    """The plugin."""
    run: RunState
    pid: Integer = 0
    """0 when there is no process."""
    started: float = 0
    """Unix time; 0 when there is no process."""
    starts: Integer = 0
    """Starts and failed attempts since the hub started."""
    restarts: Mapping[RestartReason, Integer] = {}
    """Since the hub started, or since the plugin was added."""
    last_exit: LastExit | None = None
    next_start: float = 0
    """Unix time of the next start; 0 when none is planned."""
    start_error: str = ""
    """Why it cannot be started."""
    unresponsive: str = ""
    """Why it is about to be killed."""
    is_hub_plugin: bool = True
    """Whether it is a plugin process of the hub, rather than some other program, which reports nothing."""


class HubReport(msgspec.Struct, frozen=True):
    """One hub."""

    version: str
    pid: Integer
    started: float
    """Unix time."""
    instance: str
    """Its name."""
    config: str
    """Its circus.ini."""
    plugin_dir: str
    """The kubelet's plugin directory."""
    directory: str
    """The directory of its circus.ini, to which paths in that file are relative."""
    node: str = ""
    """The node's name: `DPHUB_NODE_NAME`, which the DaemonSet sets, or else the host's name."""
    http: str = ""
    """Where it listens, for example "127.0.0.1:9880"; empty when it does not."""
    http_error: str = ""
    """Why it cannot listen on the configured address; empty when it can."""
    kubelet_since: float = 0
    """Unix time at which the kubelet created its socket; 0 when there is no kubelet, or it does not answer."""
    kubelet_unresponsive: bool = False
    """Whether the kubelet's socket exists but does not answer."""
    kubelet_starts: Integer = 0
    """Kubelet starts that the hub has seen."""
    config_error: str = ""
    """Why the last reload was rejected; empty when it was accepted."""
    failures: Mapping[str, str] = {}
    """The tasks of the hub that failed recently and were restarted, each with its error."""


class InstanceReport(msgspec.Struct, frozen=True):
    """The file of one hub: itself, and the processes that it supervises."""

    hub: HubReport
    processes: tuple[ProcessReport, ...] = ()
