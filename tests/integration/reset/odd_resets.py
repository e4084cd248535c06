"""Resets that the tests of resets run."""

import json
import mmap
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from hub import ResetDevice, ResetFailed


def report_all(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Write facts about a reset's process to a file, as JSON."""
    facts = {
        "device": [device.id, list(device.nodes), device.host_root],
        "settings": settings,
        "environment": dict(os.environ),
        "descriptors": {name: _target(name) for name in os.listdir("/proc/self/fd")},  # noqa: PTH208 - bare names
        "modules": sorted(sys.modules),
        "session": [os.getpid(), os.getsid(0), os.getpgrp()],
        "guard": [os.getppid(), os.getsid(os.getppid())],
        "directory": str(Path.cwd()),
        "input": sys.stdin.read(),
        "limits": {
            name: resource.getrlimit(getattr(resource, name))[0]
            for name in ("RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_CORE")
        },
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }
    Path(settings["file"]).write_text(json.dumps(facts), encoding="utf-8")


def stop_guard(_device: ResetDevice, _settings: Any) -> NoReturn:  # noqa: ANN401 - a plugin's settings
    """Suspend the process that should terminate this one, so that neither exits."""
    os.kill(os.getppid(), signal.SIGSTOP)
    while True:
        signal.pause()


def pause(_device: ResetDevice, _settings: Any) -> NoReturn:  # noqa: ANN401 - a plugin's settings
    """Wait for a signal that kills this process."""
    while True:
        signal.pause()


def reserve(_device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Reserve address space without using it, as drivers' libraries do."""
    mapping = mmap.mmap(-1, settings["bytes"], flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
    mapping.close()


def take_a_while(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Record the start and the end in a file that all resets share; the first one waits until another is running."""
    _note(settings["file"], device.id, 1)
    while len(Path(settings["file"]).read_text(encoding="utf-8").splitlines()) < 2:
        time.sleep(0.01)
    time.sleep(0.1)
    _note(settings["file"], device.id, -1)


def wait_for_file(_device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Return when a file exists."""
    while not Path(settings["file"]).exists():
        time.sleep(0.01)


async def never_awaited(_device: ResetDevice, _settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Do nothing: a coroutine is not a reset."""


def surrogates(_device: ResetDevice, _settings: Any) -> NoReturn:  # noqa: ANN401 - a plugin's settings
    """Fail with a string that UTF-8 cannot encode, and that is too long."""
    raise ResetFailed("file \udcff " + "x" * 100_000)


def leave_system(_device: ResetDevice, _settings: Any) -> NoReturn:  # noqa: ANN401 - a plugin's settings
    """Call sys.exit, as scripts do."""
    sys.exit(0)


def shut_everything(_device: ResetDevice, _settings: Any) -> None:  # noqa: ANN401 - a plugin's settings
    """Close every descriptor, as daemons do."""
    os.closerange(0, 256)


def clean_up_on_sigterm(_device: ResetDevice, settings: Any) -> NoReturn:  # noqa: ANN401 - a plugin's settings
    """Clean up on SIGTERM."""

    def clean_up(*_: object) -> NoReturn:
        Path(settings["file"]).write_text("clean", encoding="utf-8")
        sys.exit()

    signal.signal(signal.SIGTERM, clean_up)
    while True:
        signal.pause()


def _note(file: str, device: str, change: int) -> None:
    note = json.dumps([time.monotonic(), device, change]) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, note.encode())
    os.close(descriptor)


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - a bare name
    except FileNotFoundError:
        return ""
