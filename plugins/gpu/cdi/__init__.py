"""CDI specification files: the definitions of the names in answers, kept up to date with the devices."""

from collections.abc import Sequence

from hub import CDI_DIRECTORY, CdiSpecFiles
from plugins.gpu.allocation import CDI_VENDOR
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi.driverfiles import missing_libraries
from plugins.gpu.cdi.spec import make_specs
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.settings.file import DeviceListStrategy, GPUSettings


class CdiFiles:
    """Writes the specifications if the settings use CDI, else removes earlier ones.

    Attributes:
        problem: Why containers cannot use the names; empty if they can.
    """

    def __init__(self, settings: GPUSettings, paths: DriverPaths, files: DeviceFiles) -> None:
        self._settings = settings
        self._paths = paths
        self._files = files
        strategies = set(settings.flags.plugin.device_lists)
        self._wanted = bool(strategies & {DeviceListStrategy.CDI_ANNOTATIONS, DeviceListStrategy.CDI_CRI})
        self._specifications = CdiSpecFiles(paths.host.path(CDI_DIRECTORY), CDI_VENDOR)
        self.problem = ""

    def update(self, gpus: Sequence[Gpu], driver: str) -> None:
        """Update the files for these GPUs and this driver version."""
        specs = make_specs(self._settings, self._paths, self._files, gpus, driver) if self._wanted else {}
        try:
            self._specifications.keep(specs)
        except OSError as error:
            self.problem = f"the CDI file cannot be written: {error}"
        else:
            missing = missing_libraries(self._paths, driver) if specs else ""
            self.problem = f"the CDI file contains no driver: {missing}" if missing else ""
