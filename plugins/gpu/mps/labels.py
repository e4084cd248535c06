"""SELinux: without the label of containers' files, a container may not use the directories of a daemon."""

import os
from contextlib import suppress
from pathlib import Path

from hub import Host

LABEL = "system_u:object_r:container_file_t:s0"
"""The label of files that all containers may use, as NVIDIA's control daemon sets it."""

_ATTRIBUTE = "security.selinux"
_ENABLED = "/sys/fs/selinux/enforce"
"""Exists if the node has SELinux, in whichever mode."""


def allow_containers(host: Host, directory: str) -> None:
    """Label a directory on the node, and the files in it, if the node has SELinux.

    Daemons use no directories inside theirs, but containers can create them, as many and as deep as they like. What is
    created in a labelled directory gets its label.

    Raises:
        OSError: the label cannot be set.
    """
    if not host.path(_ENABLED).exists():
        return
    here = host.path(directory)
    _label(here)
    for path in here.iterdir():
        # A container may have removed it.
        with suppress(FileNotFoundError):
            _label(path)


def _label(path: Path) -> None:
    label = f"{LABEL}\0".encode()
    if os.getxattr(path, _ATTRIBUTE, follow_symlinks=False) != label:
        os.setxattr(path, _ATTRIBUTE, label, follow_symlinks=False)
