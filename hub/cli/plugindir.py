"""Checks of the directories that a command gives to a fake kubelet, which deletes sockets in them."""

from pathlib import Path

from hub.base.errors import ConfigError
from hub.base.paths import PLUGIN_DIR
from hub.base.sockets import is_served
from hub.base.trust import check_trusted
from hub.base.untrusted import UnreadableError, read_bytes
from hub.kubelet.checkpoint import CHECKPOINT

ANOTHER = "choose another with --plugin-dir"

_IN_KUBELET_ROOT = ("plugins_registry", "pods")
"""The directories that a kubelet creates in its root directory, wherever that is; a fake kubelet does not."""


def check_own_directory(directory: Path, todo: str = ANOTHER, *, may_be_missing: bool = False) -> None:
    """Check that no other user can redirect the fake kubelet to another directory, now or later, if it runs as root.

    Args:
        directory: The directory.
        todo: What the user can do.
        may_be_missing: Whether it need not exist yet; if so, check again once it does.

    Raises:
        ConfigError: another user could, or it does not exist.
    """
    check_trusted(directory, "root could be made to delete sockets elsewhere", todo, may_be_missing=may_be_missing)


def make_own_directory(directory: Path, todo: str = ANOTHER) -> None:
    """Create a directory if it is missing, and check it as above.

    Raises:
        ConfigError: it cannot be created, or another user can replace it.
    """
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(directory, f"cannot be created: {error.strerror}; {todo}") from None
    check_own_directory(directory, todo)


def check_not_kubelet_dir(socket: Path, todo: str = ANOTHER) -> None:
    """Check that a fake kubelet may create its socket here and delete all others: no real kubelet uses the directory.

    This includes a kubelet that is not running: it may start at any moment, and create its sockets again.

    Args:
        socket: The socket, in a directory that need not exist yet.
        todo: What the user can do.

    Raises:
        ConfigError: the directory is a kubelet's, or the socket is served.
    """
    if _belongs_to_node(socket.parent) or _has_checkpoint(socket.parent):
        raise ConfigError(socket.parent, f"in the directory of a kubelet, which would lose its sockets; {todo}")
    if is_served(socket):
        raise ConfigError(socket, f"a kubelet is running there, and would lose its plugins; {todo}")


def _belongs_to_node(directory: Path) -> bool:
    """Return whether a directory is in the root directory of a kubelet, such as that of the node's device plugins."""
    kubelet = PLUGIN_DIR.parent.resolve()
    actual = directory.resolve()
    if _is_same(directory, PLUGIN_DIR):
        return True
    return any(
        path == kubelet or all(_is_directory(path / name) for name in _IN_KUBELET_ROOT)
        for path in (actual, *actual.parents)
    )


def _has_checkpoint(directory: Path) -> bool:
    """Return whether a kubelet has kept its state in a directory, which may be mounted in several places.

    The state of a fake kubelet has no checksum.
    """
    try:
        return b'"Checksum"' in read_bytes(directory / CHECKPOINT)
    except UnreadableError:
        return False


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two paths are the same directory; False if this user is not permitted to find out."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
