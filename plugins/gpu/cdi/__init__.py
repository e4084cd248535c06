"""CDI specification files: what the names in an answer stand for, kept in step with the devices."""

from collections.abc import Sequence

from hub import CDI_DIRECTORY, CdiSpecFiles
from plugins.gpu.allocation import CDI_VENDOR
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi.spec import make_specs
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.settings.file import DeviceListStrategy, GPUSettings


class CdiFiles:
    """Writes the specifications when the settings ask for CDI, and removes those of a time when they did.

    Attributes:
        problem: Why containers cannot use the names, if they cannot.
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
        """Bring the files in step with these GPUs and this driver."""
        specs = make_specs(self._settings, self._paths, self._files, gpus, driver) if self._wanted else {}
        try:
            self._specifications.keep(specs)
        except OSError as error:
            self.problem = f"the CDI file cannot be written: {error}"
        else:
            self.problem = ""
