"""The labels that each plugin gives a simulated node."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from hub import Host
from plugins.gpu.discovery.facts import DriverState, Engines, Gpu, MigDevice
from plugins.gpu.labels import node_labels as gpu_labels
from plugins.gpu.resources import plan
from plugins.gpu.settings.file import GPUSettings
from plugins.ib.discovery.facts import Hca, Port
from plugins.ib.labels import node_labels as rdma_labels
from tests.harness.scanned import scanned
from tests.simulators.amdnodes import mi210, mi300x
from tests.simulators.inteltree import two_flex
from tests.unit.plugins.amd.amd_node import plugin as amd_plugin
from tests.unit.plugins.amd.amd_node import result
from tests.unit.plugins.intel.intel_scan import plugin_of

_ENGINES = Engines(12, copy=1, decoder=1, encoder=0, jpeg=1, ofa=1)


def _gpus(_directory: Path, *, strategy: str = "none", mig: bool = False) -> dict[str, str]:
    gpu = Gpu("GPU-0", 0, 0, "NVIDIA H100 80GB HBM3", "0000:07:00.0", 80 << 30, 0, (9, 0), mig_capable=True)
    if mig:
        migs = [
            MigDevice(f"MIG-{index}", index, "1g.10gb+me", 1, 0, 1, 1, 10 << 30, engines=_ENGINES) for index in range(2)
        ]
        gpu = msgspec.structs.replace(gpu, mig=True, migs=tuple(migs))
    settings = msgspec.convert({"flags": {"migStrategy": strategy}}, GPUSettings)
    state = DriverState((gpu,), driver="580.95.05", cuda=(13, 0))
    return gpu_labels(settings, state, plan(settings, (gpu,)).shares, Host("/nonexistent"))


def _migs(directory: Path) -> dict[str, str]:
    return _gpus(directory, strategy="mixed", mig=True)


def _amd(directory: Path) -> dict[str, str]:
    plugin = amd_plugin(mi210(directory))
    result(plugin)
    return dict(plugin.labels([]))


def _partitions(directory: Path) -> dict[str, str]:
    plugin = amd_plugin(mi300x(directory))
    result(plugin)
    return dict(plugin.labels([]))


def _intel(directory: Path) -> dict[str, str]:
    plugin = plugin_of(two_flex(directory))
    scanned(plugin)
    return dict(plugin.labels([]))


def _rdma(_directory: Path) -> dict[str, str]:
    port = Port(1, "ACTIVE", "LinkUp", "InfiniBand", 400)
    return rdma_labels([Hca("0000:01:00.0", "15b3", "101b", "mlx5_core", 0, (), (), ports=(port,))])


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "gpus": _gpus,
    "mig devices": _migs,
    "amd": _amd,
    "amd partitions": _partitions,
    "intel": _intel,
    "rdma": _rdma,
}
"""The labels of a node, by what it has; each takes a directory for the node's files."""
