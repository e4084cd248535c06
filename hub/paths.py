"""Where things are: the kubelet's directories and the hub's own run directory.

What belongs to one running hub (lock, control sockets, plugin sockets, state of its processes) carries the instance's
name, so that during a rolling upgrade two hubs can share a node without sharing a file.
"""

import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from hub.errors import ConfigError

PLUGIN_DIR = Path("/var/lib/kubelet/device-plugins")
"""Where the kubelet listens and expects plugin sockets, whatever its root (kubelet, devicemanager/manager.go)."""

KUBELET_SOCKET = "kubelet.sock"
"""The kubelet's own socket inside the plugin directory."""

INSTANCE_NAME = re.compile("[a-z0-9]([a-z0-9-]*[a-z0-9])?")
"""What a hub may be called; an underscore would make the names of its plugins' sockets ambiguous."""

RUN_DIR = Path("/run/dphub")
"""Where the hub and its plugins meet."""

INSTANCE = "dphub"
"""The name of a hub that shares its run directory with no other."""

SOCKET_PATH_BYTES = 107
"""The longest path of a unix socket: `sun_path` holds 108 bytes, the last one zero (man 7 unix)."""


KubeletIdentity = tuple[int, int, int]
"""What tells one kubelet from the next: device, inode and change time (ns) of its socket. An inode number alone is used
again by the next file."""


def kubelet_identity(path: Path) -> KubeletIdentity | None:
    """The kubelet that made this socket; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_ctime_ns) if stat.S_ISSOCK(found.st_mode) else None


def is_served(path: Path) -> bool:
    """Whether somebody listens on a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0)
        try:
            client.connect(str(path))
        except BlockingIOError:
            # Its queue is full, so there is one.
            return True
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class RunDir:
    """The directory that a hub and its plugins share, and the names of the files in it."""

    path: Path
    instance: str = INSTANCE

    @property
    def lock(self) -> Path:
        """Held by the running hub; contains its process id."""
        return self.path / f"{self.instance}.lock"

    @property
    def control(self) -> Path:
        """The socket that circusctl talks to."""
        return self.path / f"{self.instance}.control"

    @property
    def events(self) -> Path:
        """The socket on which circus publishes what happens to processes."""
        return self.path / f"{self.instance}.events"

    @property
    def hub_state(self) -> Path:
        """The state file of the hub, replaced atomically at each change."""
        return self.path / f"{self.instance}.json"

    @property
    def hub_pulse(self) -> Path:
        """An empty file whose time shows that the hub's event loop turns, see `hub.state.pulse`."""
        return self.path / f"{self.instance}.pulse"

    @property
    def hub_log(self) -> Path:
        """The hub's latest log lines."""
        return self.path / f"{self.instance}.log"

    def state(self, plugin: str) -> Path:
        """The state file of one plugin, replaced atomically at each change."""
        return self.path / f"{self.instance}.{plugin}.json"

    def pulse(self, plugin: str) -> Path:
        """A small file that a plugin replaces all the time while its event loop turns."""
        return self.path / f"{self.instance}.{plugin}.pulse"

    def serving(self, plugin: str) -> Path:
        """Held by a plugin process that serves."""
        return self.path / f"{self.instance}.{plugin}.serving"

    def plugin_control(self, plugin: str) -> Path:
        """The socket on which a plugin does what an operator asks."""
        return self.path / f"{self.instance}.{plugin}.control"

    def log(self, plugin: str) -> Path:
        """A plugin's latest log lines."""
        return self.path / f"{self.instance}.{plugin}.log"

    def stack(self, plugin: str) -> Path:
        """Where the threads of a plugin are, written when the hub is about to kill it or when it crashes."""
        return self.path / f"{self.instance}.{plugin}.stack"

    def health(self, plugin: str) -> Path:
        """The health of a plugin's devices. It belongs to the node, whichever hub runs."""
        return self.path / f"{plugin}.health.json"

    def check(self) -> None:
        """See that nothing else is in its place; it may not be there yet.

        Raises:
            ConfigError: something is.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(self.path, "is no directory, expected the hub's run directory")

    def create(self) -> None:
        """Make the directory, for the owner alone.

        Raises:
            ConfigError: it cannot be made, belongs to somebody else, its sockets' paths would be too long, or the
                instance has no usable name.
        """
        if not INSTANCE_NAME.fullmatch(self.instance):
            raise ConfigError("--instance", f'is "{self.instance}", expected small letters, digits and "-"')
        try:
            self.check()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.path.stat().st_uid
        except OSError as error:
            raise ConfigError(self.path, f"cannot be the run directory: {error.strerror}") from None
        if owner != os.geteuid():
            raise ConfigError(self.path, f"belongs to user {owner}, expected {os.geteuid()}, who runs the hub")
        self.path.chmod(0o700)
        for path in (self.control, self.events):
            excess = len(os.fsencode(path)) - SOCKET_PATH_BYTES
            if excess > 0:
                raise ConfigError(self.path, f"the path of socket {path.name} would be {excess} bytes too long")
