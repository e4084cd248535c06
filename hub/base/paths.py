"""Paths: the kubelet's directories and the hub's run directory.

Files that belong to one running hub (locks, sockets, reports of its processes) are named after the instance, so that
two hubs can share a node during a rolling upgrade without sharing a file.
"""

import os
import pwd
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.nodedir import node_path
from hub.base.removal import clear_path
from hub.base.sockets import SOCKET_PATH_BYTES, resource_file_stem
from hub.base.wording import counted

PLUGIN_DIR = Path("/var/lib/kubelet/device-plugins")
"""Where the kubelet listens and expects plugin sockets, whatever its root directory (devicemanager/manager.go). The
manifests mount the same path: container/base/daemonset.yaml and the chart's templates/daemonset.yaml."""

KUBELET_SOCKET = "kubelet.sock"
"""The kubelet's own socket in the plugin directory."""

INSTANCE_NAME = re.compile("[a-z0-9]([a-z0-9-]*[a-z0-9])?")
"""The allowed names of hubs; an underscore would make the names of its plugins' sockets ambiguous."""

RUN_DIR = Path("/run/dphub")
"""The default run directory."""

INSTANCE = "dphub"
"""The default name of a hub."""

SERVING_DIR = "serving"
"""The directory, inside the run directory, in which the plugins of all hubs show which of them serve. Each of them
watches it, so it contains nothing that changes while no hub comes or goes."""

EXTERNAL_DIR = "external"
"""The directory, inside the run directory, in which other programs on the node put files about devices."""

EXTERNAL_SOCKET = "external.sock"
"""The socket, inside the run directory, on which a hub accepts reports about devices; one for all hubs on the node."""

SUMMARY_DIR = "summary"
"""The directory, inside the run directory, with a summary of the status by each hub. A pod of another program may mount
it, because it contains nothing with which the program could control a hub."""


@dataclass(frozen=True)
class RunDir:
    """The directory that hubs and their plugins share, and the names of the files in it."""

    path: Path
    instance: str = INSTANCE

    @property
    def lock(self) -> Path:
        """The file that the running hub locks; it contains the hub's process id."""
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
    def http_socket(self) -> Path:
        """The socket on which the hub serves HTTP on its own node, whatever happens on the network."""
        return self.path / f"{self.instance}.http"

    @property
    def hub_report(self) -> Path:
        """The report of the hub, replaced atomically on every change."""
        return self.path / f"{self.instance}.json"

    @property
    def summary(self) -> Path:
        """What `hub.status.summary` says, for scripts; its mtime shows that the hub keeps it up to date."""
        return self.path / SUMMARY_DIR / self.instance

    @property
    def hub_heartbeat(self) -> Path:
        """An empty file; its mtime shows that the hub's event loop is running, see `hub.model.heartbeat`."""
        return self.path / f"{self.instance}.heartbeat"

    @property
    def hub_log(self) -> Path:
        """The hub's latest log lines."""
        return self.path / f"{self.instance}.log"

    def report(self, plugin: str) -> Path:
        """The report of one plugin, replaced atomically on every change."""
        return self.path / f"{self.instance}.{plugin}.json"

    def heartbeat(self, plugin: str) -> Path:
        """A small file that a plugin replaces at short intervals while its event loop is running."""
        return self.path / f"{self.instance}.{plugin}.heartbeat"

    def serving(self, plugin: str) -> Path:
        """The file that a plugin process locks while it serves."""
        return self.path / SERVING_DIR / f"{self.instance}.{plugin}.lock"

    def owner(self, resource: str) -> Path:
        """The file with the name of the hub that the kubelet calls for a resource; locked while that is changed."""
        return self.path / SERVING_DIR / f"{resource_file_stem(resource)}.owner"

    def admin_socket(self, plugin: str) -> Path:
        """The socket on which a plugin takes an administrator's commands."""
        return self.path / f"{self.instance}.{plugin}.admin"

    @property
    def dra_socket(self) -> Path:
        """The socket on which the DRA process answers plugins."""
        return self.path / f"{self.instance}.dra"

    def claims(self, plugin: str) -> Path:
        """The directory with what was prepared for claims. It belongs to the node, not to one hub."""
        return node_path(self.path, plugin, "claims")

    def log(self, plugin: str) -> Path:
        """A plugin's latest log lines."""
        return self.path / f"{self.instance}.{plugin}.log"

    def stack(self, plugin: str) -> Path:
        """The stacks of a plugin's threads, written before the hub kills it and when it crashes."""
        return self.path / f"{self.instance}.{plugin}.stack"

    def health(self, plugin: str) -> Path:
        """The health of a plugin's devices. It belongs to the node, not to one hub."""
        return node_path(self.path, plugin, "health.json")

    def history(self, plugin: str) -> Path:
        """Which containers used a plugin's devices. It belongs to the node, not to one hub."""
        return node_path(self.path, plugin, "history.json")

    @property
    def external_faults(self) -> Path:
        """The directory in which other programs on the node report devices that cannot be used."""
        return self.path / EXTERNAL_DIR

    @property
    def external_socket(self) -> Path:
        """The socket on which other programs can do so, too. It belongs to the node: the newest hub listens there."""
        return self.path / EXTERNAL_SOCKET

    def check_readable(self) -> None:
        """Check that this user can read the directory; it need not exist yet.

        Raises:
            ConfigError: it is a link, or not a directory, or this user may not read it.
        """
        found = self._status()
        if found and not os.access(self.path, os.R_OK | os.X_OK):
            user = user_name(found.st_uid)
            raise ConfigError(self.path, f"permission denied: it belongs to {user}; run dphub as {user}, {_ELSEWHERE}")

    def create(self) -> None:
        """Create the directory, accessible to its owner only.

        Raises:
            ConfigError: it cannot be created or secured, or the paths of sockets in it would be too long; or the name
                of the instance is invalid.
        """
        if not INSTANCE_NAME.fullmatch(self.instance):
            raise ConfigError("--instance", f'is "{self.instance}", expected lower-case letters, digits and "-"')
        for path in (self.circus_socket, self.events):
            excess = len(os.fsencode(path)) - SOCKET_PATH_BYTES
            if excess > 0:
                problem = f"the path of socket {path.name} would be {counted(excess, 'byte')} too long"
                raise ConfigError(self.path, f"{problem}; {_ANOTHER}")
        self._check_path(create=True)
        if not self._status():
            self._create_step(self.path, 0o700)
        self.secure()

    def secure(self) -> None:
        """Make the directory accessible to this user only, and replace what another user has left in it.

        Raises:
            ConfigError: it is a link, is not a directory, or belongs to another user; or another user can write to it,
                or replace it, or a link or directory on the path to it.
        """
        self._check_path()
        # A missing directory is an error below, when it is opened.
        if found := self._status():
            self._check_owner(found)
        try:
            directory = os.open(self.path, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # Again: in a sticky directory, another user could have put theirs there since.
                self._check_owner(os.fstat(directory))
                os.fchmod(directory, 0o700)
            finally:
                os.close(directory)
            self._replace_foreign()
        except OSError as error:
            raise self._unusable(error) from None

    def _check_owner(self, found: os.stat_result) -> None:
        if found.st_uid != os.geteuid():
            problem = f"belongs to {user_name(found.st_uid)}, expected {user_name(os.geteuid())}, the user of the hub"
            raise ConfigError(self.path, f"{problem}; {_ANOTHER}")
        # Even if it is sticky, other users can add files. Some may be links to files of ours.
        if writers := other_writers(found.st_mode):
            problem = f"is {writers}, so other users may have put files into it"
            raise ConfigError(self.path, f"{problem}; remove it, or {_ANOTHER}")

    def _replace_foreign(self) -> None:
        """Remove or rename what belongs to another user, who may have it open, or have a process in a directory.

        Raises:
            OSError: it can be neither removed nor renamed.
        """
        for path in self.path.iterdir():
            # A name that begins with a dot is never read, and a new file replaces it.
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):
                    if path.lstat().st_uid not in (0, os.geteuid()):
                        clear_path(path)

    def _check_path(self, *, create: bool = False) -> None:
        """Check that no other user can lead the hub to a directory of their choice, now or later."""
        for step in path_steps(self.path.absolute().parent):
            # Each step is created only after those above it were checked, so that it is created where the path leads.
            if create and not os.path.lexists(step):
                self._create_step(step, 0o755)
            try:
                found = step.lstat()
            except OSError as error:
                raise self._unusable(error) from None
            if found.st_uid not in (0, os.geteuid()):
                what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a directory"
                raise ConfigError(self.path, f"{step} is {what} owned by {user_name(found.st_uid)}; {_ANOTHER}")
            # In a sticky directory such as /tmp, no other user can replace what is ours.
            can_replace = stat.S_ISDIR(found.st_mode) and not found.st_mode & stat.S_ISVTX
            if can_replace and (writers := other_writers(found.st_mode)):
                raise ConfigError(self.path, f"{step} is {writers}; {_ANOTHER}")

    def _create_step(self, step: Path, mode: int) -> None:
        try:
            # Another hub may create it at the same moment; its owner is checked next.
            with suppress(FileExistsError):
                step.mkdir(mode)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> ConfigError:
        return ConfigError(self.path, f"cannot be used as the run directory: {error.strerror}; {_ANOTHER}")

    def _status(self) -> os.stat_result | None:
        """Return the owner and permissions; None if the directory does not exist.

        Raises:
            ConfigError: it is a link, or not a directory, or its owner cannot be read.
        """
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        if stat.S_ISLNK(found.st_mode):
            raise ConfigError(self.path, f"is a link, expected the hub's run directory itself; {_ANOTHER}")
        if not stat.S_ISDIR(found.st_mode):
            raise ConfigError(self.path, "not a directory, expected the hub's run directory")
        return found


def other_writers(mode: int) -> str:
    """Return which other users can write to a file or directory of these permissions; empty if none can."""
    if mode & stat.S_IWOTH:
        return "world-writable"
    # The group includes the users in an access control list. A plain user's group may be that user's own.
    return "group-writable" if mode & stat.S_IWGRP and os.geteuid() == 0 else ""


_ANOTHER = "choose another with --run-dir or DPHUB_RUN_DIR"
_ELSEWHERE = "or choose another directory with --run-dir or DPHUB_RUN_DIR"

_MAX_LINKS = 40
"""Maximum number of links in one path, as in the kernel."""


def path_steps(path: Path, links: int = _MAX_LINKS) -> Iterator[Path]:
    """Yield each directory and link that leads to an absolute path, and the path itself."""
    for step in (*reversed(path.parents), path):
        yield step
        if links and step.is_symlink():
            yield from path_steps(step.parent / step.readlink(), links - 1)


def user_name(uid: int) -> str:
    """Return a user as messages name them, by name and number."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
