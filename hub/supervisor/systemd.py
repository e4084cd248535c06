"""Reports to systemd, if it has started the hub as a service of `Type=notify` (man 3 sd_notify).

The kubelet's unit is ordered after the hub's. So the hub is ready once its plugins know their devices, or have failed
to find out. It must not wait for a kubelet, which starts only afterwards.
"""

import asyncio
import os
import re
import socket
import time
from collections.abc import Iterable

from hub.base.errors import HubError
from hub.base.log import get_logger
from hub.base.printable import printable
from hub.base.ticks import sleep_until_tick
from hub.base.wording import counted
from hub.model.node import Condition, NodeStatus, PluginStatus, Severity
from hub.status.reader import Reader

READY_TIMEOUT = 60.0
"""Seconds after which the hub is ready although a plugin is still scanning. It is less than `TimeoutStartSec` of the
unit that `dphub install-service` writes, at which systemd would kill the hub."""

INTERVAL = 10.0
"""Maximum seconds between reports to systemd's watchdog, or changes to the status text."""

_POLL = 0.02
"""Seconds between checks of the plugins until the hub is ready: the kubelet waits for it."""

_SLOW_POLL = 1.0
"""Seconds between attempts to reach systemd after READY_TIMEOUT."""

_STATUS_CHARACTERS = 200

_MICROSECONDS = re.compile(r"[1-9][0-9]{0,15}")
"""A limit as systemd's own programs accept it; zero means no limit."""


class Systemd:
    """The connection to systemd. It removes its variables from the environment, so that no child can report anything.

    Args:
        reader: Reads the status of the hub.

    Attributes:
        is_present: Whether systemd expects reports.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        self._interval = _watchdog_interval()
        self._began = time.monotonic()
        self._is_ready = False
        self._text = ""
        self._log = get_logger()
        self.is_present = bool(self._address)

    async def run(self) -> None:
        """Report to systemd that the hub is ready, and then that it still works, until cancelled."""
        while not self._is_ready:
            self._report_ready()
            await asyncio.sleep(_POLL if self._elapsed() < READY_TIMEOUT else _SLOW_POLL)
        while True:
            self._send("WATCHDOG=1", *self._new_text(_describe(self._status())))
            await sleep_until_tick(self._interval)

    async def report_stop(self, stop_requested: asyncio.Event) -> None:
        """Report to systemd that the hub is stopping, once that is requested; return when cancelled."""
        await stop_requested.wait()
        self._send("STOPPING=1")
        await asyncio.Event().wait()

    def _report_ready(self) -> None:
        status = self._status()
        scanning = [plugin.name for plugin in status.plugins if _is_awaited(plugin)] if status else ["its plugins"]
        elapsed = self._elapsed()
        if scanning and elapsed < READY_TIMEOUT:
            self._send(*self._new_text(f"Waiting for the first scan of {', '.join(scanning)}"))
        elif self._send("READY=1", *self._new_text(_describe(status))):
            self._is_ready = True
            self._log.info("service ready", seconds=round(elapsed, 3), still_scanning=scanning)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _status(self) -> NodeStatus | None:
        try:
            return self._reader.status(running=True, memory=False)
        except HubError:
            # Another process has removed or changed the hub's report, which is written again soon.
            return None

    def _new_text(self, text: str) -> Iterable[str]:
        if text == self._text:
            return ()
        self._text = text
        return (f"STATUS={text}",)

    def _send(self, *lines: str) -> bool:
        """Send lines in one datagram, and return whether systemd has received it."""
        if not lines:
            return True
        # In the abstract namespace, an address begins with a null byte.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                # A socket whose queue is full must not block the hub.
                client.setblocking(False)  # noqa: FBT003 - its only argument
                client.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            self._log.debug("systemd not notified", reason=str(error))
            return False
        return True


def _watchdog_interval() -> float:
    """Return the seconds between reports: a third of the watchdog's limit, if this process has one."""
    limit, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    if not _MICROSECONDS.fullmatch(limit) or pid not in {"", str(os.getpid())}:
        return INTERVAL
    return min(INTERVAL, int(limit) / 3e6)


def _is_awaited(plugin: PluginStatus) -> bool:
    """Return whether a plugin is in its first scan, and has not failed before: its next process may fail as well."""
    return plugin.condition is Condition.STARTING and not plugin.process.last_exit


def _describe(status: NodeStatus | None) -> str:
    if status is None:
        return "The status is being written"
    problems = [problem for problem in status.problems if problem.severity is not Severity.INFO]
    if not problems:
        return "No problems found"
    worst = f"{counted(len(problems), 'problem')}, see dphub status: {problems[0].about}: {problems[0].message}"
    return printable(worst)[:_STATUS_CHARACTERS]
