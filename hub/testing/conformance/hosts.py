"""The ways to reach a plugin: start it, wait for it in a directory, or connect to its socket."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import SOCKET_PATH_BYTES
from hub.testing.conformance.command import PluginCommand
from hub.testing.conformance.limits import Limits
from hub.testing.conformance.subject import Subject
from hub.testing.held import open_without_links
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import environment_without_hub

PLUGIN_DIR_VARIABLE = "DPHUB_PLUGIN_DIR"
"""The variable in which a command finds the plugin directory."""

_SOCKET_NAME_BYTES = 40
"""Room for the names of a plugin's sockets."""

_PLUGIN_DIR = "device-plugins"
"""The name in /var/lib/kubelet, so that a command can mount the directory above it there."""


@contextmanager
def started_by(
    words: Sequence[str],
    resource: str = "",
    *,
    limits: Limits | None = None,
    change: Sequence[str] = (),
    output: Path | None = None,
) -> Iterator[Subject]:
    """Yield a plugin that a command starts, in a new directory.

    In both commands, {plugin_dir} and {kubelet_dir} are replaced by the kubelet's plugin directory and its parent
    directory.

    Args:
        words: The command and its arguments.
        resource: The resource to check; by default the first one that is registered.
        limits: How long checks wait.
        change: A command that changes the plugin's list.
        output: The file for the output of the plugin; by default a temporary one.
    """
    # The output is in a directory of its own: this process opens the file again, and a plugin, in a container for
    # example, must not be able to put a link in its place.
    with _directory() as root, _temporary() as own:
        plugin_dir = root / _PLUGIN_DIR
        environment = environment_without_hub() | {PLUGIN_DIR_VARIABLE: str(plugin_dir)}
        limits = limits or Limits()
        yield Subject(
            kubelet=FakeKubelet(plugin_dir, dial_back_timeout=limits.dial),
            command=PluginCommand(_filled(words, plugin_dir), environment, output or Path(own, "output")),
            resource=resource,
            limits=limits,
            change=_filled(change, plugin_dir),
        )


@contextmanager
def found_in(
    plugin_dir: Path, resource: str, *, limits: Limits | None = None, change: Sequence[str] = ()
) -> Iterator[Subject]:
    """Yield a plugin that another program starts with this plugin directory."""
    with _directory() as root:
        # The usual location of this socket is not used: the directory above belongs to another program.
        limits = limits or Limits()
        pod_resources = root / KUBELET_SOCKET
        kubelet = FakeKubelet(plugin_dir, pod_resources_socket=pod_resources, dial_back_timeout=limits.dial)
        yield Subject(kubelet=kubelet, resource=resource, limits=limits, change=_filled(change, plugin_dir))


@contextmanager
def behind(socket: Path, *, limits: Limits | None = None, change: Sequence[str] = ()) -> Iterator[Subject]:
    """Yield a plugin that serves on a socket; its life cycle is not checked.

    Raises:
        ConfigError: the path contains a link, or is one; another user may have put it there.
    """
    path = Path(os.path.abspath(socket))  # noqa: PTH100 - resolve() follows links
    descriptor = open_without_links(path.parent)
    try:
        descriptor_path = Path(f"/proc/self/fd/{descriptor}", path.name)
        if descriptor_path.is_symlink():
            raise ConfigError(socket, "is a link, expected the socket itself")
        yield Subject(socket=descriptor_path, limits=limits, change=change)
    finally:
        os.close(descriptor)


def _filled(words: Sequence[str], plugin_dir: Path) -> Sequence[str]:
    """Replace {plugin_dir} and {kubelet_dir} in a command with the directories."""
    kubelet_dir = str(plugin_dir.parent)
    return [word.replace("{plugin_dir}", str(plugin_dir)).replace("{kubelet_dir}", kubelet_dir) for word in words]


@contextmanager
def _directory() -> Iterator[Path]:
    with _temporary() as root:
        longest = Path(root, _PLUGIN_DIR, "x" * _SOCKET_NAME_BYTES)
        if len(os.fsencode(longest)) > SOCKET_PATH_BYTES:
            raise ConfigError("TMPDIR", f"the path {root} is too long for sockets; choose a shorter one, such as /tmp")
        yield root


@contextmanager
def _temporary() -> Iterator[Path]:
    """Create a directory, and delete it; a plugin in a container may leave files in it that only root can delete.

    `tempfile.TemporaryDirectory` would change the permissions of what it cannot delete: in older versions of Python,
    those of the file to which a link leads.
    """
    root = tempfile.mkdtemp(prefix="dpv-")
    try:
        yield Path(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
