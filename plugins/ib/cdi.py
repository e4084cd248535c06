"""CDI for RDMA devices: specification files, and the names for containers."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from hub import CDI_DIRECTORY, CdiSpecFiles, DeviceNode, Host, cdi_spec
from plugins.ib.settings import CDI_VENDOR, CdiStrategy, Pool

VENDOR = CDI_VENDOR
"""The prefix of the names of all files, regardless of the CDI kind: files of other plugins are left alone."""

DeviceNodes = Mapping[str, Sequence[DeviceNode]]
"""Device files by device name."""


class CdiNames:
    """The files, kept up to date with the devices, and the names for containers.

    Args:
        host: The node's file system.
        strategies: How container runtimes learn the names; if there are none, there are no files.
    """

    def __init__(self, host: Host, strategies: Sequence[CdiStrategy]) -> None:
        self._files = CdiSpecFiles(host.path(CDI_DIRECTORY), VENDOR)
        self._strategies = strategies

    @property
    def used(self) -> bool:
        """Whether containers get names instead of device files."""
        return bool(self._strategies)

    def update(self, pools: Sequence[tuple[Pool, DeviceNodes]]) -> str:
        """Write a specification for each kind of device; return why containers cannot use the names, or "".

        Pools of one kind have the same files for an HCA.
        """
        kinds: dict[str, dict[str, Sequence[DeviceNode]]] = {}
        for pool, nodes in pools if self.used else ():
            if nodes:
                kinds.setdefault(pool.full_cdi_kind, {}).update(nodes)
        specs = {_file_name(kind): _specification(kind, nodes) for kind, nodes in kinds.items()}
        try:
            self._files.keep(specs)
        except OSError as error:
            return f"the CDI file cannot be written: {error}"
        return ""

    def edits(self, pool: Pool, names: Sequence[str]) -> dict[str, Any]:
        """Return what a container gets instead of the device files of these devices, as fields of an Allocation."""
        full = [f"{pool.full_cdi_kind}={name}" for name in names]
        parts: dict[str, Any] = {}
        if CdiStrategy.CRI in self._strategies:
            parts["cdi"] = full
        if CdiStrategy.ANNOTATIONS in self._strategies:
            parts["annotations"] = {f"cdi.k8s.io/device-plugin-hub_{uuid.uuid4()}": ",".join(full)}
        return parts


def _file_name(kind: str) -> str:
    return kind.removeprefix(f"{VENDOR}/").replace("/", "-")


def _specification(kind: str, nodes: DeviceNodes) -> dict[str, Any]:
    devices = {
        name: {"deviceNodes": [{"path": str(node.container_path), "permissions": node.permissions} for node in found]}
        for name, found in nodes.items()
    }
    vendor, _, name = kind.partition("/")
    return cdi_spec(vendor, name, devices)
