"""What plugins.amd reads: its configuration file, and what the kernel shows about AMD GPUs."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from hub import Device, Host, NoDevices, ResetDevice, ResetFailed, Runtime
from plugins.amd import AMD
from plugins.amd.discovery.gpus import signature
from plugins.amd.reset import reset
from plugins.amd.settings import DEVICE_COUNT, AMDSettings, apply_environment
from tests.fuzz.choices import Choices
from tests.fuzz.pieces import Directory, Input, edited_files
from tests.fuzz.target import Fault, Target
from tests.fuzz.targets.config import PluginConfig
from tests.fuzz.targets.hardware import ODD_NAMES, read_pieces
from tests.harness.scanned import scanned
from tests.simulators.amdtree import AmdTree

CARD, OTHER = "0000:05:00.0", "0000:26:00.0"

OWN = re.compile(rf".*/{CARD}/.*|sys/class/kfd/kfd/topology/nodes/[23]/(gpu_id|mem_banks|io_links|p2p_links).*")
"""Files of one card that cannot affect another card. Properties can, since two cards may claim one render node."""

CONFIG = {
    "resource_naming_strategy": "mixed",
    "pulse": 5,
    "gpu": {"device_count": 8},
    "shares": 2,
    "exclude": [{"max_vram": 4}, {"products": ["AMD*"], "device_ids": ["740f"]}],
    "resources": [{"name": "example.com/x", "select": {"modes": ["spx_nps1"], "min_vram": 1.5}, "shares": 3}],
    "health": {"exporter": "/run/exporter.sock", "interval": 5, "unhealthy_after": 30.5, "stable_for": 60},
    "reset": {"check": True, "timeout": 3, "memory_slack": 16},
}


class AmdConfig(PluginConfig):
    """The file of the AMD plugin."""

    plugin = AMD
    files: ClassVar[Mapping[str, bytes]] = {
        "amd.json": msgspec.json.encode(CONFIG),
        "amd.yaml": b"resource_naming_strategy: mixed\nexclude:\n  - max_vram: 4\ngpu: {device_count: 2}\n",
    }
    variables = (DEVICE_COUNT,)

    def read(self, settings: Any, environment: Mapping[str, str]) -> None:  # noqa: ANN401 - as in the base class
        """Apply ROCm's variable, and pass the settings to a check, as the plugin does."""
        settings = apply_environment(settings, environment)
        msgspec.json.encode(AMD(settings).reset_settings())


class AmdTreeTarget(Target):
    """The GPUs in sysfs and KFD, and the processes that hold their memory."""

    inputs = 500

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        tree = AmdTree(directory / "first")
        tree.add(CARD, compute="DPX")
        tree.add(OTHER)
        tree.fill(7, CARD, 1 << 30)
        pieces = read_pieces(tree.root)
        self._valid = {piece.name: piece.content for piece in pieces}
        directories = sorted({name.rpartition("/")[0] for name in self._valid})
        self._more = [f"{name}/{odd}" for name in directories for odd in ODD_NAMES]
        self._files = Directory(directory / "node", pieces)
        self._settings = msgspec.convert({"resource_naming_strategy": "mixed"}, AMDSettings)

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, self._valid, self._more if choices.below(3) == 2 else ())

    def consume(self, pieces: Input) -> None:
        """Scan, choose and check: a fault in one card must not affect another."""
        self._files.change(pieces)
        host = Host(self._files.root)
        signature(host)
        plugin = AMD(self._settings, host, Runtime())
        devices = []
        with suppress(NoDevices):
            devices = [device for device in scanned(plugin) if isinstance(device, Device)]
        if OTHER not in {device.id for device in devices} and all(OWN.fullmatch(piece.name) for piece in pieces):
            raise Fault("a fault in one card affects another")
        plugin.prefer(devices, devices[:1], min(2, len(devices)))
        for device in devices:
            nodes = tuple(str(node.host_path) for node in device.nodes)
            with suppress(ResetFailed):
                reset(ResetDevice(device.id, nodes, str(host.root)), {"timeout": 0, "memory_slack": 0})
