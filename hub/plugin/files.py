"""The files of a plugin process."""

from collections.abc import Sequence
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.paths import RunDir
from hub.model.plugin import DRIVER_SUFFIX, DRIVER_VARIABLE


class PluginFiles:
    """The files of a plugin process. Those in the run directory are None if the process was started by hand.

    Args:
        name: The plugin's name.
        run_dir: The run directory, and the hub to which the process belongs.
        exists: Whether there is a run directory.
        features_dir: Where it writes node labels; None for no labels.
        driver: The name of its DRA driver; empty if it serves the device plugin API.
        evict: Whether the driver evicts pods from devices that fail.
    """

    def __init__(
        self,
        name: str,
        run_dir: RunDir,
        *,
        exists: bool,
        features_dir: Path | None = None,
        driver: str = "",
        evict: bool = False,
    ) -> None:
        self.name = name
        self.driver = driver
        self.evict = evict
        self.instance = run_dir.instance
        self.run_dir = run_dir if exists else None
        self.report = run_dir.report(name) if exists else None
        self.health = run_dir.health(name) if exists else None
        self.history = run_dir.history(name) if exists else None
        self.external_faults = run_dir.external_faults if exists else None
        self.heartbeat = run_dir.heartbeat(name) if exists else None
        self.admin_socket = run_dir.admin_socket(name) if exists else None
        self.features_dir = features_dir

    @property
    def required_run_dir(self) -> RunDir:
        """The run directory, for features that need one.

        Raises:
            ConfigError: there is none.
        """
        if self.run_dir is None:
            raise ConfigError(DRIVER_VARIABLE, "set without a run directory, which dynamic resource allocation needs")
        return self.run_dir

    @property
    def retired_drivers(self) -> Sequence[str]:
        """The DRA drivers that earlier processes used, and this one does not; they may still have claims."""
        found = self.run_dir.claims(self.name).glob(f"*{DRIVER_SUFFIX}") if self.run_dir else ()
        return sorted(name for path in found if (name := path.name.removesuffix(DRIVER_SUFFIX)) != self.driver)
