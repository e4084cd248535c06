"""Facts about the RDMA devices on a node."""

import msgspec

INFINIBAND, ETHERNET = "InfiniBand", "Ethernet"
"""The kernel's names for link layers; all others are "Unknown", such as that of Amazon's EFA."""


class Port(msgspec.Struct, frozen=True):
    """A port of an RDMA device (Documentation/ABI/stable/sysfs-class-infiniband of the kernel)."""

    number: int
    state: str
    """DOWN, INIT, ARMED, ACTIVE or ACTIVE_DEFER."""
    phys_state: str
    """LinkUp, Polling, Disabled, ..."""
    link_layer: str
    rate: float
    """Gb/s; 0 if unknown."""


class Hca(msgspec.Struct, frozen=True):
    """An RDMA device: a physical or virtual function."""

    pci: str
    """Its PCI address, which does not change when names do."""
    vendor: str
    device: str
    """Vendor and device as four hexadecimal digits, such as "15b3" and "101b"."""
    driver: str
    """Empty if no driver is bound."""
    numa: int | None
    """Its NUMA node; None if unknown."""
    netdevs: tuple[str, ...]
    """Network interfaces on the same PCI function."""
    link_types: tuple[str, ...]
    """The types of these interfaces, "ether" or "infiniband", as in the key `linkTypes` of configurations. Without an
    interface, a virtual function has the types of its physical function."""
    name: str = ""
    """Its current name in the kernel, such as "mlx5_0"."""
    node_guid: str = ""
    firmware: str = ""
    board: str = ""
    ports: tuple[Port, ...] = ()
    uverbs: str = ""
    """The name of its main device file in /dev/infiniband; empty if there is none."""
    umads: tuple[str, ...] = ()
    issms: tuple[str, ...] = ()
    pf: str = ""
    """The PCI address of its physical function; empty unless it is virtual."""
    pf_names: tuple[str, ...] = ()
    """The names of the physical function: its network interfaces and its RDMA device."""
    vf: int | None = None
    """Its number on the physical function."""
    vfs: int = 0
    """The number of its virtual functions."""
    pkeys: tuple[str, ...] = ()
    """The partition keys at index 0 of its InfiniBand ports, such as "0xffff"."""
    acpi_index: str = ""
    """Its number in the firmware's tables; empty if it has none."""
    in_pod: bool = False
    """Whether a pod has its network interfaces, so that `netdevs`, `link_types` and `pkeys` are those last seen."""
    hidden: bool = False
    """Whether a pod has the RDMA device too, so that its facts, except device files, are those last seen, if known."""
    path: str = ""
    """Its resolved path under /sys/devices, which shows its location in the PCI tree."""
