"""The text of the hub's unit file."""

import re
from dataclasses import dataclass
from pathlib import Path

from hub._version import __version__
from hub.base.errors import ConfigError
from hub.base.featurefiles import FEATURES_DIR
from hub.base.paths import PLUGIN_DIR
from hub.cli.systemd.kubelets import Kubelet

UNIT = "dphub.service"

MARK = "# Written by dphub install-service,"
"""The prefix of a unit file that this command wrote, and may replace and remove."""

ENVIRONMENT = Path("/etc/dphub/environment")
"""Variables for the hub, which an administrator may write."""

HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - named, not used
"""Directories that are hidden from the service, or private to it."""

_RUN = Path("/run")

_PLAIN = re.compile(r"(?!\.\.?$)[A-Za-z0-9_+@.-]+")
"""A name that systemd neither splits nor expands."""

_BARE = re.compile(r"[A-Za-z0-9_/+@=:,.-]+")
"""A word of a command line that systemd uses unchanged."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_TEXT = """\
{mark} version {version}.
# Do not change it: the next version replaces it. `systemctl edit dphub` adds settings that stay.

[Unit]
Description=Device Plugin Hub
# The kubelet fails pods whose devices have no plugin when it starts.
Before={kubelet}
# Drivers first, if the node has them.
After=systemd-modules-load.service nvidia-persistenced.service openibd.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run --service --config {config} --plugin-dir {plugin_dir} --run-dir {run_dir}
ExecReload={program} reload --run-dir {run_dir}
EnvironmentFile=-{environment}
Restart=always
RestartSec=1
# The kubelet waits at most this long. The hub is ready after a minute even if a plugin is still scanning.
TimeoutStartSec=90
# A hub that stops while others run on the node first hands its devices over to one of them.
TimeoutStopSec=40
WatchdogSec=60
# The hub stops its plugins.
KillMode=mixed
OOMPolicy=continue
OOMScoreAdjust=-999
# It needs little CPU time, but during a boot it must get that at once.
CPUWeight=1000
{run_directory}# Plugins and resets need devices, /sys, /dev, the kubelet's directory and /run.
NoNewPrivileges=yes
LockPersonality=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectSystem=full
ReadWritePaths=-{features}
RestrictRealtime=yes
SystemCallArchitectures=native
{bind}
[Install]
WantedBy={kubelet}
"""


@dataclass(frozen=True)
class Unit:
    """The content of a unit file."""

    kubelet: Kubelet
    program: tuple[str, ...]
    """The command that runs `dphub`."""
    config: Path
    plugin_dir: Path
    run_dir: Path

    @property
    def text(self) -> str:
        """The whole file.

        Raises:
            ConfigError: a unit file cannot name the run directory.
        """
        return _TEXT.format(
            mark=MARK,
            version=__version__,
            kubelet=self.kubelet.unit,
            program=" ".join(map(_quoted, self.program)),
            config=_quoted(str(self.config)),
            plugin_dir=_quoted(str(self.plugin_dir)),
            run_dir=_quoted(str(self.run_dir)),
            environment=ENVIRONMENT,
            run_directory=self._run_directory(),
            features=FEATURES_DIR,
            bind=self._bind(),
        )

    def _bind(self) -> str:
        """Mount the directory of the pod resources API next to the plugin directory, where the hub looks for it."""
        place = self.plugin_dir.parent
        if self.plugin_dir != PLUGIN_DIR or self.kubelet.root == place:
            return ""
        return f"BindPaths=-{self.kubelet.root}/pod-resources:{place}/pod-resources\n"

    def _run_directory(self) -> str:
        """Have systemd create the run directory, and keep it for the hubs in pods, which have it mounted.

        Raises:
            ConfigError: systemd would read a different name.
        """
        if _RUN not in self.run_dir.parents:
            return ""
        name = self.run_dir.relative_to(_RUN)
        if not all(map(_PLAIN.fullmatch, name.parts)):
            problem = f"the name of a directory in {_RUN} may only contain letters, digits and any of _ - + @ ."
            raise ConfigError("--run-dir", f"{self.run_dir}: {problem}")
        return f"RuntimeDirectory={name}\nRuntimeDirectoryMode=0700\nRuntimeDirectoryPreserve=yes\n"


def _quoted(word: str) -> str:
    """Quote a word of a command line for systemd (man 5 systemd.service); a line break would end the command line."""
    if _BARE.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return '"' + _CONTROL.sub(lambda match: rf"\x{ord(match[0]):02x}", escaped) + '"'
