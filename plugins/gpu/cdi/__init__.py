"""CDI specification files: what the names in an answer stand for, kept in step with the devices."""

import json
import os
from collections.abc import Sequence

import structlog

from plugins.gpu.cdi.spec import Spec, make_specs
from plugins.gpu.container import CDI_VENDOR
from plugins.gpu.container.nodes import DeviceFiles
from plugins.gpu.facts import Gpu
from plugins.gpu.places import Places
from plugins.gpu.settings import DeviceListStrategy, GPUSettings

DIRECTORY = "/var/run/cdi"
"""Where container runtimes look for specifications that are made while the node runs."""

CLASSES = ("gpu", "imex-channel", "gds", "mofed", "gdrcopy")


class CdiFiles:
    """Writes the specifications when the settings ask for CDI, and removes those of a time when they did.

    Attributes:
        problem: Why containers cannot use the names, if they cannot.
    """

    def __init__(self, settings: GPUSettings, places: Places, files: DeviceFiles) -> None:
        self._settings = settings
        self._places = places
        self._files = files
        strategies = set(settings.flags.plugin.device_lists)
        self._wanted = bool(strategies & {DeviceListStrategy.CDI_ANNOTATIONS, DeviceListStrategy.CDI_CRI})
        self._directory = places.host.path(DIRECTORY)
        self._log = structlog.get_logger()
        self.problem = ""

    def update(self, gpus: Sequence[Gpu], driver: str) -> None:
        """Bring the files in step with these GPUs and this driver."""
        specs = make_specs(self._settings, self._places, self._files, gpus, driver) if self._wanted else {}
        try:
            for name in CLASSES:
                self._keep(name, specs.get(name))
        except OSError as error:
            self.problem = f"the CDI file cannot be written: {error}"
        else:
            self.problem = ""

    def _keep(self, name: str, spec: Spec | None) -> None:
        path = self._directory / f"{CDI_VENDOR}-{name}.json"
        if spec is None:
            # Only where there is one: the directory may not even be there.
            if path.exists():
                path.unlink()
                self._log.info("cdi file removed", file=str(path))
            return
        text = json.dumps(spec, indent=1)
        if path.exists() and path.read_text() == text:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        # Runtimes read whatever ends in .json or .yaml; a part of a file is not to.
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(text)
        scratch.chmod(0o644)
        scratch.replace(path)
        self._log.info("cdi file written", file=str(path), devices=len(spec["devices"]))
