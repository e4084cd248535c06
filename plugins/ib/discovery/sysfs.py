"""Read RDMA devices from sysfs."""

import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from hub import Host
from plugins.ib.discovery.facts import Hca, Port

RDMA_DEVICES = "/sys/class/infiniband"
"""One entry for each RDMA device; exists while the kernel's RDMA core is loaded."""

ERROR_COUNTERS = (
    "symbol_error",
    "link_error_recovery",
    "link_downed",
    "port_rcv_errors",
    "port_rcv_remote_physical_errors",
    "port_rcv_switch_relay_errors",
    "port_rcv_constraint_errors",
    "port_xmit_discards",
    "port_xmit_constraint_errors",
    "local_link_integrity_errors",
    "excessive_buffer_overrun_errors",
    "VL15_dropped",
)
"""The error counters of a port (Documentation/ABI/stable/sysfs-class-infiniband of the kernel)."""

_VERBS = "/sys/class/infiniband_verbs"
_MAD = "/sys/class/infiniband_mad"
_ETHER, _INFINIBAND = "1", "32"
"""Types of network interfaces (ARPHRD_ETHER and ARPHRD_INFINIBAND of linux/if_arp.h)."""


def read_hcas(host: Host) -> list[Hca]:
    """Read all RDMA devices in the order of their PCI addresses. One that is removed during the read is left out."""
    nodes = _character_devices(host)
    # Cached: all virtual functions of a physical one would read the same.
    vf_numbers = functools.cache(_vf_numbers)
    found = []
    for entry in _entries(host.path(RDMA_DEVICES)):
        try:
            hca = _read_hca(entry, nodes, vf_numbers)
        except OSError:
            continue
        if hca:
            found.append(hca)
    return sorted(found, key=lambda hca: hca.pci)


def read_states(host: Host) -> dict[tuple[str, int], tuple[str, str]]:
    """Read the state and physical state of all ports, by device name and port number: only what changes often."""
    states = {}
    for entry in _entries(host.path(RDMA_DEVICES)):
        for port in _entries(entry / "ports"):
            states[entry.name, int(port.name)] = _state(port / "state"), _state(port / "phys_state")
    return states


def read_counters(host: Host, device: str, port: int) -> dict[str, int]:
    """Read those error counters of a port that its driver provides."""
    directory = host.path(RDMA_DEVICES) / device / "ports" / str(port) / "counters"
    texts = {name: _text(directory / name) for name in ERROR_COUNTERS}
    return {name: int(text) for name, text in texts.items() if text.isdigit()}


def is_exclusive(host: Host) -> bool:
    """Whether an RDMA device belongs to one network namespace at a time (`rdma system` shows and sets the mode)."""
    return _text(host.path("/sys/module/ib_core/parameters/netns_mode")) == "N"


def _read_hca(
    entry: Path, nodes: dict[str, dict[str, list[str]]], vf_numbers: Callable[[Path], dict[str, int]]
) -> Hca | None:
    function = (entry / "device").resolve()
    if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", function.name):
        # A device without hardware, such as soft RoCE (rxe), which belongs to a network interface.
        return None
    netdevs = tuple(path.name for path in _entries(function / "net"))
    kinds = {_text(function / "net" / name / "type") for name in netdevs}
    types = {_ETHER: "ether", _INFINIBAND: "infiniband"}
    pf = (function / "physfn").resolve() if (function / "physfn").exists() else None
    own = nodes.get(entry.name, {})
    return Hca(
        pci=function.name,
        name=entry.name,
        vendor=_text(function / "vendor").removeprefix("0x"),
        device=_text(function / "device").removeprefix("0x"),
        driver=(function / "driver").resolve().name if (function / "driver").exists() else "",
        numa=numa_node(function),
        node_guid=_text(entry / "node_guid"),
        firmware=_text(entry / "fw_ver"),
        board=_text(entry / "board_id"),
        ports=tuple(_read_port(port) for port in _entries(entry / "ports")),
        netdevs=netdevs,
        link_types=tuple(sorted(types[kind] for kind in kinds if kind in types)),
        uverbs=next(iter(own.get("uverbs", [])), ""),
        umads=tuple(own.get("umad", [])),
        issms=tuple(own.get("issm", [])),
        pf=pf.name if pf else "",
        pf_names=_names(pf) if pf else (),
        vf=vf_numbers(pf).get(function.name) if pf else None,
        vfs=int(_text(function / "sriov_numvfs") or 0),
        pkeys=tuple(sorted({_text(key) for port in _entries(entry / "ports") for key in _entries(port / "pkeys")})),
        path=str(function),
    )


def _names(function: Path) -> tuple[str, ...]:
    return tuple(path.name for kind in ("net", "infiniband") for path in _entries(function / kind))


def _read_port(port: Path) -> Port:
    rate = re.match(r"[0-9.]+", _text(port / "rate"))
    return Port(
        int(port.name),
        _state(port / "state"),
        _state(port / "phys_state"),
        _text(port / "link_layer"),
        float(rate[0]) if rate else 0,
    )


def _state(path: Path) -> str:
    """Return the word of a state such as "4: ACTIVE"."""
    return _text(path).partition(":")[2].strip()


def numa_node(function: Path) -> int | None:
    """Read the NUMA node of a PCI function; None if unknown."""
    node = _text(function / "numa_node")
    return int(node) if node.isdigit() else None


def _vf_numbers(pf: Path) -> dict[str, int]:
    """Read the numbers of a physical function's virtual functions, by PCI address."""
    links = (entry for entry in os.scandir(pf) if entry.name.startswith("virtfn"))
    return {Path(entry.path).readlink().name: int(entry.name.removeprefix("virtfn")) for entry in links}


def _character_devices(host: Host) -> dict[str, dict[str, list[str]]]:
    """Find the names of device files, by RDMA device and kind."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in (*_entries(host.path(_VERBS)), *_entries(host.path(_MAD))):
        # Compare whole names: mlx5_10 begins with mlx5_1. `abi_version` is not a device.
        if owner := _text(entry / "ibdev"):
            found.setdefault(owner, {}).setdefault(entry.name.rstrip("0123456789"), []).append(entry.name)
    return found


def _entries(directory: Path) -> Iterator[Path]:
    """Return the entries of a directory in natural order; none if it does not exist or is removed in the meantime."""
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return
    for name in sorted(
        names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    ):
        yield directory / name


def _text(path: Path) -> str:
    """Read a file; empty if that fails (reading some files is an error)."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
