"""The memory that processes use.

The kernel keeps readers waiting while a process changes its address space, which takes forever if that call hangs in a
driver or a file system. So the memory is read in threads, and nothing waits long for them.
"""

import threading
import time

import psutil

READ_TIMEOUT = 0.2
"""Seconds to wait for a process's memory; it usually takes a millisecond."""

LIFETIME = 1.0
"""Seconds for which a value is returned again."""

MAX_PENDING = 8
"""Maximum number of waiting threads. Beyond that, no memory is read: each read that hangs occupies a thread."""


class Memory:
    """Reads the memory of processes, and waits for each process only once."""

    def __init__(self) -> None:
        self._readings: dict[int, _Reading] = {}

    def of(self, pid: int) -> int | None:
        """Return the memory of a process in bytes, with its share of shared memory; None if it cannot be read."""
        if not pid:
            return None
        known = self._readings.get(pid)
        if known is None or known.is_outdated:
            self._readings = {each: reading for each, reading in self._readings.items() if not reading.is_outdated}
            if sum(reading.is_pending for reading in self._readings.values()) >= MAX_PENDING:
                return None
            known = self._readings[pid] = _Reading(pid)
        return known.value


class _Reading:
    def __init__(self, pid: int) -> None:
        self.value: int | None = None
        self._pid = pid
        self._ended = 0.0
        thread = threading.Thread(target=self._read, name=f"memory of {pid}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # There are too many processes and threads.
            self._ended = time.monotonic()
        else:
            thread.join(READ_TIMEOUT)

    @property
    def is_pending(self) -> bool:
        """Whether this reading is still waiting for the process."""
        return not self._ended

    @property
    def is_outdated(self) -> bool:
        """Whether the memory can be read again: not while this reading is still waiting for the process."""
        return bool(self._ended) and time.monotonic() - self._ended > LIFETIME

    def _read(self) -> None:
        self.value = proportional_set_size(self._pid)
        self._ended = time.monotonic()


def proportional_set_size(pid: int) -> int | None:
    """Return the memory of a process in bytes, however long that takes; None if it cannot be read."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    # The process id comes from a file, and may be a number that no process can have.
    except (psutil.Error, ValueError, OverflowError):
        return None
