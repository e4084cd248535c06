"""The settings of a hub, from its command line."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hub.base.featurefiles import FEATURES_VARIABLE
from hub.base.interpreter import inherited_environment
from hub.base.log import FORMAT_VARIABLE, LEVEL_VARIABLE, LogFormat, LogLevel
from hub.base.paths import RunDir


@dataclass(frozen=True)
class HubSettings:
    """The settings of one hub: configuration file, directories, logs, HTTP."""

    config: Path
    plugin_dir: Path
    run_dir: RunDir
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.AUTO
    http: str = ""
    """Where to listen for HTTP, as "HOST:PORT"; empty for no HTTP."""
    http_hosts: tuple[str, ...] = ()
    """Names, in addition to localhost and the host's own, by which clients may address the hub."""
    is_service: bool = False
    """Whether this hub is the node's service, to which hubs in pods leave the devices."""
    features_dir: Path | None = None
    """Where plugins write node labels; None for no labels."""

    def environment(self, plugin: str, configured: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a plugin process: the hub's own, the variables in circus.ini, and the hub's paths.

        Args:
            plugin: The plugin's name.
            configured: Variables from circus.ini.
        """
        # A plugin for which circus.ini sets the variable has its own directory, or none.
        features = {FEATURES_VARIABLE: str(self.features_dir or "")}
        inherited = {**inherited_environment(), **features, **configured}
        return {
            # Plugins are small; glibc's arena per thread costs each of them 3 MB.
            "MALLOC_ARENA_MAX": "1",
            **inherited,
            # `python` is the hub's own interpreter, however the hub was started.
            "PATH": os.pathsep.join(
                filter(None, (str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)))
            ),
            "DPHUB_PLUGIN": plugin,
            "DPHUB_PLUGIN_DIR": str(self.plugin_dir),
            "DPHUB_RUN_DIR": str(self.run_dir.path),
            "DPHUB_INSTANCE": self.run_dir.instance,
            LEVEL_VARIABLE: self.log_level,
            FORMAT_VARIABLE: self.log_format,
        }
