"""Resets of virtual functions before a container starts. This runs in a process of its own, see `hub.reset`.

A container starts after its pod's network is set up, and a reset undoes what was set up on the function. So it is for
pods whose network is not on it, and has to be asked for.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from hub import Host
from hub.reset import ResetDevice, ResetFailed

_POLL = 0.02
"""Seconds between two looks at sysfs, which tells nobody of a change."""


class Limits(msgspec.Struct, frozen=True):
    """Seconds that each step may take; together they stay within the time of a container's resets."""

    unbind: float = 5
    reset: float = 6
    bind: float = 6
    ready: float = 4


class VfResetSettings(msgspec.Struct, frozen=True):
    """What a reset needs to know."""

    limits: Limits = Limits()


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - what JSON made of VfResetSettings
    """Unbind a virtual function's driver, reset it, bind the driver again, and see that it is as it was.

    Raises:
        ResetFailed: it is not, and the container must not start.
    """
    function = _Function(Host(device.host_root), device)
    function.check()
    limits = msgspec.convert(settings, VfResetSettings).limits
    was_active = function.is_active
    function.unbind(limits.unbind)
    try:
        function.reset(limits.reset)
    except ResetFailed as failed:
        raise ResetFailed(f"{failed}; {function.restored(limits.bind)}") from failed
    function.bind(limits.bind)
    function.wait_until_ready(limits.ready, active=was_active)


class _Function:
    """A virtual function in sysfs."""

    def __init__(self, host: Host, device: ResetDevice) -> None:
        self._host = host
        self._pci = device.id
        self._wanted = {Path(node).name for node in device.nodes} - {"rdma_cm"}
        self._path = host.path(f"/sys/bus/pci/devices/{device.id}")
        self._driver = (self._path / "driver").resolve() if (self._path / "driver").exists() else None

    def check(self) -> None:
        """That it may be reset at all."""
        if not (self._path / "physfn").exists():
            raise ResetFailed("it is no virtual function, and others depend on a physical one")
        if self._driver is None:
            raise ResetFailed("no driver is bound to it")
        if holders := sorted(set(self._holders())):
            raise ResetFailed(f"somebody has it open: {'; '.join(holders)}")

    @property
    def is_active(self) -> bool:
        """Whether all its ports are up."""
        states = [path.read_text() for path in self._path.glob("infiniband/*/ports/*/state")]
        return bool(states) and all("ACTIVE" in state for state in states)

    def unbind(self, limit: float) -> None:
        """Have the driver let go."""
        self._write(self._bound_driver / "unbind", self._pci, "the driver's letting go", limit)
        self._wait(lambda: not (self._path / "driver").exists(), "the driver has not let go", limit)

    def reset(self, limit: float) -> None:
        """Reset the function itself (FLR), where the hardware can do that."""
        methods = self._path / "reset_method"
        if not methods.exists() or "flr" not in methods.read_text().split():
            return
        self._write(self._path / "reset", "1", "the reset of the function", limit)

    def bind(self, limit: float) -> None:
        """Have the driver take it again; the first try may fail with an error of input and output."""
        end = time.monotonic() + limit
        while True:
            try:
                self._write(self._bound_driver / "bind", self._pci, "the driver's taking hold", limit)
                self._wait((self._path / "driver").exists, "the driver has not taken it", limit / 2)
            except ResetFailed:
                if time.monotonic() > end:
                    raise
                time.sleep(_POLL)
            else:
                return

    def restored(self, limit: float) -> str:
        """Bind the driver again after a failure; what came of it."""
        try:
            self.bind(limit)
        except ResetFailed as failed:
            return f"and it could not be restored: {failed}"
        return "the driver is bound to it again"

    def wait_until_ready(self, limit: float, *, active: bool) -> None:
        """Until it has its RDMA device again, and its ports are up where they were.

        Raises:
            ResetFailed: it has not, or under other names than the container was given.
        """
        try:
            self._wait(lambda: bool(self._names) and self._wanted <= self._names, "it has no RDMA device", limit)
        except ResetFailed:
            if not self._names:
                raise
            missing = ", ".join(sorted(self._wanted - self._names))
            raise ResetFailed(f"its device files have other names now: {missing} went") from None
        if active:
            self._wait(lambda: self.is_active, "its ports were ACTIVE before, and are not again", limit)

    @property
    def _names(self) -> set[str]:
        """What its device files are called now."""
        return {path.name for path in self._path.glob("infiniband_*/*")}

    @property
    def _bound_driver(self) -> Path:
        if self._driver is None:
            raise ResetFailed("no driver is bound to it")
        return self._driver

    def _holders(self) -> Iterator[str]:
        """Processes that have one of its device files open, as far as this process sees those of the node."""
        names = {f"/dev/infiniband/{name}" for name in self._names}
        for process in self._host.path("/proc").glob("[0-9]*"):
            try:
                opened = {str(link.readlink()) for link in (process / "fd").iterdir()}
                name = (process / "comm").read_text().strip()
            except OSError:
                # It has ended, or is none of ours to look at.
                continue
            if any(re.fullmatch(f".*{re.escape(file)}", each) for file in names for each in opened):
                yield f"process {process.name} ({name})"

    def _write(self, path: Path, text: str, what: str, limit: float) -> None:
        """Write to sysfs, which answers when the kernel is done, and that may never be."""
        outcome: list[OSError | None] = []

        def write() -> None:
            try:
                path.write_text(text)
            except OSError as error:
                outcome.append(error)
            else:
                outcome.append(None)

        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        writing.join(limit)
        if not outcome:
            raise ResetFailed(f"{what} has not ended within {limit:g} s")
        if outcome[0] is not None:
            raise ResetFailed(f"{what} failed: {outcome[0].strerror}")

    def _wait(self, condition: Callable[[], bool], why: str, limit: float) -> None:
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                raise ResetFailed(f"{why} within {limit:g} s")
            time.sleep(_POLL)
