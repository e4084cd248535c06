"""Pools: the keys of the RDMA shared device plugin, and additional ones."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from hub import Settings

Names = tuple[str, ...]
Functions = Annotated[
    str,
    msgspec.Meta(
        pattern="^[^#]+(#[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$",
        extra={"expected": "a name, or a name and functions such as ib0#0-3"},
    ),
]
Hex = Annotated[str, msgspec.Meta(pattern="^(0x)?[0-9a-fA-F]{4}$", extra={"expected": "four hexadecimal digits"})]


CDI_KIND = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?/[A-Za-z]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
CDI_VENDOR = "rdma.device-plugin-hub"
SHARED_CDI_KIND = "nvidia.com/net-rdma"


class Mode(StrEnum):
    """The meaning of one device of the resource."""

    POOL = "pool"
    """One of `rdmaHcaMax` interchangeable devices, each with the files of all HCAs, as in the shared plugin."""
    HCA = "hca"
    """An HCA, or one of `rdmaHcaMax` shares of it, with the files of this HCA only."""
    VF = "vf"
    """A virtual function (SR-IOV), for one container at a time."""
    FUNCTION = "function"
    """A virtual function, or a physical function without virtual ones, for one container at a time, as in the SR-IOV
    device plugin."""

    @property
    def exclusive(self) -> bool:
        """Whether a function is allocated to only one container at a time."""
        return self in {Mode.VF, Mode.FUNCTION}


class ExtraNode(StrEnum):
    """Device files that an application may need in addition to uverbs."""

    UMAD = "umad"
    """Management datagrams, per port."""
    ISSM = "issm"
    """For a subnet manager, per port."""
    RDMA_CM = "rdma_cm"
    """The connection manager, one per node."""


class PortRule(StrEnum):
    """Which ports of an HCA must be up."""

    ANY = "any"
    """At least one."""
    ALL = "all"
    """All of them."""
    NONE = "none"
    """No port has to be up: the port of a virtual function may be down until a pod sets it up."""


class Selectors(Settings, frozen=True, rename="camel"):
    """A selector of HCAs: one entry of each list must match, and empty lists are ignored."""

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
    """Interface or RDMA device of the physical function; "ib0#0,2-7" selects some of its virtual functions."""
    root_devices: tuple[Functions, ...] = ()
    """PCI address of the physical function, with the same syntax."""
    p_keys: Names = ()
    """Partition keys of the ports, such as "0xffff"."""
    is_rdma: Literal[True] = True
    """Always true here; the key exists for configurations of the SR-IOV device plugin."""

    @property
    def acpi_indexes(self) -> Names:
        """ACPI indexes of PCI functions; a selector of the SR-IOV device plugin."""
        return ()

    @property
    def need_vhost_net(self) -> bool:
        """Whether containers also get the files for vhost-net; a key of the SR-IOV device plugin."""
        return False

    @property
    def empty(self) -> bool:
        """Whether the selectors match everything."""
        return self == type(self)()


class CdiStrategy(StrEnum):
    """How container runtimes learn the CDI names of devices."""

    ANNOTATIONS = "annotations"
    """In an annotation of the container."""
    CRI = "cri"
    """From the kubelet."""


class PoolHealth(Settings, frozen=True):
    """`health` of a pool."""

    ports: PortRule | None = None
    """Which ports of an HCA must be up. The default is any, and none in vf and function mode."""
    down: Annotated[float, msgspec.Meta(ge=0)] = 2
    """Seconds that a port must be down before it counts as down."""
    up: Annotated[float, msgspec.Meta(ge=0)] = 5
    """Seconds that it must then be up before it counts as up."""


class Pool(Settings, frozen=True, rename="camel"):
    """One resource."""

    resource_name: Annotated[
        str, msgspec.Meta(pattern="^[a-zA-Z0-9_]+$", extra={"expected": "letters, digits and underscores"})
    ]
    """The part of the resource name after the slash."""
    resource_prefix: str = "rdma"
    """The part before the slash."""
    rdma_hca_max: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 1
    """The number of devices: of the whole pool in pool mode, of each HCA in hca mode; 1 in vf and function mode."""
    devices: Names = ()
    """The old name of selectors.ifNames."""
    selectors: Selectors = Selectors()
    mode: Mode = Mode.POOL
    """The meaning of one device of the resource."""
    nodes: tuple[ExtraNode, ...] = (ExtraNode.UMAD, ExtraNode.RDMA_CM)
    """Device files that a container gets in addition to uverbs, if they exist."""
    permissions: Annotated[str, msgspec.Meta(pattern="^rwm?$", extra={"expected": "rw or rwm"})] = "rw"
    """The permissions of the device files; the shared plugin gives "rwm"."""
    nccl_ib_hca: bool = True
    """Whether a container gets NCCL_IB_HCA; not in pool mode."""
    ucx_net_devices: bool = True
    """Whether a container gets UCX_NET_DEVICES; not in pool mode."""
    health: PoolHealth = PoolHealth()
    reset: bool = False
    """Whether a virtual function is reset before a container starts; only in vf mode."""
    near_gpus: bool = True
    """Whether a container that just got GPUs gets HCAs close to them, if available; not in pool mode."""
    exclude_topology: bool | None = None
    """Whether the NUMA nodes are withheld from the kubelet. The default is true in pool mode only, as in the shared
    plugin."""
    bring_up: bool = False
    """Whether network interfaces that are down are brought up when the plugin starts, as in the shared plugin."""
    cdi_kind: Annotated[
        str, msgspec.Meta(pattern=f"^({CDI_KIND})?$", extra={"expected": "a CDI kind such as example.com/hca"})
    ] = ""
    """The CDI kind of the devices. The default is "nvidia.com/net-rdma" in pool mode, as in the shared plugin, and one
    for each resource otherwise."""

    def __post_init__(self) -> None:
        if self.devices and self.selectors.if_names:
            raise ValueError(
                "devices and selectors.ifNames are both set, expected one of them: they mean the same thing"
            )
        if not self.devices and self.selectors.empty:
            raise ValueError("neither devices nor selectors are set, expected one of them")
        if self.reset and self.mode is not Mode.VF:
            raise ValueError("reset is true, but only vf mode allows it: other containers may be using an HCA")
        if self.mode.exclusive and self.rdma_hca_max > 1:
            raise ValueError(
                f"rdmaHcaMax is {self.rdma_hca_max}, expected 1 in {self.mode} mode: a function is for one container"
            )

    @property
    def port_rule(self) -> PortRule:
        """Which ports must be up."""
        return self.health.ports or (PortRule.NONE if self.mode.exclusive else PortRule.ANY)

    @property
    def alternatives(self) -> tuple[Selectors, ...]:
        """The selectors, any of which may select an HCA."""
        return (msgspec.structs.replace(self.selectors, if_names=self.if_names),)

    @property
    def additional_info(self) -> Mapping[str, Mapping[str, str]]:
        """What else the variable `..._INFO` contains, by PCI address or "*"."""
        return {}

    @property
    def has_topology(self) -> bool:
        """Whether the kubelet is informed of the NUMA nodes."""
        return self.mode is not Mode.POOL if self.exclude_topology is None else not self.exclude_topology

    @property
    def full_cdi_kind(self) -> str:
        """The CDI kind of the devices, such as "vendor.com/class"."""
        if self.cdi_kind or self.mode is Mode.POOL:
            return self.cdi_kind or SHARED_CDI_KIND
        # A class begins with a letter.
        return f"{CDI_VENDOR}/" + re.sub("[^A-Za-z0-9_-]", "-", f"rdma-{self.resource_prefix}-{self.resource_name}")

    @property
    def resource(self) -> str:
        """The full name of the resource."""
        return f"{self.resource_prefix}/{self.resource_name}"

    @property
    def if_names(self) -> Names:
        """The interfaces selected by either key."""
        return self.devices or self.selectors.if_names


def name_problem(resource: str) -> str:
    """Return why the kubelet rejects the name of a resource; empty if it does not."""
    prefix, _, name = resource.partition("/")
    why = ""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", prefix):
        why = "a prefix must consist of lower case alphanumeric characters, '-' or '.', without '_'"
    elif not re.fullmatch(r"[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?", name):
        why = (
            "a name must consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
    return f'the kubelet rejects "{resource}" (the ResourceName "{resource}" is invalid): {why}' if why else ""
