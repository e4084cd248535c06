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
from hub.model.heartbeat import HeartbeatReport, heartbeat_age
from hub.model.hub import HubReport, ProcessReport
from hub.model.node import HubStatus, NodeStatus, PluginStatus, Problem, ResourceStatus, Severity
from hub.model.plugin import PluginReport, ResourceReport
from hub.status.condition import condition_of
from hub.status.problems import problems_of


def read_state(path: Path) -> PluginReport | None:
    """The last state that a plugin wrote, or None where it has not written one."""
    return read_file(path, PluginReport)


State = TypeVar("State")
Told = TypeVar("Told", PluginReport, HeartbeatReport)

_Version = tuple[int, int, int]


class Reader:
    """Reads a run directory again and again; a file that has not changed is not decoded again.

    Args:
        run_dir: The run directory of one hub.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._known: dict[Path, tuple[_Version, Any]] = {}

    def hub(self) -> HubReport | None:
        """What the hub last told, or None where there has never been one.

        Raises:
            HubError: its file says what no hub writes.
        """
        return self._read(self._run_dir.hub_report, HubReport)

    def heartbeat(self, process: ProcessReport | PluginStatus) -> HeartbeatReport | None:
        """The last pulse of a plugin's process, if it can be read."""
        with suppress(HubError):
            return self._report_of(process, self._run_dir.heartbeat(process.name), HeartbeatReport)
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
                path = self._run_dir.report(process.name)
                state = self._report_of(process, path, PluginReport) if running else self._read(path, PluginReport)
            except HubError as error:
                state = None
                unreadable.append(Problem(Severity.WARNING, process.name, str(error)))
            pulse = self.heartbeat(process)
            last_heartbeat = self._written(self._run_dir.heartbeat(process.name)) if pulse else 0
            plugins.append(_plugin_status(hub, process, state, pulse, last_heartbeat))
        status = _hub_status(hub, self._last_heartbeat(hub), running=running and not frozen, frozen=running and frozen)
        problems = problems_of(status, plugins, unreadable)
        severities = {problem.severity for problem in problems}
        return NodeStatus(
            time=time.time(),
            node=hub.node,
            ok=severities <= {Severity.INFO},
            ready=Severity.ERROR not in severities,
            problems=problems,
            hub=status,
            plugins=tuple(plugins),
        )

    def _last_heartbeat(self, hub: HubReport) -> float:
        """Unix time at which the hub last showed life: by its pulse, or by its file where the pulse is older."""
        silence = heartbeat_age(self._run_dir.hub_heartbeat)
        known = [time.time() - silence] if silence > 0 else []
        return max([hub.started, self._written(self._run_dir.hub_report), *known])

    def _report_of(self, process: ProcessReport | PluginStatus, path: Path, kind: type[Told]) -> Told | None:
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
    hub: HubReport,
    process: ProcessReport,
    state: PluginReport | None,
    pulse: HeartbeatReport | None,
    last_heartbeat: float,
) -> PluginStatus:
    condition, text = condition_of(hub, process, state)
    return PluginStatus(
        name=process.name,
        condition=condition,
        message=text,
        pid=process.pid,
        last_heartbeat=last_heartbeat,
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


def _hub_status(hub: HubReport, last_heartbeat: float, *, running: bool, frozen: bool) -> HubStatus:
    return HubStatus(
        running=running,
        unresponsive=frozen,
        version=hub.version,
        pid=hub.pid,
        started=hub.started,
        last_heartbeat=last_heartbeat,
        memory=memory_of(hub.pid) if running or frozen else None,
        instance=hub.instance,
        config=hub.config,
        config_error=hub.config_error,
        plugin_dir=hub.plugin_dir,
        directory=hub.directory,
        http=hub.http,
        http_error=hub.http_error,
        kubelet_since=hub.kubelet_since,
        kubelet_unresponsive=hub.kubelet_unresponsive,
        kubelet_starts=hub.kubelet_starts,
        failures=hub.failures,
    )


def _resource_status(resource: ResourceReport, holders_known: bool) -> ResourceStatus:  # noqa: FBT001 - a fact, no switch
    held = sum(1 for device in resource.devices if device.holder) + len(resource.removed_in_use)
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
        removed_in_use=resource.removed_in_use,
        rejection=resource.rejection,
    )


def memory_of(pid: int) -> int | None:
    """The memory of a process in bytes, its share of what it shares included; None where that cannot be seen."""
    if not pid:
        return None
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return None
