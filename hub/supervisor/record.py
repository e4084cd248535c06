"""What a hub remembers of one plugin's processes, for whoever asks how the plugin is."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable

from hub.exits import Exit
from hub.state import LastExit, ProcessState, RestartReason, Run


class ProcessRecord:
    """The processes of one plugin, as the hub saw them start and end.

    Args:
        name: The plugin.
        changed: Called when `state` has changed.
        wanted: Whether it is to be started with the hub.
    """

    def __init__(self, name: str, changed: Callable[[], None], *, wanted: bool) -> None:
        self._changed = changed
        self.state = ProcessState(name, Run.STARTING if wanted else Run.STOPPED)
        self._starts = 0
        self._restarts: Counter[RestartReason] = Counter()

    def started(self, pid: int) -> None:
        """A process runs."""
        self._starts += 1
        self._become(Run.RUNNING, pid=pid, started=time.time())

    def hanging(self, why: str) -> None:
        """The process is about to be killed."""
        self._become(Run.RUNNING, pid=self.state.pid, started=self.state.started, hanging=why)

    def stopping(self) -> None:
        """The process was asked to end."""
        self._become(Run.STOPPING, pid=self.state.pid, started=self.state.started)

    def stopped(self) -> None:
        """There is no process, and none is wanted."""
        self._become(Run.STOPPED)

    def ended(self, pid: int, status: int, hung: str = "") -> None:
        """A process has ended.

        Args:
            pid: Which.
            status: What `waitpid` gave.
            hung: Why the hub killed it, if it did.
        """
        code = os.waitstatus_to_exitcode(status)
        if pid != self.state.pid:
            return  # one that would not die, and has a successor
        why = f"killed by the hub: {hung}" if hung else meaning(code)
        if self.state.run is Run.STOPPING and code == Exit.OK:
            why = "stopped as asked"
        self._become(Run.STOPPED, last_exit=LastExit(pid, time.time(), why, code))

    def backing_off(self, reason: RestartReason, delay: float) -> None:
        """Another process is started after so many seconds, because the last one has ended."""
        self.count(reason)
        self._become(Run.BACKING_OFF, next_start=time.time() + delay)

    def failing(self, trouble: str, delay: float) -> None:
        """No process can be started; the next try is after so many seconds."""
        self._starts += 1
        self._become(Run.FAILING, trouble=trouble, next_start=time.time() + delay)

    def count(self, reason: RestartReason) -> None:
        """The plugin is started anew."""
        self._restarts[reason] += 1

    def _become(
        self,
        run: Run,
        *,
        pid: int = 0,
        started: float = 0,
        last_exit: LastExit | None = None,
        next_start: float = 0,
        trouble: str = "",
        hanging: str = "",
    ) -> None:
        self.state = ProcessState(
            self.state.name,
            run,
            pid,
            started,
            self._starts,
            dict(self._restarts),
            last_exit or self.state.last_exit,
            next_start,
            trouble,
            hanging,
        )
        self._changed()


def meaning(code: int) -> str:
    """What an exit code says, or the negative number of a signal."""
    if code < 0:
        return f"killed by {_SIGNAL_NAMES.get(-code, f'signal {-code}')}"
    known = _EXITS.get(code)
    return f"exit code {code}" + (f" ({known})" if known else "")


def exit_fields(code: int) -> dict[str, str | int]:
    """The same as fields of a log line."""
    if code < 0:
        return {"signal": _SIGNAL_NAMES.get(-code, str(-code))}
    known = _EXITS.get(code)
    return {"exit_code": code} | ({"meaning": known} if known else {})


_SIGNAL_NAMES = {signum.value: signum.name for signum in signal.Signals}  # most realtime signals have none
_EXITS = {code.value: code.name.lower().replace("_", " ") for code in Exit}
