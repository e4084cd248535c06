"""Puts a node's condition together from the files in the run directory."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from hub.base.errors import HubError
from hub.base.jsonfile import read_file
from hub.base.paths import RunDir
from hub.model.heartbeat import Pulse, silent_for
from hub.model.hub import HubState, ProcessState
from hub.model.node import HubStatus, NodeStatus, PluginStatus, Problem, ResourceStatus, Severity
from hub.model.plugin import PluginState, ResourceState
from hub.status.condition import condition_of
from hub.status.problems import problems_of


def read_state(path: Path) -> PluginState | None:
    """The last state that a plugin wrote, or None where it has not written one."""
    return read_file(path, PluginState)


State = TypeVar("State")
Told = TypeVar("Told", PluginState, Pulse)

_Version = tuple[int, int, int]


class Reader:
    """Reads a run directory again and again; a file that has not changed is not decoded again.

    Args:
        run_dir: The run directory of one hub.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._known: dict[Path, tuple[_Version, Any]] = {}

    def hub(self) -> HubState | None:
        """What the hub last told, or None where there has never been one.

        Raises:
            HubError: its file says what no hub writes.
        """
        return self._read(self._run_dir.hub_state, HubState)

    def pulse(self, process: ProcessState | PluginStatus) -> Pulse | None:
        """The last pulse of a plugin's process, if it can be read."""
        with suppress(HubError):
            return self._told_by(process, self._run_dir.pulse(process.name), Pulse)
        return None

    def status(self, *, running: bool, frozen: bool = False) -> NodeStatus:
        """The node's condition.

        Args:
            running: Whether the hub's process is there, which its file cannot tell.
            frozen: Whether it has not shown life for long, which it cannot tell itself.

        Raises:
            HubError: there has never been a hub.
        """
        hub = self.hub()
        if hub is None:
            raise HubError(
                f"no hub has ever run in {self._run_dir.path}; name another directory with --run-dir or DPHUB_RUN_DIR"
            )
        plugins, unreadable = [], []
        for process in hub.processes:
            try:
                path = self._run_dir.state(process.name)
                state = self._told_by(process, path, PluginState) if running else self._read(path, PluginState)
            except HubError as error:
                state = None
                unreadable.append(Problem(Severity.DEGRADED, process.name, str(error)))
            pulse = self.pulse(process)
            last_sign = self._written(self._run_dir.pulse(process.name)) if pulse else 0
            plugins.append(_plugin_status(hub, process, state, pulse, last_sign))
        status = _hub_status(hub, self._last_sign(hub), running=running and not frozen, frozen=running and frozen)
        problems = problems_of(status, plugins, unreadable)
        severities = {problem.severity for problem in problems}
        return NodeStatus(
            time=time.time(),
            node=hub.node,
            well=severities <= {Severity.NOTE},
            ready=Severity.FAULT not in severities,
            problems=problems,
            hub=status,
            plugins=tuple(plugins),
        )

    def _last_sign(self, hub: HubState) -> float:
        """Unix time at which the hub last showed life: by its pulse, or by its file where the pulse is older."""
        silence = silent_for(self._run_dir.hub_pulse)
        known = [time.time() - silence] if silence > 0 else []
        return max([hub.started, self._written(self._run_dir.hub_state), *known])

    def _told_by(self, process: ProcessState | PluginStatus, path: Path, kind: type[Told]) -> Told | None:
        """What the process that runs has told; of one that ran before it, it is the past."""
        told = self._read(path, kind) if process.pid else None
        return told if told and told.pid == process.pid else None

    def _written(self, path: Path) -> float:
        """Unix time of the file that was last read from there."""
        (_, written, _), _ = self._known[path]
        return written / 1e9

    def _read(self, path: Path, kind: type[State]) -> State | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            self._known.pop(path, None)
            return None
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._known.get(path)
        if known is None or known[0] != version:
            try:
                known = version, read_file(path, kind)
            except msgspec.DecodeError as error:
                raise HubError(f"{path} is not what this version of dphub writes: {error}") from None
            self._known[path] = known
        state: State | None = known[1]
        return state


def _plugin_status(
    hub: HubState, process: ProcessState, state: PluginState | None, pulse: Pulse | None, last_sign: float
) -> PluginStatus:
    condition, text = condition_of(hub, process, state)
    return PluginStatus(
        name=process.name,
        condition=condition,
        text=text,
        pid=process.pid,
        last_sign=last_sign,
        started=process.started,
        memory=memory_of(process.pid),
        starts=process.starts,
        restarts=process.restarts,
        last_exit=process.last_exit,
        next_start=process.next_start,
        log_level=pulse.log_level if pulse else "",
        reason=state.reason if state else "",
        fault=state.fault if state else False,
        resources=tuple(_resource_status(each, state.holders_known) for each in state.resources) if state else (),
        excluded=state.excluded if state else (),
        resets=state.resets if state else {},
        cordons=state.cordons if state else {},
        holders_known=state.holders_known if state else False,
        config=state.config if state else None,
    )


def _hub_status(hub: HubState, last_sign: float, *, running: bool, frozen: bool) -> HubStatus:
    return HubStatus(
        running=running,
        frozen=frozen,
        version=hub.version,
        pid=hub.pid,
        started=hub.started,
        last_sign=last_sign,
        memory=memory_of(hub.pid) if running or frozen else None,
        instance=hub.instance,
        config=hub.config,
        config_problem=hub.config_problem,
        plugin_dir=hub.plugin_dir,
        directory=hub.directory,
        http=hub.http,
        http_problem=hub.http_problem,
        kubelet_since=hub.kubelet_since,
        kubelet_silent=hub.kubelet_silent,
        kubelet_starts=hub.kubelet_starts,
        failures=hub.failures,
    )


def _resource_status(resource: ResourceState, holders_known: bool) -> ResourceStatus:  # noqa: FBT001 - a fact, no switch
    held = sum(1 for device in resource.devices if device.holder) + len(resource.unlisted)
    return ResourceStatus(
        name=resource.name,
        registration=resource.registration,
        detail=resource.detail,
        since=resource.since,
        registrations=resource.registrations,
        total=len(resource.devices),
        healthy=sum(1 for device in resource.devices if device.healthy),
        allocated=held if holders_known else None,
        reason=resource.reason,
        problems=resource.problems,
        warnings=resource.warnings,
        devices=resource.devices,
        unlisted=resource.unlisted,
        refusal=resource.refusal,
    )


def memory_of(pid: int) -> int | None:
    """The memory of a process in bytes, its share of what it shares included; None where that cannot be seen."""
    if not pid:
        return None
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return None
