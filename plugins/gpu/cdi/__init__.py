"""CDI specification files, which define the names in Allocate responses, kept up to date with the devices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from hub import CDI_DIRECTORY, CdiSpecFiles, ProgramFailed
from plugins.gpu.allocation import CDI_VENDOR
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi.driverfiles import libraries
from plugins.gpu.cdi.spec import gpu_names, make_specs
from plugins.gpu.cdi.toolkit import find_toolkit, generate
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.settings.file import DeviceListStrategy, GPUSettings


class CdiFiles:
    """The specifications, built if the settings use CDI, and the files with them.

    Attributes:
        problem: Why containers cannot use the specifications; empty if they can.
        note: Why NVIDIA's container toolkit did not write the GPUs' specification although it is on the node.
    """

    def __init__(self, settings: GPUSettings, paths: DriverPaths, files: DeviceFiles) -> None:
        self._settings = settings
        self._paths = paths
        self._files = files
        strategies = set(settings.flags.plugin.device_lists)
        self._wanted = bool(strategies & {DeviceListStrategy.CDI_ANNOTATIONS, DeviceListStrategy.CDI_CRI})
        self._cdi_files = CdiSpecFiles(paths.host.path(CDI_DIRECTORY), CDI_VENDOR)
        self._specs: dict[str, dict[str, Any]] = {}
        self._inputs: object = None
        self._generated: dict[str, Any] | None = None
        self._log = structlog.get_logger()
        self.problem = ""
        self.note = ""

    def build(self, gpus: Sequence[Gpu], driver: str) -> None:
        """Build the specifications for these GPUs and this driver version, without changing any file."""
        self._specs, self.problem = {}, ""
        if not self._wanted or not gpus:
            return
        found = libraries(self._paths, driver)
        specs = make_specs(self._settings, self._paths, self._files, gpus, found)
        generated = self._of_toolkit(specs["gpu"], gpus, driver)
        self._specs = specs | ({"gpu": generated} if generated else {})
        missing = "" if generated else found.problem(self._paths)
        self.problem = f"the CDI file contains no driver: {missing}" if missing else ""

    def write(self) -> str:
        """Write the specifications, and remove earlier ones; return why that failed, or an empty string."""
        try:
            self._cdi_files.keep(self._specs)
        except OSError as error:
            return f"the CDI file cannot be written: {error}"
        return ""

    def _of_toolkit(self, own: dict[str, Any], gpus: Sequence[Gpu], driver: str) -> dict[str, Any] | None:
        """Return the toolkit's specification, plus the GPUs that it does not define; None if it wrote none."""
        program = find_toolkit(self._settings, self._paths)
        # Everything that the toolkit's result depends on: a run takes a second, so not every scan runs it.
        inputs = (program, Path(program).stat().st_mtime_ns if program else 0, driver, own)
        if inputs != self._inputs:
            self._inputs = inputs
            self._generated = self._generate(program, gpus) if program else None
            writer = "nvidia-ctk" if self._generated else "dphub"
            self._log.info("cdi writer chosen", writer=writer, reason=self.note or ("" if program else "no nvidia-ctk"))
        if self._generated is None:
            return None
        defined = {device["name"] for device in self._generated["devices"]}
        names = gpu_names(self._settings, gpus).keys() - defined
        more = [device for device in own["devices"] if device["name"] in names]
        return {**self._generated, "devices": [*self._generated["devices"], *more]}

    def _generate(self, program: str, gpus: Sequence[Gpu]) -> dict[str, Any] | None:
        self.note = ""
        try:
            return generate(program, self._settings, self._paths, gpus)
        except ProgramFailed as failed:
            self.note = f"the CDI file is written without NVIDIA's container toolkit: {failed}"
            return None
