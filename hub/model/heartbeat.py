"""What changes all the time in a process: that it lives, and what it counts."""

import os
import signal
import time
from pathlib import Path

import msgspec

from hub.api.metrics import Metric

INTERVAL = 10.0
"""Seconds between two pulses at most; a shorter watchdog asks for shorter ones."""

WATCHDOG_VARIABLE = "DPHUB_WATCHDOG"
"""In it the hub tells a plugin after how many seconds without a pulse it kills it; 0 for never."""

STACK_SIGNAL = signal.SIGUSR2
"""It makes a plugin process write where its threads are."""


def heartbeat_interval(watchdog: float) -> float:
    """Seconds between two pulses, or two looks at them, for a watchdog that waits so many seconds."""
    return min(INTERVAL, watchdog / 3) if watchdog else INTERVAL


UNRESPONSIVE_AFTER = 30.0
"""Seconds after which a hub that has shown no life is taken for dead, whoever still listens on its sockets."""


def touch_heartbeat(path: Path) -> None:
    """Set a file's time to now, by the clock that neither an adjustment nor the sleep of a node moves.

    Only the time is written, which needs no room on a disk.
    """
    path.touch(mode=0o600)
    os.utime(path, ns=(time.monotonic_ns(),) * 2)


def heartbeat_age(path: Path) -> float:
    """Seconds since a file's time was set so; 0 where there is no such file."""
    try:
        return (time.monotonic_ns() - path.stat().st_mtime_ns) / 1e9
    except FileNotFoundError:
        return 0


class HeartbeatReport(msgspec.Struct, frozen=True):
    """Written by the event loop of a plugin process. That the file's time changes shows that the loop turns."""

    pid: int
    scan: int = 0
    """The number of the scan that runs, which asks the hardware; 0 when none runs."""
    scan_limit: float = 0
    """Seconds that the plugin itself gives a scan."""
    log_level: str = ""
    metrics: tuple[Metric, ...] = ()
