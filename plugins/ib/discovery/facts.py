"""What is known of the RDMA devices of a node."""

import msgspec

INFINIBAND, ETHERNET = "InfiniBand", "Ethernet"
"""What the kernel calls link layers; others are "Unknown", such as that of Amazon's EFA."""


class Port(msgspec.Struct, frozen=True):
    """A port of an RDMA device (Documentation/ABI/stable/sysfs-class-infiniband of the kernel)."""

    number: int
    state: str
    """DOWN, INIT, ARMED, ACTIVE or ACTIVE_DEFER."""
    phys_state: str
    """LinkUp, Polling, Disabled, ..."""
    link_layer: str
    rate: float
    """Gb/s; 0 where the kernel does not say."""


class Hca(msgspec.Struct, frozen=True):
    """An RDMA device: a physical function or a virtual one."""

    pci: str
    """Its PCI address, which stays when the names change."""
    name: str
    """What the kernel calls it now, such as "mlx5_0"."""
    vendor: str
    device: str
    """Vendor and device as four hexadecimal digits, such as "15b3" and "101b"."""
    driver: str
    """Empty when no driver is bound."""
    numa: int | None
    """Its NUMA node; None where that is unknown."""
    node_guid: str
    firmware: str
    board: str
    ports: tuple[Port, ...]
    netdevs: tuple[str, ...]
    """Network interfaces on the same PCI function."""
    link_types: tuple[str, ...]
    """Of those: "ether" or "infiniband", as the `linkTypes` of configurations name them."""
    uverbs: str
    """The name of its main device file below /dev/infiniband; empty when there is none."""
    umads: tuple[str, ...]
    issms: tuple[str, ...]
    pf: str = ""
    """The PCI address of its physical function, when it is a virtual one."""
    pf_names: tuple[str, ...] = ()
    """What that is called: its network interfaces and its RDMA device."""
    vf: int | None = None
    """Its number on the physical function."""
    vfs: int = 0
    """How many virtual functions it has."""
    pkeys: tuple[str, ...] = ()
    """Partition keys of its ports, such as "0xffff"."""
    path: str = ""
    """Its real path below /sys/devices, which tells what it is close to."""
