"""Check whether devices that are present can be used: by the content of a file, and by a command."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hub import Host, ProgramFailed, UnreadableError, read_text, run_program
from plugins.generic.discovery.files import resolve

Key = tuple[str, str]
"""The resource and the id of a device."""

_THREADS = 8
"""How many checks run at the same time."""

_ALL = 20.0
"""Seconds for all checks of devices that were just found: a scan may take 30."""

_PENDING = "its first health check has not finished"


class Check(NamedTuple):
    """How to check a device."""

    file: str | None
    """None if no file is checked; empty if the device has no file."""
    content: str
    command: tuple[str, ...]
    interval: float
    timeout: float

    def run(self, host: Host) -> str:
        """Return why the device cannot be used; empty if it can."""
        problem = "" if self.file is None else self._check_file(host, self.file)
        return problem or self._check_command()

    def _check_command(self) -> str:
        try:
            if self.command:
                run_program(self.command, timeout=self.timeout)
        except ProgramFailed as error:
            return str(error)
        return ""

    def _check_file(self, host: Host, file: str) -> str:
        if not file:
            return "its health check needs a device file, but the device has none"
        try:
            found = read_text(host.path(resolve(host, file) or file), errors="replace").strip()
        except UnreadableError as error:
            return f"{file}: {error.problem}"
        if re.fullmatch(self.content, found, re.DOTALL):
            return ""
        return f'{file} contains "{_shown(found)}", expected {self.content}'


class HealthChecks:
    """The checks of all devices, each run at its interval. Scans read the results, and check only new devices.

    Args:
        host: The node's file system.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._checks: dict[Key, Check] = {}
        self._faults: dict[Key, str] = {}
        self._due: dict[Key, float] = {}
        self._new = threading.Event()

    def update(self, checks: Mapping[Key, Check]) -> dict[Key, str]:
        """Replace the checks after a scan; return why each device cannot be used, or an empty string if it can."""
        with self._lock:
            new = {key: check for key, check in checks.items() if self._checks.get(key) != check}
        faults = run_all(self._host, new)
        with self._lock:
            self._checks = dict(checks)
            known = {**self._faults, **faults}
            self._faults = {key: known.get(key, _PENDING) for key in checks}
            # A check that has not finished is due at once.
            due = {key: time.monotonic() + checks[key].interval if key in faults else 0.0 for key in new}
            self._due = {key: {**self._due, **due}.get(key, 0.0) for key in checks}
            found = dict(self._faults)
        self._new.set()
        return found

    def run_forever(self, changed: Callable[[], None]) -> None:
        """Run the checks that are due, and call `changed` if a result has changed."""
        while True:
            self._new.clear()
            with self._lock:
                earliest = min(self._due.values(), default=None)
            if earliest is None or earliest > time.monotonic():
                self._new.wait(None if earliest is None else earliest - time.monotonic())
            if self.run_due():
                changed()

    def run_due(self) -> bool:
        """Run the checks that are due; return whether a result has changed."""
        now = time.monotonic()
        with self._lock:
            due = {key: self._checks[key] for key, at in self._due.items() if at <= now}
        faults = run_all(self._host, due)
        with self._lock:
            current = {key: fault for key, fault in faults.items() if self._checks.get(key) == due[key]}
            before = {key: self._faults[key] for key in current}
            self._faults |= current
            self._due |= {key: time.monotonic() + due[key].interval for key in due if key in self._due}
        return before != current


def run_all(host: Host, checks: Mapping[Key, Check]) -> dict[Key, str]:
    """Run checks, several at a time; return the results that are available when the time is up."""
    pending = list(checks.items())[::-1]
    results: dict[Key, str] = {}

    def work() -> None:
        while pending and time.monotonic() < end:
            try:
                key, check = pending.pop()
            except IndexError:
                return
            results[key] = check.run(host)

    end = time.monotonic() + _ALL
    # Daemon threads: a check that hangs must not keep the process from exiting.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_THREADS, len(pending)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(results)


def _shown(content: str) -> str:
    line = content.splitlines()[0] if content else ""
    return f"{line:.40}"
