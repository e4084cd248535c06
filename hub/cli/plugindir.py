"""Checks of the plugin directory that a command gives to a fake kubelet, which deletes the sockets in it."""

from pathlib import Path

from hub.base.paths import PLUGIN_DIR
from hub.base.trust import check_trusted


def check_own_directory(plugin_dir: Path) -> None:
    """As root, check that no other user can lead the fake kubelet to a directory of their choice, now or later.

    Raises:
        ConfigError: another user could.
    """
    check_trusted(plugin_dir, "root would delete sockets where it leads", "choose another with --plugin-dir")


def is_of_node(directory: Path) -> bool:
    """Return whether a directory is that of the node's own device plugins, or another one of its kubelet."""
    kubelet = PLUGIN_DIR.parent.resolve()
    return kubelet in directory.resolve().parents or (PLUGIN_DIR.exists() and directory.samefile(PLUGIN_DIR))
