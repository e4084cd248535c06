"""The record of one plugin's processes in the hub's report."""

import os
import time
from collections import Counter

import msgspec

from hub.base.exits import Exit, signal_name
from hub.base.statusfile import StatusFile
from hub.model.hub import AS_REQUESTED, LastExit, ProcessReport, RestartReason, RunState


class ProcessRecord:
    """The processes of one plugin, as the hub saw them start and exit.

    Args:
        name: The plugin.
        file: The file that contains the record.
        wanted: Whether the plugin starts with the hub.
    """

    def __init__(self, name: str, file: StatusFile, *, wanted: bool) -> None:
        self._file = file
        self.state = ProcessReport(name, RunState.STARTING if wanted else RunState.STOPPED)
        self._starts = 0
        self._restarts: Counter[RestartReason] = Counter()

    def write_now(self) -> None:
        """Write `state` now: a client that requested a start or stop reads it after the response."""
        self._file.write()

    def set_is_hub_plugin(self, *, value: bool) -> None:
        """Record whether the command starts a plugin process of the hub, or another program."""
        self.state = msgspec.structs.replace(self.state, is_hub_plugin=value)

    def started(self, pid: int) -> None:
        """Record the start of a process."""
        self._starts += 1
        self._become(RunState.RUNNING, pid=pid, started=time.time())

    def unresponsive(self, reason: str) -> None:
        """Record that the process is about to be killed."""
        self._become(RunState.RUNNING, pid=self.state.pid, started=self.state.started, unresponsive=reason)

    def stopping(self) -> None:
        """Record that the process was asked to stop."""
        self._become(RunState.STOPPING, pid=self.state.pid, started=self.state.started)

    def stopped(self) -> None:
        """Record that no process is running, and none should be started."""
        self._become(RunState.STOPPED)

    def ended(self, pid: int, status: int, killed_for: str = "") -> None:
        """Record the end of a process.

        Args:
            pid: Its process id.
            status: Its status from `waitpid`.
            killed_for: Why the hub killed it, if it did.
        """
        code = os.waitstatus_to_exitcode(status)
        if pid != self.state.pid:
            return  # it had survived SIGKILL, and there is a newer process
        reason = f"killed by the hub: {killed_for}" if killed_for else _describe(code, ours=self.state.is_hub_plugin)
        if self.state.run is RunState.STOPPING and code == Exit.OK:
            reason = AS_REQUESTED
        self._become(RunState.STOPPED, last_exit=LastExit(pid, time.time(), reason, code))

    def add_error(self, pid: int, error: str) -> None:
        """Add the last error in a process's log to the reason for its exit; do nothing if there is no error."""
        last = self.state.last_exit
        if error and last and last.pid == pid:
            explained = msgspec.structs.replace(last, reason=f"{last.reason}: {error}")
            self.state = msgspec.structs.replace(self.state, last_exit=explained)
            self._file.mark_changed()

    def backing_off(self, reason: RestartReason, delay: float) -> None:
        """Record that the next process starts after a delay, because the last one has exited."""
        self.count(reason)
        self._become(RunState.BACKING_OFF, next_start=time.time() + delay)

    def start_failed(self, start_error: str, delay: float) -> None:
        """Record that no process could be started, and the delay before the next attempt."""
        self._starts += 1
        self._become(RunState.START_FAILED, start_error=start_error, next_start=time.time() + delay)

    def count(self, reason: RestartReason) -> None:
        """Count a restart of the plugin."""
        self._restarts[reason] += 1

    def _become(
        self,
        run: RunState,
        *,
        pid: int = 0,
        started: float = 0,
        last_exit: LastExit | None = None,
        next_start: float = 0,
        start_error: str = "",
        unresponsive: str = "",
    ) -> None:
        self.state = ProcessReport(
            self.state.name,
            run,
            pid,
            started,
            self._starts,
            dict(self._restarts),
            last_exit or self.state.last_exit,
            next_start,
            start_error,
            unresponsive,
            self.state.is_hub_plugin,
        )
        self._file.mark_changed()


def _describe(code: int, *, ours: bool) -> str:
    """Describe an exit code, or the negative number of a signal."""
    if code < 0:
        return f"killed by {signal_name(-code)}"
    known = _EXITS.get(code) if ours else None
    return f"exit code {code}" + (f" ({known})" if known else "")


def exit_fields(code: int, *, ours: bool) -> dict[str, str | int]:
    """Return how a process exited, as fields of a log event.

    Args:
        code: Its exit code, or the negative number of a signal.
        ours: Whether it is a plugin process of the hub. The meaning of other programs' exit codes is unknown.
    """
    if code < 0:
        return {"signal": signal_name(-code).removeprefix("signal ")}
    known = _EXITS.get(code) if ours else None
    return {"exit_code": code} | ({"meaning": known} if known else {})


_EXITS = {code.value: code.name.lower().replace("_", " ") for code in Exit}
