"""What the Intel plugin reads: its configuration file, and the GPUs in sysfs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from hub import Device, Host, NoDevices
from plugins.intel import Intel
from plugins.intel.discovery.xpumd import Severity, parse_health
from plugins.intel.health import judge
from plugins.intel.settings import IntelSettings, ineffective
from tests.fuzz.choices import Choices, edited
from tests.fuzz.pieces import Directory, Input, Piece, edited_files
from tests.fuzz.target import Fault, Target
from tests.fuzz.targets.config import PluginConfig
from tests.fuzz.targets.hardware import ODD_NAMES, read_pieces
from tests.harness.scanned import scanned
from tests.simulators import xpumd
from tests.simulators.inteltree import IntelTree
from tests.simulators.xpumd import response

ODD, OTHER = "0000:4d:00.0", "0000:b7:00.0"

CONFIG: Mapping[str, Any] = {
    "shared-dev-num": 10,
    "allocation-policy": "packed",
    "enable-monitoring": True,
    "monitoring-mode": "split",
    "bypath": "all",
    "deny-ids": ["0x56a6"],
    "exclude": ["0000:03:00.0"],
    "health-management": True,
    "gpu-temp-limit": 90,
    "render-env": "RENDER_NODE",
}

YAML = b"""shared-dev-num: 2
allow-ids: 0x56c0,0x56c1
bypath: none
xpumd-endpoint: /run/xpumd/intelxpuinfo.sock
xpumd-severity: failed
"""

REPORT = response(
    {
        ODD: [("memory", xpumd.Severity.CRITICAL, "EccErrors"), ("temperature.gpu", xpumd.Severity.WARNING, "Hot")],
        OTHER: [("memory", xpumd.Severity.OK, "ok")],
    }
)


class IntelConfig(PluginConfig):
    """The flags of Intel's plugin, and our keys."""

    plugin = Intel
    files: ClassVar[Mapping[str, bytes]] = {"intel.json": msgspec.json.encode(CONFIG), "intel.yaml": YAML}

    def read(self, settings: Any, environment: Mapping[str, str]) -> None:  # noqa: ANN401, ARG002 - as in the base class
        """Use the settings, as the plugin does when it starts."""
        list(ineffective(settings))


class XpumdReport(Target):
    """What xpumd reports about GPUs: to the plugin, any bytes are a report or an error."""

    def make(self, choices: Choices) -> Input:
        """Change the bytes of three out of four reports."""
        return [Piece.of(edited(choices, REPORT) if choices.below(4) else REPORT)]

    def consume(self, pieces: Input) -> None:
        """Decide about the health of each GPU; the reasons must be printable text."""
        for pci, parts in parse_health(pieces[0].content).items():
            health = judge(parts, Severity.CRITICAL)
            if not f"{pci}{health.fault}{health.warning}".isprintable():
                raise Fault("a report has text that cannot be shown")


class IntelTreeTarget(Target):
    """The GPUs in sysfs, and their files."""

    inputs = 500

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        tree = IntelTree(directory / "first")
        tree.add(ODD, meis=2, max_vfs=4)
        tree.add(OTHER, driver="xe", numa=1)
        tree.divide(ODD, 1)
        tree.set_temperature(ODD, 60)
        tree.set_temperature(OTHER, 60, "vram")
        pieces = read_pieces(directory / "first")
        self._valid = {piece.name: piece.content for piece in pieces}
        directories = sorted({name.rpartition("/")[0] for name in self._valid})
        self._more = [f"{name}/{odd}" for name in directories for odd in ODD_NAMES]
        self._files = Directory(directory / "node", pieces)
        self._settings = msgspec.convert({**CONFIG, "shared-dev-num": 1}, IntelSettings)

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, self._valid, self._more if choices.below(3) == 2 else ())

    def consume(self, pieces: Input) -> None:
        """Scan: a fault in one GPU must not affect another, let alone the whole scan."""
        self._files.change(pieces)
        try:
            found = scanned(Intel(self._settings, Host(self._files.root)))
        except NoDevices:
            found = []
        msgspec.json.encode(found)
        devices = {device.id for device in found if isinstance(device, Device)}
        if OTHER not in devices and all(f"/{ODD}/" in piece.name for piece in pieces):
            raise Fault("a fault in one GPU affects another")
