"""The kubelet's unit on a node. Each distribution of Kubernetes has its own name for it."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from hub.base.errors import HubError
from hub.base.wording import did_you_mean

_UNIT_DIRS = (
    *("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"),
    "lib/systemd/system",
)


class Kubelet(NamedTuple):
    """The kubelet of a distribution."""

    unit: str
    root: Path = Path("/var/lib/kubelet")
    """Its root directory. The plugin directory is always /var/lib/kubelet/device-plugins."""


KUBELETS = (
    Kubelet("kubelet.service"),
    *(Kubelet("k3s.service"), Kubelet("k3s-agent.service")),
    *(Kubelet("rke2-server.service"), Kubelet("rke2-agent.service")),
    Kubelet("snap.microk8s.daemon-kubelite.service"),
    Kubelet("k0scontroller.service", Path("/var/lib/k0s/kubelet")),
    Kubelet("k0sworker.service", Path("/var/lib/k0s/kubelet")),
)
"""The kubelets that are found without --kubelet-unit."""

_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.@\\-]+")
"""The characters in the name of a unit (man 5 systemd.unit)."""

_OPTION = "--kubelet-unit"


def find_kubelet(root: Path, named: str | None) -> Kubelet:
    """Return the kubelet of a node.

    Args:
        root: The node's file system.
        named: Its unit, if the administrator has named it.

    Raises:
        HubError: there is no such unit, or the node has none or several of the known ones.
    """
    if named:
        return _named_kubelet(root, named)
    found = [kubelet for kubelet in KUBELETS if _has_unit(root, kubelet.unit)]
    known = ", ".join(kubelet.unit for kubelet in KUBELETS)
    if not found:
        raise HubError(f"no kubelet found: none of the units {known} exists; name the kubelet's unit with {_OPTION}")
    if len(found) > 1:
        names = ", ".join(kubelet.unit for kubelet in found)
        raise HubError(f"there are several kubelets: {names}; use {_OPTION} to name the one that this node runs")
    return found[0]


def _named_kubelet(root: Path, named: str) -> Kubelet:
    unit = named if "." in Path(named).name and named.endswith(".service") else f"{named}.service"
    if not _has_unit(root, unit):
        hint = did_you_mean(unit, [kubelet.unit for kubelet in KUBELETS if _has_unit(root, kubelet.unit)])
        raise HubError(f"{_OPTION}: there is no unit {unit}{hint}")
    return next((kubelet for kubelet in KUBELETS if kubelet.unit == unit), Kubelet(unit))


def _has_unit(root: Path, unit: str) -> bool:
    if not _UNIT_NAME.fullmatch(unit):
        return False
    # As in systemd, the first directory with that name wins.
    path = next(filter(os.path.lexists, (root / each / unit for each in _UNIT_DIRS)), None)
    if path is None:
        return False
    # A masked unit is a link to /dev/null: that kubelet never starts.
    return path.readlink() != Path(os.devnull) if path.is_symlink() else path.is_file()
