"""SELinux labels: a container may use the directories of a daemon only if they have the label of container files."""

import os
from contextlib import suppress
from pathlib import Path

from hub import Host

LABEL = "system_u:object_r:container_file_t:s0"
"""The label of files that all containers may use, as NVIDIA's control daemon sets it."""

_ATTRIBUTE = "security.selinux"
_VALUE = f"{LABEL}\0".encode()
_ENABLED = "/sys/fs/selinux/enforce"
"""Exists if the node has SELinux, in any mode."""


def allow_containers(host: Host, directory: str) -> None:
    """Label a directory on the node, and the files in it, if the node has SELinux.

    Daemons do not use subdirectories, but containers can create any number of them, at any depth. New files in a
    labelled directory inherit its label. So the directory is labelled last, and a labelled directory is skipped: it may
    contain millions of files of containers.

    Raises:
        OSError: the label cannot be set.
    """
    if not host.path(_ENABLED).exists():
        return
    here = host.path(directory)
    if _has_label(here):
        return
    with os.scandir(here) as entries:
        for entry in entries:
            # A container may have removed the file.
            with suppress(FileNotFoundError):
                _label(Path(entry.path))
    _label(here)


def _has_label(path: Path) -> bool:
    return os.getxattr(path, _ATTRIBUTE, follow_symlinks=False) == _VALUE


def _label(path: Path) -> None:
    if not _has_label(path):
        os.setxattr(path, _ATTRIBUTE, _VALUE, follow_symlinks=False)
