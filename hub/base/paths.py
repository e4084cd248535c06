"""Where things are: the kubelet's directories and the hub's own run directory.

What belongs to one running hub (lock, control sockets, plugin sockets, state of its processes) carries the instance's
name, so that during a rolling upgrade two hubs can share a node without sharing a file.
"""

import os
import pwd
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.nodedir import node_path
from hub.base.sockets import SOCKET_PATH_BYTES
from hub.base.wording import counted

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
    def circus_socket(self) -> Path:
        """The socket that circusctl talks to."""
        return self.path / f"{self.instance}.control"

    @property
    def events(self) -> Path:
        """The socket on which circus publishes what happens to processes."""
        return self.path / f"{self.instance}.events"

    @property
    def hub_report(self) -> Path:
        """The state file of the hub, replaced atomically at each change."""
        return self.path / f"{self.instance}.json"

    @property
    def hub_heartbeat(self) -> Path:
        """An empty file whose time shows that the hub's event loop turns, see `hub.model.heartbeat`."""
        return self.path / f"{self.instance}.heartbeat"

    @property
    def hub_log(self) -> Path:
        """The hub's latest log lines."""
        return self.path / f"{self.instance}.log"

    def report(self, plugin: str) -> Path:
        """The state file of one plugin, replaced atomically at each change."""
        return self.path / f"{self.instance}.{plugin}.json"

    def heartbeat(self, plugin: str) -> Path:
        """A small file that a plugin replaces all the time while its event loop turns."""
        return self.path / f"{self.instance}.{plugin}.heartbeat"

    def serving(self, plugin: str) -> Path:
        """Held by a plugin process that serves."""
        return self.path / f"{self.instance}.{plugin}.serving"

    def admin_socket(self, plugin: str) -> Path:
        """The socket on which a plugin does what an operator asks."""
        return self.path / f"{self.instance}.{plugin}.admin"

    def log(self, plugin: str) -> Path:
        """A plugin's latest log lines."""
        return self.path / f"{self.instance}.{plugin}.log"

    def stack(self, plugin: str) -> Path:
        """Where the threads of a plugin are, written when the hub is about to kill it or when it crashes."""
        return self.path / f"{self.instance}.{plugin}.stack"

    def health(self, plugin: str) -> Path:
        """The health of a plugin's devices. It belongs to the node, whichever hub runs."""
        return node_path(self.path, plugin, "health.json")

    def check_readable(self) -> None:
        """See that this user can read it; it may not be there yet.

        Raises:
            ConfigError: something else is in its place, or it is closed to this user.
        """
        owner = self._owner()
        if owner is not None and not os.access(self.path, os.R_OK | os.X_OK):
            user = user_name(owner)
            raise ConfigError(self.path, f"permission denied: it belongs to {user}; run dphub as {user}, {_ELSEWHERE}")

    def create(self) -> None:
        """Make the directory, for the owner alone.

        Raises:
            ConfigError: it cannot be made, belongs to somebody else, its sockets' paths would be too long, or the
                instance has no usable name.
        """
        if not INSTANCE_NAME.fullmatch(self.instance):
            raise ConfigError("--instance", f'is "{self.instance}", expected small letters, digits and "-"')
        for path in (self.circus_socket, self.events):
            excess = len(os.fsencode(path)) - SOCKET_PATH_BYTES
            if excess > 0:
                problem = f"the path of socket {path.name} would be {counted(excess, 'byte')} too long"
                raise ConfigError(self.path, f"{problem}; {_ANOTHER}")
        owner = self._owner()
        if owner not in (None, os.geteuid()):
            problem = f"belongs to {user_name(owner)}, expected {user_name(os.geteuid())}, who runs the hub"
            raise ConfigError(self.path, f"{problem}; {_ANOTHER}")
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise ConfigError(self.path, f"{_UNUSABLE}: {error.strerror}; {_ANOTHER}") from None

    def _owner(self) -> int | None:
        """The user id of its owner; None where it is not there.

        Raises:
            ConfigError: something else is in its place, or that cannot be seen.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(self.path, f"{_UNUSABLE}: {error.strerror}; {_ANOTHER}") from None
        if not stat.S_ISDIR(found.st_mode):
            raise ConfigError(self.path, "not a directory, expected the hub's run directory")
        return found.st_uid


_ANOTHER = "choose another with --run-dir or DPHUB_RUN_DIR"
_ELSEWHERE = "or name another directory with --run-dir or DPHUB_RUN_DIR"
_UNUSABLE = "cannot be used as the run directory"


def user_name(uid: int) -> str:
    """A user as messages name them: the name and the number."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
