"""Read RDMA devices from sysfs."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hub import PCI_ADDRESS, Host, link_name, read_attribute, read_number, sorted_entries
from plugins.ib.discovery.facts import INFINIBAND, Hca, Port

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

_DIGITS = "[0-9]{1,18}"
"""A number that fits in 64 bits; `isdigit` accepts other digits, which `int` does not."""

_PCI = "/sys/bus/pci/devices"
_ETHER, _INFINIBAND = "1", "32"
"""Types of network interfaces (ARPHRD_ETHER and ARPHRD_INFINIBAND of linux/if_arp.h)."""


class RdmaDevices(NamedTuple):
    """The RDMA devices of a node."""

    hcas: list[Hca]
    """Sorted by PCI address."""
    unreadable: Mapping[str, str]
    """Why other devices cannot be used, by name: what the kernel shows about them is invalid."""


def read_hcas(host: Host) -> RdmaDevices:
    """Read all RDMA devices. One that is removed during the read is left out."""
    # Cached: otherwise, the same files would be read for all virtual functions of a physical one.
    vf_numbers = functools.cache(_vf_numbers)
    found, unreadable = [], {}
    for entry in sorted_entries(host.path(RDMA_DEVICES)):
        try:
            hca = _read_hca(entry, vf_numbers)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            unreadable[entry.name] = str(error)
        else:
            found += [hca] if hca else []
    return RdmaDevices(sorted(found, key=lambda hca: hca.pci), unreadable)


def read_states(host: Host) -> dict[tuple[str, int], tuple[str, str]]:
    """Read the state and physical state of all ports, by device name and port number: only what changes often."""
    states = {}
    for entry in sorted_entries(host.path(RDMA_DEVICES)):
        for number, port in _ports(entry):
            states[entry.name, number] = _state(port / "state"), _state(port / "phys_state")
    return states


def read_counters(host: Host, device: str, port: int) -> dict[str, int]:
    """Read those error counters of a port that its driver provides."""
    directory = host.path(RDMA_DEVICES) / device / "ports" / str(port) / "counters"
    values = {name: read_number(directory / name) for name in ERROR_COUNTERS}
    return {name: value for name, value in values.items() if value is not None}


def is_exclusive(host: Host) -> bool:
    """Return whether an RDMA device belongs to one network namespace at a time (see `rdma system`)."""
    return read_attribute(host.path("/sys/module/ib_core/parameters/netns_mode")) == "N"


def with_device_files(hca: Hca) -> Hca:
    """Return an HCA with the device files that it has now, even if it is hidden.

    Raises:
        ValueError: the HCA has no uverbs device at the moment.
    """
    current = msgspec.structs.replace(hca, **_device_files(Path(hca.path)))
    if not current.uverbs:
        raise ValueError(f"{hca.pci} has no uverbs device at the moment, for example because its driver is restarting")
    return current


def function_exists(host: Host, pci: str) -> bool:
    """Return whether the node has a PCI function."""
    return host.path(f"{_PCI}/{pci}").exists()


def virtual_functions(host: Host, pf: str) -> Iterable[str]:
    """Return the PCI addresses of a physical function's virtual functions."""
    return _vf_numbers(host.path(f"{_PCI}/{pf}"))


def read_hidden(host: Host, pci: str) -> Hca | None:
    """Read what the PCI function shows of an HCA whose RDMA device is in another namespace; None if it was removed."""
    try:
        return msgspec.structs.replace(_read_function(_target(host.path(f"{_PCI}/{pci}")), _vf_numbers), hidden=True)
    except (OSError, ValueError):
        return None


def _read_hca(entry: Path, vf_numbers: Callable[[Path], dict[str, int]]) -> Hca | None:
    if not entry.name.isascii():
        raise ValueError("its name is not ASCII, and containers get it in a variable")
    function = _target(entry / "device")
    if not PCI_ADDRESS.fullmatch(function.name):
        # A device without hardware, such as soft RoCE (rxe), which belongs to a network interface.
        return None
    return msgspec.structs.replace(
        _read_function(function, vf_numbers),
        name=entry.name,
        node_guid=read_attribute(entry / "node_guid"),
        firmware=read_attribute(entry / "fw_ver"),
        board=read_attribute(entry / "board_id"),
        ports=tuple(_read_port(number, port) for number, port in _ports(entry)),
        pkeys=tuple(sorted({read_attribute(port / "pkeys/0") for _, port in _ports(entry) if _has_pkeys(port)} - {""})),
    )


def _read_function(function: Path, vf_numbers: Callable[[Path], dict[str, int]]) -> Hca:
    """Read what a PCI function shows of an HCA, without its RDMA device."""
    pf = _target(function / "physfn") if (function / "physfn").exists() else None
    return Hca(
        pci=function.name,
        vendor=read_attribute(function / "vendor").removeprefix("0x"),
        device=read_attribute(function / "device").removeprefix("0x"),
        driver=link_name(function / "driver"),
        numa=read_number(function / "numa_node"),
        netdevs=tuple(path.name for path in sorted_entries(function / "net")),
        link_types=_link_types(function) or (_link_types(pf) if pf else ()),
        pf=pf.name if pf else "",
        pf_names=_names(pf) if pf else (),
        vf=vf_numbers(pf).get(function.name) if pf else None,
        vfs=_count(function / "sriov_numvfs"),
        acpi_index=read_attribute(function / "acpi_index"),
        path=str(function),
        **_device_files(function),
    )


def _device_files(function: Path) -> dict[str, Any]:
    """Find the names of a PCI function's device files, as fields of an Hca.

    Only the function's own directory shows them reliably: the `ibdev` attribute of a device file is the name of its
    RDMA device, which a container with CAP_NET_ADMIN can change, even to the last known name of another one.
    """

    def find(directory: str, kind: str) -> tuple[str, ...]:
        return tuple(
            path.name for path in sorted_entries(function / directory) if path.name.rstrip("0123456789") == kind
        )

    return {
        "uverbs": next(iter(find("infiniband_verbs", "uverbs")), ""),
        "umads": find("infiniband_mad", "umad"),
        "issms": find("infiniband_mad", "issm"),
    }


def _link_types(function: Path) -> tuple[str, ...]:
    types = {_ETHER: "ether", _INFINIBAND: "infiniband"}
    kinds = {read_attribute(netdev / "type") for netdev in sorted_entries(function / "net")}
    return tuple(sorted(types[kind] for kind in kinds if kind in types))


def _names(function: Path) -> tuple[str, ...]:
    return tuple(path.name for kind in ("net", "infiniband") for path in sorted_entries(function / kind))


def _ports(entry: Path) -> Iterator[tuple[int, Path]]:
    """Return the ports of a device, with their numbers."""
    return ((int(port.name), port) for port in sorted_entries(entry / "ports") if re.fullmatch(_DIGITS, port.name))


def _read_port(number: int, port: Path) -> Port:
    rate = re.match(rf"{_DIGITS}(\.{_DIGITS})?", read_attribute(port / "rate"))
    return Port(
        number,
        _state(port / "state"),
        _state(port / "phys_state"),
        read_attribute(port / "link_layer"),
        float(rate[0]) if rate else 0,
    )


def _has_pkeys(port: Path) -> bool:
    """Return whether partition keys have a meaning: ports with other link layers have one that means nothing."""
    return read_attribute(port / "link_layer") == INFINIBAND


def _state(path: Path) -> str:
    """Return the word in a state such as "4: ACTIVE"."""
    return read_attribute(path).partition(":")[2].strip()


def _vf_numbers(pf: Path) -> dict[str, int]:
    """Read the numbers of a physical function's virtual functions, by PCI address."""
    links = (
        entry for entry in sorted_entries(pf) if re.fullmatch(f"virtfn{_DIGITS}", entry.name) and entry.is_symlink()
    )
    return {link.readlink().name: int(link.name.removeprefix("virtfn")) for link in links}


def _target(link: Path) -> Path:
    """Follow a link.

    Raises:
        OSError: the link leads nowhere, or to itself.
    """
    return Path(os.path.realpath(link, strict=True))


def _count(path: Path) -> int:
    """Read a count; 0 if the kernel does not show it.

    Raises:
        ValueError: the content is not a number.
    """
    text = read_attribute(path)
    if text and not re.fullmatch(_DIGITS, text):
        raise ValueError(f"{path.name} is {text!r:.40}, expected a number")
    return int(text or 0)
