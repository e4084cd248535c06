"""The IB plugin's configuration: the file of the RDMA shared device plugin, and a few keys more for each pool."""

import re
from collections import Counter
from enum import StrEnum
from itertools import combinations
from typing import Annotated, Literal

import msgspec

from hub import Settings

Names = tuple[str, ...]
Functions = Annotated[str, msgspec.Meta(pattern="^[^#]+(#[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$")]
Hex = Annotated[str, msgspec.Meta(pattern="^(0x)?[0-9a-fA-F]{4}$")]


class Mode(StrEnum):
    """What one device of the resource is."""

    POOL = "pool"
    """One of `rdmaHcaMax` interchangeable ones, each with the files of all HCAs; what the shared plugin does."""
    HCA = "hca"
    """An HCA, or one of `rdmaHcaMax` shares of it, with the files of this HCA alone."""
    VF = "vf"
    """A virtual function (SR-IOV), for one container at a time."""


class ExtraNode(StrEnum):
    """Device files that an application may need besides its uverbs."""

    UMAD = "umad"
    """Management datagrams, of each port."""
    ISSM = "issm"
    """What a subnet manager opens, of each port."""
    RDMA_CM = "rdma_cm"
    """The connection manager, one for the node."""


class PortRule(StrEnum):
    """Which ports of an HCA have to be up."""

    ANY = "any"
    """One at least."""
    ALL = "all"
    """All of them."""
    NONE = "none"
    """The port of a virtual function may be down until a pod sets it up."""


class Selectors(Settings, frozen=True, rename="camel"):
    """Which HCAs; of each list any entry matches, and all lists that are there have to."""

    vendors: tuple[Hex, ...] = ()
    """PCI vendors, such as "15b3"."""
    device_ids: tuple[Hex, ...] = msgspec.field(default=(), name="deviceIDs")
    """PCI devices, such as "101b"."""
    drivers: Names = ()
    """Drivers, such as "mlx5_core"."""
    if_names: Names = ()
    """Network interfaces, such as "ib0"."""
    link_types: Names = ()
    """Link types: "infiniband" or "ether"."""
    pci_addresses: Names = ()
    """PCI addresses, such as "0000:41:00.0"."""
    pf_names: tuple[Functions, ...] = ()
    """Interface or RDMA device of the physical function; "ib0#0,2-7" picks some of its virtual functions."""
    root_devices: tuple[Functions, ...] = ()
    """PCI address of the physical function, likewise."""
    p_keys: Names = ()
    """Partition keys of the ports, such as "0xffff"."""
    is_rdma: Literal[True] = True
    """Everything here is; the key is there for configurations of the SR-IOV device plugin."""

    @property
    def empty(self) -> bool:
        """Whether they select everything."""
        return self == type(self)()


class CdiStrategy(StrEnum):
    """How container runtimes are told the CDI names of devices."""

    ANNOTATIONS = "annotations"
    """In an annotation of the container."""
    CRI = "cri"
    """By the kubelet."""


class PoolHealth(Settings, frozen=True):
    """`health` of a pool."""

    ports: PortRule | None = None
    """Which ports of an HCA have to be up. Nothing said: any, and in mode vf none."""
    down: Annotated[float, msgspec.Meta(ge=0)] = 2
    """Seconds that a port is down before it counts."""
    up: Annotated[float, msgspec.Meta(ge=0)] = 5
    """Seconds that it then has to be up before it counts no more."""


class Pool(Settings, frozen=True, rename="camel"):
    """One resource."""

    resource_name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_]+$")]
    """What follows the slash in the name of the resource."""
    resource_prefix: str = "rdma"
    """What comes before it."""
    rdma_hca_max: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many devices: of the whole pool in mode pool, of each HCA in mode hca; 1 in mode vf."""
    devices: Names = ()
    """The old name of selectors.ifNames."""
    selectors: Selectors = Selectors()
    mode: Mode = Mode.POOL
    """What one device of the resource is."""
    nodes: tuple[ExtraNode, ...] = (ExtraNode.UMAD, ExtraNode.RDMA_CM)
    """Device files that a container gets besides its uverbs, as far as they are there."""
    permissions: Annotated[str, msgspec.Meta(pattern="^rwm?$")] = "rw"
    """What a container may do with them; "rwm" is what the shared plugin gives."""
    nccl_ib_hca: bool = True
    """Whether a container gets NCCL_IB_HCA; not in mode pool."""
    ucx_net_devices: bool = True
    """Whether a container gets UCX_NET_DEVICES; not in mode pool."""
    health: PoolHealth = PoolHealth()
    reset: bool = False
    """Whether a virtual function is reset before a container starts; in mode vf."""
    near_gpus: bool = True
    """Whether a container that was just given GPUs gets HCAs close to them, if there are any; not in mode pool."""

    def __post_init__(self) -> None:
        if self.devices and self.selectors.if_names:
            raise ValueError("there are both devices and selectors.ifNames, which mean the same")
        if not self.devices and self.selectors.empty:
            raise ValueError("there are no devices and no selectors, expected one of them")
        if self.reset and self.mode is not Mode.VF:
            raise ValueError("reset is for mode vf only: others may be using an HCA")
        if self.mode is Mode.VF and self.rdma_hca_max > 1:
            raise ValueError("rdmaHcaMax does not go with mode vf: a virtual function is for one container")

    @property
    def port_rule(self) -> PortRule:
        """Which ports have to be up."""
        return self.health.ports or (PortRule.NONE if self.mode is Mode.VF else PortRule.ANY)

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

    cdi: tuple[CdiStrategy, ...] = ()
    """Where there is one, containers get CDI names instead of device files."""
    periodic_update_interval: Annotated[float, msgspec.Meta(ge=0)] = 60
    """Seconds between two looks for devices that came or went; 0 for none."""
    config_list: tuple[Pool, ...] = (Pool(resource_name="hca", selectors=Selectors(vendors=("15b3",)), mode=Mode.HCA),)
    """The pools, one resource each. By default each HCA of NVIDIA's (formerly Mellanox) is a device of rdma/hca."""

    def __post_init__(self) -> None:
        for resource, times in Counter(pool.resource for pool in self.config_list).items():
            if times > 1:
                raise ValueError(f"configList has the resource {resource} {times} times")
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[a-zA-Z0-9_]+", resource):
                raise ValueError(f'configList: "{resource}" is no resource name')
        for one, other in combinations(self.config_list, 2):
            if shared := set(one.if_names) & set(other.if_names):
                both = f"{one.resource} and {other.resource}"
                raise ValueError(f"configList: {both} both select the interface {min(shared)}, expected one of them")
