"""The stub's reset, which can fail in every way that a reset can."""

import ctypes
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NoReturn

import msgspec

from hub import ResetDevice, ResetFailed, Settings

EVERY = "*"
"""The key, in place of a device id, for all devices without their own entry."""

_MEGABYTES = 8 << 20


class Action(StrEnum):
    """What a reset does."""

    SUCCEED = "succeed"
    FAIL = "fail"
    """Fail with the text."""
    RAISE = "raise"
    """Raise a Python exception with the text."""
    SEGFAULT = "segfault"
    SIGKILL = "sigkill"
    """Be killed, as the kernel does to a process when memory runs out."""
    EXIT = "exit"
    """Exit with the exit code."""
    HANG = "hang"
    """Hang in Python."""
    HANG_IN_C = "hang in C"
    """Hang in a library that holds the interpreter lock, blocking all signals but SIGKILL."""
    SPIN = "spin"
    """Use up CPU time."""
    ALLOCATE = "allocate"
    """Allocate memory endlessly."""
    GARBAGE = "garbage"
    """Print binary data."""
    FLOOD = "flood"
    """Print megabytes of lines."""
    FLOOD_LINE = "flood line"
    """Print megabytes without a line break."""
    SCRIBBLE = "scribble"
    """Write garbage to every open descriptor."""
    LEAVE_CHILD = "leave child"
    """Leave behind a process that holds all descriptors open."""
    LEAVE_DAEMON = "leave daemon"
    """Leave behind a process, in its own session, that holds all descriptors open."""
    LEAVE_AND_HANG = "leave and hang"
    """Leave both kinds of processes behind, and hang in C."""
    LEAVE_AND_CRASH = "leave and crash"
    """Leave both kinds of processes behind, and be killed."""


class ResetFault(Settings, frozen=True):
    """The fault to simulate when a device is reset."""

    do: Action = Action.SUCCEED
    """What it does."""
    seconds: float = 0
    """Seconds to wait first."""
    text: str = "configured to fail"
    """The message of its error."""
    code: int = 3
    """The exit code of its process."""


class _Faults(msgspec.Struct):
    """The part of the fault file that is used here."""

    reset: dict[str, ResetFault] = {}
    """Keyed by device id, or `*`."""


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - as decoded from JSON
    """Reset a simulated device, with the configured fault."""
    faults = msgspec.convert(settings, _Faults).reset
    fault = faults.get(device.id) or faults.get(EVERY) or ResetFault()
    if fault.seconds:
        time.sleep(fault.seconds)
    action = _ACTIONS.get(fault.do)
    if action:
        action(fault)


def _fail(fault: ResetFault) -> NoReturn:
    raise ResetFailed(fault.text)


def _raise(fault: ResetFault) -> NoReturn:
    raise RuntimeError(fault.text)


def _segfault(_fault: ResetFault) -> None:
    ctypes.string_at(0)


def _sigkill(_fault: ResetFault) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(fault: ResetFault) -> NoReturn:
    os._exit(fault.code)


def _hang(_fault: ResetFault) -> None:
    threading.Event().wait()


def _hang_in_c(_fault: ResetFault) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    # Unlike CDLL, PyDLL keeps the interpreter's lock.
    ctypes.PyDLL(None).pause()


def _spin(_fault: ResetFault) -> NoReturn:
    while True:
        pass


def _allocate(_fault: ResetFault) -> NoReturn:
    taken = []
    while True:
        # Private memory, which is what the limit counts; untouched pages cost the machine no memory.
        taken.append(mmap.mmap(-1, _MEGABYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def _garbage(_fault: ResetFault) -> None:
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.write(descriptor, bytes(range(256)) + b"\n")


def _flood(_fault: ResetFault) -> None:
    line = "a line that says nothing\n"
    for stream in (sys.stdout, sys.stderr):
        stream.write(line * (_MEGABYTES // len(line)))


def _flood_line(_fault: ResetFault) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.write("x" * _MEGABYTES)


def _scribble(_fault: ResetFault) -> None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - bare names are needed
        # Some descriptors are read-only, and the one that listed this directory is closed.
        try:
            while os.write(int(name), b'{"ok": true} garbage \xff\n' * 100) and int(name) > sys.stderr.fileno():
                pass
        except OSError as error:
            sys.stderr.write(f"descriptor {name}: {error.strerror}\n")


def _leave_child(_fault: ResetFault) -> None:
    _leave()


def _leave_daemon(_fault: ResetFault) -> None:
    _leave(os.setsid)


def _leave_and_hang(fault: ResetFault) -> None:
    _leave()
    _leave(os.setsid)
    _hang_in_c(fault)


def _leave_and_crash(fault: ResetFault) -> None:
    _leave()
    _leave(os.setsid)
    _sigkill(fault)


def _leave(prepare: Callable[[], None] | None = None) -> None:
    """Leave a process behind, which is ready when this function returns."""
    reading, writing = os.pipe()
    if not os.fork():
        if prepare:
            prepare()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.write(writing, b"ready")
        while True:
            signal.pause()
    os.read(reading, 1)


_ACTIONS: dict[Action, Callable[[ResetFault], None]] = {
    Action.FAIL: _fail,
    Action.RAISE: _raise,
    Action.SEGFAULT: _segfault,
    Action.SIGKILL: _sigkill,
    Action.EXIT: _exit,
    Action.HANG: _hang,
    Action.HANG_IN_C: _hang_in_c,
    Action.SPIN: _spin,
    Action.ALLOCATE: _allocate,
    Action.GARBAGE: _garbage,
    Action.FLOOD: _flood,
    Action.FLOOD_LINE: _flood_line,
    Action.SCRIBBLE: _scribble,
    Action.LEAVE_CHILD: _leave_child,
    Action.LEAVE_DAEMON: _leave_daemon,
    Action.LEAVE_AND_HANG: _leave_and_hang,
    Action.LEAVE_AND_CRASH: _leave_and_crash,
}
