"""A guard that detects an input that hangs or takes too much memory, in this process."""

import gc
import logging
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import structlog

CPU_SECONDS = 1.0
"""The CPU time that one input may take, which does not depend on how busy the machine is."""

ASLEEP_SECONDS = 4.0
"""The time after which an input that only waits, such as for a FIFO, counts as hanging. Time during which the thread
could run but gets no CPU does not count."""

JUMP_BYTES = 256 * 1024 * 1024
"""Memory that one input may take."""

CEILING_BYTES = 768 * 1024 * 1024
"""Memory that this process may take in addition to what it has, so that an endless file cannot exhaust the machine."""

_POLL = 0.1


class Hang(BaseException):
    """An input takes too long. No error handler in the code catches this exception."""


class Growth(Exception):
    """An input takes too much memory, or many inputs do in total."""


@contextmanager
def silence() -> Iterator[None]:
    """Log nothing: the code under test may log each input, which takes longer than reading it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


class Guard:
    """Watches the main thread's CPU time and wall-clock time."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch until the block ends; meanwhile, SIGUSR1 has a different handler, and this process a memory limit."""
        handler = signal.signal(signal.SIGUSR1, _raise)
        limits = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + CEILING_BYTES, limits[1]))
        self._over.clear()
        watching = threading.Thread(target=self._watch, args=(threading.main_thread(),), daemon=True)
        watching.start()
        try:
            with silence():
                yield
        finally:
            self._over.set()
            watching.join()
            resource.setrlimit(resource.RLIMIT_DATA, limits)
            signal.signal(signal.SIGUSR1, handler)

    @contextmanager
    def input(self) -> Iterator[None]:
        """Watch the block, which consumes one input.

        Raises:
            Hang: it took too long.
            Growth: it took too much memory.
        """
        peak = _peak_bytes()
        self._began = time.thread_time()
        try:
            yield
        except MemoryError as error:
            raise Growth("unbounded memory growth") from error
        finally:
            self._began = None
        if _peak_bytes() - peak > JUMP_BYTES:
            raise Growth(f"more than {JUMP_BYTES >> 20} MiB for one input")

    def _watch(self, thread: threading.Thread) -> None:
        assert thread.ident
        clock = time.pthread_getcpuclockid(thread.ident)
        last, asleep_since = 0.0, time.monotonic()
        while not self._over.wait(_POLL):
            began, cpu = self._began, time.clock_gettime(clock)
            if began is None or cpu != last or _is_runnable(thread):
                asleep_since = time.monotonic()
            last = cpu
            is_asleep = time.monotonic() - asleep_since > ASLEEP_SECONDS
            if began is not None and self._began == began and (is_asleep or cpu - began > CPU_SECONDS):
                self._began = None
                signal.pthread_kill(thread.ident, signal.SIGUSR1)


def _is_runnable(thread: threading.Thread) -> bool:
    stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0] == "R"


def resident_bytes(pid: int | str = "self") -> int:
    """Return the memory that a process occupies now."""
    if pid == "self":
        gc.collect()
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _raise(*_: object) -> NoReturn:
    raise Hang(f"the input takes more than {CPU_SECONDS:g} s of CPU time, or sleeps for more than {ASLEEP_SECONDS:g} s")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _data_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
