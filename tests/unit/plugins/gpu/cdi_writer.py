"""CDI files of a simulated node."""

import json
from pathlib import Path
from typing import Any

import msgspec

from hub import Host
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi import CdiFiles
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.settings.file import GPUSettings
from tests.harness.gpu_support import facts
from tests.simulators.nvml import SimulatedNode

VENDOR = "k8s.device-plugin.nvidia.com"


SCHEMA = json.loads((Path(__file__).parent / "cdi_schema.json").read_text())


class CdiWriter:
    """A writer of CDI files for a simulated node.

    Args:
        root: The node's directory.
        profile: Its GPUs.
        mig: Their MIG layouts.
        sections: The configuration.
    """

    def __init__(self, root: Path, profile: str = "pair", mig: Any = None, **sections: object) -> None:  # noqa: ANN401 - the node's
        self.driver = SimulatedNode(root, profile, mig)
        sections.setdefault("flags", {"plugin": {"deviceListStrategy": "cdi-cri"}})
        self._sections = sections
        settings = self.settings()
        driver_root = settings.flags.nvidia_driver_root
        self.paths = DriverPaths(Host(root), driver_root, settings.flags.nvidia_dev_root or driver_root)
        self._node_files = DeviceFiles(self.paths, settings.imex)
        self.files = CdiFiles(settings, self.paths, self._node_files)
        self.directory = root / "var/run/cdi"
        self.problem = ""

    def settings(self, **dphub: object) -> GPUSettings:
        """Return the configuration."""
        return msgspec.convert(self._sections | ({"dphub": dphub} if dphub else {}), GPUSettings)

    def gpus(self) -> list[Gpu]:
        """Return the GPUs that discovery finds."""
        return facts(self.driver)

    def update(self, gpus: list[Gpu]) -> None:
        """Make the files match these GPUs."""
        self.files.build(gpus, self.driver.driver)
        self.problem = self.files.write() or self.files.problem

    def specs(self, gpus: list[Gpu] | None = None) -> dict[str, Any]:
        """Make the files match the driver; return the valid specifications by class."""
        import jsonschema  # noqa: PLC0415 - takes more than a second, which each process of the tests would need

        gpus = self.gpus() if gpus is None else gpus
        self._node_files.refresh(gpus)
        self.update(gpus)
        found = {}
        for path in sorted(self.directory.glob("*")) if self.directory.exists() else ():
            spec = json.loads(path.read_text())
            jsonschema.validate(spec, SCHEMA)
            assert path.name == f"{spec['kind'].replace('/', '-')}.json"
            found[spec["kind"].partition("/")[2]] = spec
        return found
