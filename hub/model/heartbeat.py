"""What a process reports at short intervals: that it is alive, and its metrics."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from hub.api.metrics import Metric
from hub.base.jsonfile import read_file
from hub.base.untrusted import Integer, UnreadableError

INTERVAL = 10.0
"""Maximum seconds between heartbeats; a short watchdog limit needs shorter intervals."""

WATCHDOG_VARIABLE = "DPHUB_WATCHDOG"
"""The variable in which a plugin gets the watchdog's limit: the hub kills it after that many seconds without a
heartbeat; 0 disables that."""

STACK_SIGNAL = signal.SIGUSR2
"""The signal that makes a plugin process write the stacks of its threads."""

BLOCKED_AT_START = frozenset({signal.SIGHUP, STACK_SIGNAL})
"""Signals that the hub may send to a plugin that has no handlers yet: they stay pending instead of killing it."""

HANDOVER_TIMEOUT = 20.0
"""Seconds for which a plugin that is stopped keeps serving until another hub has its devices. The kubelet kills a pod
after 30."""


def heartbeat_interval(watchdog: float) -> float:
    """Return the seconds between heartbeats, or checks of them, for a watchdog's limit in seconds."""
    return min(INTERVAL, watchdog / 3) if watchdog else INTERVAL


UNRESPONSIVE_AFTER = 30.0
"""Seconds without a heartbeat after which a hub counts as unresponsive, even if its sockets accept connections."""


def create_heartbeat(path: Path) -> None:
    """Create an empty file if there is none. An existing file is not opened: it may be a pipe, or a link to elsewhere.

    Raises:
        OSError: the file system is full, or cannot be written.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def touch_heartbeat(path: Path) -> None:
    """Set a file's modification time to now, by a clock that is unaffected by adjustments and by suspending the node.

    Setting only the time requires no disk space.
    """
    create_heartbeat(path)
    os.utime(path, ns=(time.monotonic_ns(),) * 2, follow_symlinks=False)


def heartbeat_age(path: Path) -> float:
    """Return the seconds since `touch_heartbeat` was last called for a file; 0 if there is no such file."""
    try:
        return (time.monotonic_ns() - path.lstat().st_mtime_ns) / 1e9
    except FileNotFoundError:
        return 0


class HeartbeatReport(msgspec.Struct, frozen=True):
    """A file that a plugin process's event loop writes. A changed modification time shows that the loop is running."""

    pid: Integer
    scan: Integer = 0
    """The number of the running hardware scan; 0 when none is running."""
    scan_limit: float = 0
    """The plugin's own time limit for a scan, in seconds."""
    log_level: str = ""
    metrics: tuple[Metric, ...] = ()
    is_handing_over: bool = False
    """Whether it has been stopped, and keeps serving for a moment until another hub has its devices."""


def is_handing_over(path: Path, pid: int) -> bool:
    """Return whether a process has written to its heartbeat file that it is handing over."""
    try:
        report = read_file(path, HeartbeatReport)
    except UnreadableError:
        return False
    return report is not None and report.pid == pid and report.is_handing_over
