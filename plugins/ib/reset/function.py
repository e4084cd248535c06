"""One PCI function in sysfs, and what the kernel does when something is written there."""

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from hub import Host, ResetFailed

_POLL = 0.02
"""Seconds between two looks at sysfs, which tells nobody of a change."""


class Function:
    """A function of a device on the PCI bus.

    Args:
        host: The node.
        pci: Its address.
        driver: The name of its driver, where none is bound to it just now.
    """

    def __init__(self, host: Host, pci: str, driver: str = "") -> None:
        self._host = host
        self.pci = pci
        self._path = host.path(f"/sys/bus/pci/devices/{pci}")
        self.driver = (self._path / "driver").resolve().name if self.is_bound else driver
        """Its driver, empty where none is known."""

    @property
    def is_there(self) -> bool:
        """Whether there is such a function."""
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
        """Whether all its ports are up."""
        states = [path.read_text() for path in self._path.glob("infiniband/*/ports/*/state")]
        return bool(states) and all("ACTIVE" in state for state in states)

    def holders(self) -> Iterator[str]:
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

    def unbind(self, limit: float) -> None:
        """Have the driver let go."""
        self._write(self._driver_path / "unbind", self.pci, "the driver's letting go", limit)
        self._wait(lambda: not self.is_bound, "the driver has not let go", limit)

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
                self.bind_once(limit)
            except ResetFailed:
                if time.monotonic() > end:
                    raise
                time.sleep(_POLL)
            else:
                return

    def bind_once(self, limit: float) -> None:
        """Have the driver take it."""
        self._write(self._driver_path / "bind", self.pci, "the driver's taking hold", limit)
        self._wait(lambda: self.is_bound, "the driver has not taken it", limit / 2)

    def wait_until_ready(self, limit: float, *, names: Collection[str], active: bool) -> None:
        """Until it has its RDMA device again, under these names, and its ports are up where they were.

        Raises:
            ResetFailed: it has not, or under other names than the container was given.
        """
        try:
            self._wait(lambda: bool(self._names) and set(names) <= self._names, "it has no RDMA device", limit)
        except ResetFailed:
            if not self._names:
                raise
            missing = ", ".join(sorted(set(names) - self._names))
            raise ResetFailed(f"its device files have other names now: {missing} went") from None
        if active:
            self._wait(lambda: self.is_active, "its ports were ACTIVE before, and are not again", limit)

    @property
    def _names(self) -> set[str]:
        """What its device files are called now."""
        return {path.name for path in self._path.glob("infiniband_*/*")}

    @property
    def _driver_path(self) -> Path:
        return self._host.path(f"/sys/bus/pci/drivers/{self.driver}")

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
