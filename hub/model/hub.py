"""What the hub tells about itself and the processes that it looks after."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class RunState(StrEnum):
    """How a plugin's process stands with the hub."""

    STARTING = "starting"
    """The hub is about to start it for the first time."""
    RUNNING = "running"
    BACKING_OFF = "backing off"
    """It ended unasked, and is started again after a while."""
    START_FAILED = "start failed"
    """The operating system does not start it; the hub tries on."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """An administrator stopped it, or it is not to start by itself."""


class RestartReason(StrEnum):
    """Why a process was restarted."""

    CRASHED = "crashed"
    UNRESPONSIVE = "unresponsive"
    SELF_REQUESTED = "self_requested"
    """It exited because only a new process can continue."""
    REQUESTED = "requested"
    """An administrator asked for it."""


AS_REQUESTED = "stopped as asked"
"""Why a process has ended that was asked to, and did."""


class LastExit(msgspec.Struct, frozen=True):
    """How a process ended."""

    pid: int
    ended: float
    """Unix time."""
    reason: str
    """In words, such as "killed by SIGSEGV"."""
    code: int
    """Its exit code, or the negative number of the signal that killed it."""


class ProcessReport(msgspec.Struct, frozen=True):
    """One plugin's process."""

    name: str
    run: RunState
    pid: int = 0
    """0 when there is none."""
    started: float = 0
    """Unix time; 0 when there is no process."""
    starts: int = 0
    """How often it was started, or tried to be, since the hub started."""
    restarts: Mapping[RestartReason, int] = {}
    """Since the hub started, or since the plugin was added."""
    last_exit: LastExit | None = None
    next_start: float = 0
    """Unix time; 0 when none is planned."""
    start_error: str = ""
    """Why it cannot be started."""
    unresponsive: str = ""
    """Why it is about to be killed."""
    is_hub_plugin: bool = True
    """Whether it is a plugin process of the hub's own, and not another program, which tells nothing of itself."""


class HubReport(msgspec.Struct, frozen=True):
    """One hub."""

    version: str
    pid: int
    started: float
    """Unix time."""
    instance: str
    config: str
    """Its circus.ini."""
    plugin_dir: str
    directory: str
    """Where it was started, which relative paths in circus.ini start from."""
    http: str = ""
    """Where it listens, as "127.0.0.1:9880"; empty when it does not."""
    http_error: str = ""
    """Why it cannot listen where it should; empty when it can."""
    kubelet_since: float = 0
    """Unix time at which the kubelet made its socket; 0 when there is none, or nobody answers on it."""
    kubelet_unresponsive: bool = False
    """Whether its socket is there, and nobody answers on it."""
    kubelet_starts: int = 0
    """Starts of a kubelet that the hub has seen."""
    config_error: str = ""
    """Why the last reload was refused; empty when it was not."""
    failures: Mapping[str, str] = {}
    """The parts of the hub that failed of late, and how. They are started anew."""
    processes: tuple[ProcessReport, ...] = ()
    node: str = ""
    """The name of the node that it runs on."""
