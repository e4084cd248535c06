"""The process from start to stop."""

from pathlib import Path

from hub.base.changecount import ChangeCounter
from hub.base.exits import Exit
from hub.base.instances import ServingLock
from hub.base.log import get_logger
from hub.base.paths import RunDir
from hub.base.statusfile import StatusFile
from hub.base.stopsignals import stop_event
from hub.base.tasks import Tasks
from hub.nvsentinel.incoming import WRITER, Incoming
from hub.nvsentinel.receiver import Receiver
from hub.nvsentinel.sender import Sender
from hub.status.externalreports import ExternalReports
from hub.status.view import View

COMPONENT = "nvsentinel"
"""The name of the lock that shows which hub's process is active."""


class Bridge:
    """Passes the health of devices between the hub and NVSentinel.

    Args:
        run_dir: The run directory, and the process's hub.
        node: The node's name.
        send: The socket of NVSentinel's platform connector; None to send nothing.
        receive: The socket on which events are accepted; None to accept none.
        all_events: Whether to act on events that are not fatal, too.
    """

    def __init__(
        self, run_dir: RunDir, node: str, *, send: Path | None, receive: Path | None, all_events: bool = False
    ) -> None:
        changes = ChangeCounter()
        self._view = View(run_dir, COMPONENT, changes)
        self._lock = ServingLock(run_dir, COMPONENT)
        self._tasks = Tasks(StatusFile(None, lambda: None))
        incoming = Incoming(ExternalReports(run_dir.external_faults, WRITER), node, all_events=all_events)
        self._work = {"view": self._view.run, "check of the lock": self._lock.keep}
        if receive:
            self._work["receiver"] = Receiver(receive, run_dir.instance, incoming.take, self._view.is_active).run
        if send:
            self._work["sender"] = Sender(send, node, self._view, changes).run
        self._node = node
        self._log = get_logger()

    async def run(self) -> Exit:
        """Run until a signal stops it. Reports stay: another process continues, or the devices are still faulty."""
        stopped = stop_event()
        self._lock.acquire()
        self._log.info("component started", node=self._node)
        async with self._tasks.running(self._work.items()):
            await stopped.wait()
        self._lock.release()
        self._log.info("component stopped")
        return Exit.OK
