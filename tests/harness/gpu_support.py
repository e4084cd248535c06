"""The GPU plugin on a node with a simulated driver."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from hub.testing.plugin import PluginProcess
from plugins.gpu.discovery.facts import Engines, Gpu, MigDevice
from tests.harness.node import Node
from tests.simulators.nvml import SimulatedNode

GPU = "nvidia.com/gpu"
FIRST_WITH_MIG = 8
"""The first compute capability for which the simulated driver answers queries about MIG."""


class GpuNode:
    """A node with a simulated driver, and the GPU plugin on it.

    Args:
        node: The node on which the kubelet and the plugin run.
        profile: The profile of the simulated GPUs.
        mig: Their MIG layouts.
    """

    def __init__(self, node: Node, profile: str = "switch8", mig: str | dict[int, str] | None = None) -> None:
        self.node = node
        self.root = node.directory / "root"
        self.root.mkdir()
        self.driver = SimulatedNode(self.root, profile, mig)

    def start(self, config: str | Path | None = None, *, target: str = "plugins.gpu:GPU", **env: str) -> PluginProcess:
        """Start the plugin with this configuration."""
        environment = {"DPHUB_HOST_ROOT": str(self.root), **env}
        return self.node.start_plugin(target, name="gpu", config=config, env=environment)

    def daemons(self) -> list[int]:
        """Return the process ids of this node's MPS daemons."""
        program = str(self.root / "usr/bin/nvidia-cuda-mps-control").encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and program in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def end_daemons(self) -> None:
        """Kill the MPS daemons; the plugins, which would start others, must have exited."""
        for pid in self.daemons():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def uuids(self) -> list[str]:
        """Return the GPUs' UUIDs in the driver's order."""
        return [gpu.uuid for gpu in self.driver.gpus]


def answer(pod: Any, container: str = "main") -> Any:  # noqa: ANN401 - the kubelet's message
    """Return Allocate's response for a container of an admitted pod."""
    return pod.containers[container].response


def facts(driver: SimulatedNode) -> list[Gpu]:
    """Return what discovery must find on this driver."""
    return [
        Gpu(
            gpu.uuid,
            index,
            gpu.minor,
            gpu.name,
            gpu.pci,
            gpu.memory,
            gpu.numa,
            (int(gpu.cc[0]), int(gpu.cc[2])),
            gpu.mig,
            tuple(
                MigDevice(
                    mig.uuid,
                    mig.index,
                    mig.profile,
                    mig.gi,
                    mig.ci,
                    mig.gpu_slices,
                    mig.compute_slices,
                    mig.memory,
                    engines=Engines(14 * mig.compute_slices, copy=mig.gpu_slices, decoder=0, encoder=0, jpeg=0, ofa=0),
                )
                for mig in gpu.migs
            ),
            mig_capable=int(gpu.cc[0]) >= FIRST_WITH_MIG,
        )
        for index, gpu in enumerate(driver.gpus)
    ]
