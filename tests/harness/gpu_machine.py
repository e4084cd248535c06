"""A node with a simulated driver that a test polls in its own process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub import Host
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState, Gpu
from plugins.gpu.nvml.calls import Nvml
from plugins.gpu.nvml.library import load_library
from plugins.gpu.nvml.probing import Prober
from plugins.gpu.nvml.session import Session
from tests.simulators.nvml import SimulatedNode
from tests.simulators.nvml.profiles import NOT_SUPPORTED


class Machine:
    """A node with a simulated driver, polled in this process.

    Args:
        root: An empty directory.
        monkeypatch: Used to set the variable by which the library, which is loaded once per process, finds its node.
        profile: The profile of the simulated GPUs.
        mig: Their MIG layouts.
    """

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, profile: str, mig: dict[int, str] | None = None
    ) -> None:
        self.driver = SimulatedNode(root, profile, mig)
        self.paths = DriverPaths(Host(root))
        monkeypatch.setenv("NVML_SIMULATOR", self.driver.environment["NVML_SIMULATOR"])

    def poll(self, known: dict[str, Gpu] | None = None) -> DriverState:
        """Poll the driver in a new session."""
        with self.session() as session:
            return session.poll(known or {}, lambda: None)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Begin a session with the driver, and end it."""
        load_library(self.paths)
        nvml = Nvml()
        session = Session(nvml, self.paths, Prober(nvml, self.paths), xids=True)
        try:
            yield session
        finally:
            session.close()

    def lacking(self, function: str, code: int = NOT_SUPPORTED) -> Gpu:
        """Poll a GPU on which a function returns this code."""
        self.driver.gpus[0].lacks[function] = code
        self.driver.apply()
        return self.poll().gpus[0]
