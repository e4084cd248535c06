"""CDI for RDMA devices: specification files, and the names for containers."""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from hub import CDI_DIRECTORY, CdiSpecFiles, DeviceNode, Host, cdi_spec
from plugins.ib.settings import CdiStrategy, Pool

VENDOR = "rdma.device-plugin-hub"

DeviceNodes = Mapping[str, Sequence[DeviceNode]]
"""Device files by device name."""


class CdiNames:
    """Keeps the files up to date with the devices, and makes names for containers.

    Args:
        host: The node's file system.
        strategies: How container runtimes learn the names; if there is none, there are no files.

    Attributes:
        problem: Why containers cannot use the names; empty if they can.
    """

    def __init__(self, host: Host, strategies: Sequence[CdiStrategy]) -> None:
        self._files = CdiSpecFiles(host.path(CDI_DIRECTORY), VENDOR)
        self._strategies = strategies
        self.problem = ""

    @property
    def used(self) -> bool:
        """Whether containers get names instead of device files."""
        return bool(self._strategies)

    def update(self, pools: Sequence[tuple[Pool, DeviceNodes]]) -> None:
        """Write a specification for each pool that has devices."""
        specs = {_kind(pool): _specification(pool, nodes) for pool, nodes in pools if nodes} if self.used else {}
        try:
            self._files.keep(specs)
        except OSError as error:
            self.problem = f"the CDI file cannot be written: {error}"
        else:
            self.problem = ""

    def edits(self, pool: Pool, names: Sequence[str]) -> dict[str, Any]:
        """Return what a container gets instead of the device files of these devices, as fields of an Allocation."""
        full = [f"{VENDOR}/{_kind(pool)}={name}" for name in names]
        parts: dict[str, Any] = {}
        if CdiStrategy.CRI in self._strategies:
            parts["cdi"] = full
        if CdiStrategy.ANNOTATIONS in self._strategies:
            parts["annotations"] = {f"cdi.k8s.io/device-plugin-hub_{uuid.uuid4()}": ",".join(full)}
        return parts


def _kind(pool: Pool) -> str:
    """Return the CDI class of a pool's devices, which must begin with a letter and cannot contain dots."""
    return re.sub("[^A-Za-z0-9_-]", "-", f"rdma-{pool.resource_prefix}-{pool.resource_name}")


def _specification(pool: Pool, nodes: DeviceNodes) -> dict[str, Any]:
    devices = {
        name: {"deviceNodes": [{"path": str(node.container_path), "permissions": node.permissions} for node in found]}
        for name, found in nodes.items()
    }
    return cdi_spec(VENDOR, _kind(pool), devices)
