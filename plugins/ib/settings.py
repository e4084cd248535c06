"""The IB plugin's configuration: the file of the RDMA shared device plugin, and a few keys more for each pool."""

import re
from collections import Counter
from enum import StrEnum
from typing import Annotated

import msgspec

from hub import Settings

Names = tuple[str, ...]
Hex = Annotated[str, msgspec.Meta(pattern="^(0x)?[0-9a-fA-F]{4}$")]


class Mode(StrEnum):
    """What one device of the resource is."""

    POOL = "pool"
    """One of `rdmaHcaMax` interchangeable ones, each with the files of all HCAs; what the shared plugin does."""
    HCA = "hca"
    """An HCA, or one of `rdmaHcaMax` shares of it, with the files of this HCA alone."""


class ExtraNode(StrEnum):
    """Device files that an application may need besides its uverbs."""

    UMAD = "umad"
    ISSM = "issm"
    RDMA_CM = "rdma_cm"


class PortRule(StrEnum):
    """When an HCA with several ports is healthy."""

    ANY = "any"
    ALL = "all"


class Selectors(Settings, frozen=True, rename="camel"):
    """Which HCAs; of each list any entry matches, and all lists that are there have to."""

    vendors: tuple[Hex, ...] = ()
    device_ids: tuple[Hex, ...] = msgspec.field(default=(), name="deviceIDs")
    drivers: Names = ()
    if_names: Names = ()
    link_types: Names = ()

    @property
    def empty(self) -> bool:
        """Whether they select everything."""
        return not any((self.vendors, self.device_ids, self.drivers, self.if_names, self.link_types))


class PoolHealth(Settings, frozen=True):
    """`health` of a pool."""

    ports: PortRule = PortRule.ANY
    down: Annotated[float, msgspec.Meta(ge=0)] = 2
    """Seconds that a port is down before it counts."""


class Pool(Settings, frozen=True, rename="camel"):
    """One resource."""

    resource_name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_]+$")]
    resource_prefix: str = "rdma"
    rdma_hca_max: Annotated[int, msgspec.Meta(ge=0)] = 1
    devices: Names = ()
    """The old name of selectors.ifNames."""
    selectors: Selectors = Selectors()
    mode: Mode = Mode.POOL
    nodes: tuple[ExtraNode, ...] = (ExtraNode.UMAD, ExtraNode.RDMA_CM)
    """Device files that a container gets besides its uverbs, as far as they are there."""
    permissions: Annotated[str, msgspec.Meta(pattern="^rwm?$")] = "rw"
    """What a container may do with them; "rwm" is what the shared plugin gives."""
    nccl_ib_hca: bool = True
    """Whether a container gets NCCL_IB_HCA; in mode hca."""
    ucx_net_devices: bool = True
    """Whether a container gets UCX_NET_DEVICES; in mode hca."""
    health: PoolHealth = PoolHealth()

    def __post_init__(self) -> None:
        if self.devices and self.selectors.if_names:
            raise ValueError("there are both devices and selectors.ifNames, which mean the same")
        if not self.devices and self.selectors.empty:
            raise ValueError("there are no devices and no selectors, expected one of them")

    @property
    def resource(self) -> str:
        """The full name of the resource."""
        return f"{self.resource_prefix}/{self.resource_name}"

    @property
    def if_names(self) -> Names:
        """The interfaces that are selected, by either key."""
        return self.devices or self.selectors.if_names


class IBSettings(Settings, frozen=True, rename="camel"):
    """The whole file."""

    periodic_update_interval: Annotated[float, msgspec.Meta(ge=0)] = 60
    """Seconds between two looks for devices that came or went; 0 for none."""
    config_list: tuple[Pool, ...] = (Pool(resource_name="hca", selectors=Selectors(vendors=("15b3",)), mode=Mode.HCA),)
    """By default each HCA of NVIDIA's (formerly Mellanox) is a device of rdma/hca."""

    def __post_init__(self) -> None:
        for resource, times in Counter(pool.resource for pool in self.config_list).items():
            if times > 1:
                raise ValueError(f"configList has the resource {resource} {times} times")
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[a-zA-Z0-9_]+", resource):
                raise ValueError(f'configList: "{resource}" is no resource name')
