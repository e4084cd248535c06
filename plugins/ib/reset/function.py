"""A PCI function in sysfs, and the operations that are started by writing to its files."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from hub import Host, ResetFailed, read_attribute
from plugins.ib.reset.openfiles import device_number, processes_with_open

_POLL = 0.02
"""Seconds between reads of sysfs, which gives no notification of changes."""


class Function:
    """A function of a device on the PCI bus.

    Args:
        host: The node's file system.
        pci: Its address.
        driver: The name of its driver, used if none is bound.
    """

    def __init__(self, host: Host, pci: str, driver: str = "") -> None:
        self._host = host
        self.pci = pci
        self._path = host.path(f"/sys/bus/pci/devices/{pci}")
        self.driver = (self._path / "driver").resolve().name if self.is_bound else driver
        """The name of its driver; empty if unknown."""

    @property
    def exists(self) -> bool:
        """Whether the function exists."""
        return self._path.exists()

    @property
    def is_bound(self) -> bool:
        """Whether a driver is bound to it."""
        return (self._path / "driver").exists()

    @property
    def is_virtual(self) -> bool:
        """Whether it is a virtual function."""
        return (self._path / "physfn").exists()

    @property
    def is_active(self) -> bool:
        """Whether all its ports are active."""
        states = [read_attribute(path) for path in self._path.glob("infiniband/*/ports/*/state")]
        return bool(states) and all("ACTIVE" in state for state in states)

    def holders(self) -> Iterator[str]:
        """Find processes with one of its devices open, among those that this process can see.

        Raises:
            ResetFailed: the kernel does not show the number of a device.
        """
        try:
            devices = {device_number(path / "dev") for path in self._path.glob("infiniband_*/*")}
        except ValueError as error:
            raise ResetFailed(f"cannot determine which processes have it open: {error}") from None
        yield from processes_with_open(self._host, devices)

    def unbind(self, timeout: float) -> None:
        """Unbind the driver."""
        self._write(self._driver_path / "unbind", self.pci, "unbinding the driver", timeout)
        self._wait(lambda: not self.is_bound, "the driver was not unbound", timeout)

    def reset(self, timeout: float) -> None:
        """Reset the function itself (FLR) if the hardware supports it."""
        if "flr" not in read_attribute(self._path / "reset_method").split():
            return
        self._write(self._path / "reset", "1", "the reset of the function", timeout)

    def bind(self, timeout: float) -> None:
        """Bind the driver, with retries: the first attempt may fail with an I/O error."""
        end = time.monotonic() + timeout
        while True:
            try:
                self.bind_once(timeout)
            except ResetFailed:
                if time.monotonic() > end:
                    raise
                time.sleep(_POLL)
            else:
                return

    def bind_once(self, timeout: float) -> None:
        """Bind the driver, without retries."""
        self._write(self._driver_path / "bind", self.pci, "binding the driver", timeout)
        self._wait(lambda: self.is_bound, "the driver was not bound", timeout / 2)

    def wait_until_ready(self, timeout: float, *, names: Collection[str], active: bool) -> None:
        """Wait until the RDMA device is back under its names, and its ports are active if they were before.

        Raises:
            ResetFailed: the device is not back, or its names differ from those that the container got.
        """
        try:
            self._wait(lambda: bool(self._names) and set(names) <= self._names, "it had no RDMA device", timeout)
        except ResetFailed:
            if not self._names:
                raise
            missing = ", ".join(sorted(set(names) - self._names))
            raise ResetFailed(f"the names of its device files changed: {missing} no longer exist") from None
        if active:
            self._wait(
                lambda: self.is_active,
                "its ports were ACTIVE before the reset and did not become ACTIVE again",
                timeout,
            )

    @property
    def _names(self) -> set[str]:
        """The current names of its device files."""
        return {path.name for path in self._path.glob("infiniband_*/*")}

    @property
    def _driver_path(self) -> Path:
        return self._host.path(f"/sys/bus/pci/drivers/{self.driver}")

    def _write(self, path: Path, text: str, what: str, timeout: float) -> None:
        """Write to sysfs, with a timeout: the write returns when the kernel has finished, which may never happen."""
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
        writing.join(timeout)
        if not outcome:
            raise ResetFailed(f"{what} did not finish within {timeout:g} s")
        if outcome[0] is not None:
            raise ResetFailed(f"{what} failed: {outcome[0].strerror}")

    def _wait(self, condition: Callable[[], bool], why: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise ResetFailed(f"{why} within {timeout:g} s")
            time.sleep(_POLL)
