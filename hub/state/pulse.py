"""What changes all the time in a plugin process: that it lives, and what it counts."""

import signal

import msgspec

from hub.metric import Metric

INTERVAL = 10.0
"""Seconds between two pulses at most; a shorter watchdog asks for shorter ones."""

WATCHDOG_VARIABLE = "DPHUB_WATCHDOG"
"""In it the hub tells a plugin after how many seconds without a pulse it kills it; 0 for never."""

STACK_SIGNAL = signal.SIGUSR2
"""It makes a plugin process write where its threads are."""


def pulse_interval(watchdog: float) -> float:
    """Seconds between two pulses, or two looks at them, for a watchdog that waits so many seconds."""
    return min(INTERVAL, watchdog / 3) if watchdog else INTERVAL


class Pulse(msgspec.Struct, frozen=True):
    """Written by the event loop of a plugin process. That the file's time changes shows that the loop turns."""

    pid: int
    scan: int = 0
    """The number of the scan that runs, which asks the hardware; 0 when none runs."""
    scan_limit: float = 0
    """Seconds that the plugin itself gives a scan."""
    log_level: str = ""
    metrics: tuple[Metric, ...] = ()
