"""Reads the status of a node from the files in the run directory."""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from hub.base.errors import HubError
from hub.base.instances import holds_lock, running_service
from hub.base.jsonfile import read_file
from hub.base.paths import RunDir
from hub.base.untrusted import UnreadableError
from hub.model.heartbeat import UNRESPONSIVE_AFTER, HeartbeatReport, heartbeat_age
from hub.model.history import AllocationHistory, NodeHistory
from hub.model.hub import HubReport, InstanceReport, ProcessReport
from hub.model.node import HubStatus, NodeStatus, PluginStatus, Problem, Severity
from hub.model.plugin import PluginReport
from hub.status.condition import condition_of
from hub.status.memory import Memory
from hub.status.problems import is_ready, problems_of, unreachable_problem, unreachable_remedy


def read_report(path: Path) -> PluginReport | None:
    """Read the last report that a plugin wrote; None if it has not written one."""
    return read_file(path, PluginReport)


Report = TypeVar("Report")
OfProcess = TypeVar("OfProcess", PluginReport, HeartbeatReport)

_Version = tuple[int, int, int]

_NO_HISTORY = AllocationHistory()


class Reader:
    """Reads a run directory repeatedly; a file that has not changed is not decoded again.

    Args:
        run_dir: The run directory of one hub.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._known: dict[Path, tuple[_Version, Any]] = {}
        self._memory = Memory()

    def instance(self) -> InstanceReport | None:
        """Read the hub's last report; None if no hub has ever run.

        Raises:
            HubError: the file does not have the format of a hub's report.
        """
        return self._read(self._run_dir.hub_report, InstanceReport)

    def heartbeat(self, process: ProcessReport) -> HeartbeatReport | None:
        """Read the last heartbeat of a plugin's process; None if it cannot be read."""
        with suppress(HubError):
            return self._report_of(process, self._run_dir.heartbeat(process.name), HeartbeatReport)
        return None

    def status(
        self, *, running: bool, unresponsive: bool = False, unreachable: bool = False, memory: bool = True
    ) -> NodeStatus:
        """Read the status of the node.

        Args:
            running: Whether the hub's process exists, which the hub's report cannot show.
            unresponsive: Whether that process has had no heartbeat for a long time, which it cannot report itself.
            unreachable: Whether nothing listens on the hub's control socket, which the hub does not notice itself.
            memory: Whether to read the memory of the processes, which takes most of the time.

        Raises:
            HubError: no hub has ever run.
        """
        instance = self.instance()
        if instance is None:
            raise HubError(
                f"no hub has ever run in {self._run_dir.path}; choose another directory with --run-dir or DPHUB_RUN_DIR"
            )
        known: list[Problem] = []
        plugins = [self._plugin(instance.hub, each, known, current=running) for each in instance.processes]
        hub = self._hub(instance.hub, running=running, unresponsive=unresponsive)
        if hub.running and unreachable:
            pid = hub.report.pid
            known.append(Problem(Severity.ERROR, "hub", unreachable_problem(pid), unreachable_remedy(pid)))
        status = _node_status(hub, plugins, problems_of(hub, plugins, known))
        return self._with_memory(status) if memory else status

    def history(self, plugins: Iterable[str]) -> NodeHistory:
        """Read which containers used the devices of plugins.

        Args:
            plugins: Their names.
        """
        known, unreadable = {}, {}
        for name in plugins:
            try:
                # The history is not kept in memory, because it is rarely read.
                known[name] = (read_file(self._run_dir.history(name), AllocationHistory) or _NO_HISTORY).allocations
            except UnreadableError as error:
                unreadable[name] = str(error)
        return NodeHistory(known, unreadable)

    def _plugin(
        self, hub: HubReport, process: ProcessReport, unreadable: list[Problem], *, current: bool
    ) -> PluginStatus:
        """Read the status of one plugin; if no hub is running, from the last report of a process that has exited."""
        path = self._run_dir.report(process.name)
        try:
            report = self._report_of(process, path, PluginReport) if current else self._read(path, PluginReport)
        except HubError as error:
            report = None
            unreadable.append(Problem(Severity.WARNING, process.name, str(error)))
        heartbeat = self.heartbeat(process)
        condition, message = condition_of(hub, process, report)
        return PluginStatus(
            name=process.name,
            condition=condition,
            message=message,
            last_heartbeat=self._written(self._run_dir.heartbeat(process.name)) if heartbeat else 0,
            log_level=heartbeat.log_level if heartbeat else "",
            memory=None,
            process=process,
            report=report or PluginReport(process.name, holders_known=False),
        )

    def _hub(self, report: HubReport, *, running: bool, unresponsive: bool) -> HubStatus:
        return HubStatus(
            running=running and not unresponsive,
            unresponsive=running and unresponsive,
            last_heartbeat=self._last_heartbeat(report),
            memory=None,
            report=report,
            service=running_service(self._run_dir) if running else "",
        )

    def _with_memory(self, status: NodeStatus) -> NodeStatus:
        hub = status.hub
        is_process = hub.running or hub.unresponsive
        plugins = (replace(each, memory=self._memory.of(each.process.pid)) for each in status.plugins)
        own = self._memory.of(hub.report.pid) if is_process else None
        return replace(status, hub=replace(hub, memory=own), plugins=tuple(plugins))

    def _last_heartbeat(self, hub: HubReport) -> float:
        """Return the Unix time of the hub's last heartbeat, or of its report if that is newer."""
        silence = heartbeat_age(self._run_dir.hub_heartbeat)
        known = [time.time() - silence] if silence > 0 else []
        return max([hub.started, self._written(self._run_dir.hub_report), *known])

    def _report_of(self, process: ProcessReport, path: Path, kind: type[OfProcess]) -> OfProcess | None:
        """Read a file of the running process; None if an earlier process wrote it."""
        report = self._read(path, kind) if process.pid else None
        return report if report and report.pid == process.pid else None

    def _written(self, path: Path) -> float:
        """Return the Unix time at which a file was written, for the version that was last read."""
        (_, written, _), _ = self._known[path]
        return written / 1e9

    def _read(self, path: Path, kind: type[Report]) -> Report | None:
        try:
            # Links are not followed, as in `read_file`.
            found = path.lstat()
        except FileNotFoundError:
            self._known.pop(path, None)
            return None
        except OSError as error:
            raise HubError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            # The hub's report names a plugin whose name no file can have: another process has written that report.
            raise HubError(f"{path}: {error}") from None
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._known.get(path)
        if known is None or known[0] != version:
            try:
                known = version, read_file(path, kind)
            except UnreadableError as error:
                raise HubError(f"{path} is not what this version of dphub writes: {error.problem}") from None
            self._known[path] = known
        report: Report | None = known[1]
        return report


def is_alive(reader: Reader, run_dir: RunDir) -> bool:
    """Return whether the process of a hub is running although nothing listens on its control socket.

    The hub's lock file shows that. If another process has removed or replaced that file as well, a recent heartbeat and
    a process with the hub's id show it.
    """
    try:
        instance = reader.instance()
    except HubError:
        return False
    if instance is None:
        return False
    if (holds := holds_lock(run_dir, instance.hub.pid)) is not None:
        return holds
    is_fresh = 0 < heartbeat_age(run_dir.hub_heartbeat) < UNRESPONSIVE_AFTER
    return is_fresh and Path(f"/proc/{instance.hub.pid}").exists()


def _node_status(hub: HubStatus, plugins: Sequence[PluginStatus], problems: tuple[Problem, ...]) -> NodeStatus:
    severities = {problem.severity for problem in problems}
    return NodeStatus(
        time=time.time(),
        node=hub.report.node,
        ok=severities <= {Severity.INFO},
        ready=is_ready(hub, plugins),
        problems=problems,
        hub=hub,
        plugins=tuple(plugins),
    )
