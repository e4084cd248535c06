"""Read the topology of KFD, the compute part of the driver, which ROCm uses to find GPUs.

KFD shows a GPU only to processes that may open the GPU's device files. In a container, that depends on its device
permissions, even for root.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hub import Host, MissingError, UnreadableError, read_attribute, read_number
from plugins.amd.discovery.facts import KfdNode, Link
from plugins.amd.discovery.files import DIGITS, entries, properties

KFD = "/sys/class/kfd/kfd"
"""Exists while the driver's compute part is loaded."""

_NODES = f"{KFD}/topology/nodes"

_PROPERTIES = (
    *("drm_render_minor", "domain", "location_id", "unique_id"),
    *("gfx_target_version", "simd_count", "simd_per_cu"),
)


class Topology(NamedTuple):
    """The GPUs that KFD shows."""

    nodes: Sequence[KfdNode]
    """Sorted by number."""
    hidden: Mapping[int, str]
    """Why other GPUs cannot be read, by number."""


def read_topology(host: Host) -> Topology:
    """Read all GPUs; processors are left out."""
    nodes, hidden = [], {}
    for directory in entries(host.path(_NODES), DIGITS):
        try:
            known = properties(directory / "properties", _PROPERTIES)
        except MissingError:
            # The node was removed in the meantime.
            continue
        except UnreadableError as error:
            hidden[int(directory.name)] = error.problem
            continue
        if known["drm_render_minor"]:
            nodes.append(
                KfdNode(
                    int(directory.name),
                    read_number(directory / "gpu_id") or 0,
                    known["drm_render_minor"],
                    card_key(known["unique_id"], known["domain"], known["location_id"]),
                    _architecture(known["gfx_target_version"]),
                    _memory(host, directory.name),
                    known["simd_count"],
                    known["simd_per_cu"],
                    partition_number(known["location_id"]),
                )
            )
    return Topology(nodes, hidden)


def card_key(serial: int, domain: int, location: int) -> tuple[int, int, int]:
    """Return what the partitions of a card have in common.

    A location has the bus in bits 15 to 8 and the device in bits 7 to 3.
    """
    return serial, domain, location >> 3 & 0x1FFF


def partition_number(location: int) -> int:
    """Return the number of a partition: bits 31 to 28 of its location, or the lowest bits, depending on the kernel."""
    return location >> 28 & 0xF or location & 7


def read_links(host: Host, node: int) -> Mapping[int, Link]:
    """Read the links of a GPU, by the number of the node to which they lead."""
    links: dict[int, Link] = {}
    for kind in ("io_links", "p2p_links"):
        for directory in entries(host.path(f"{_NODES}/{node}/{kind}"), DIGITS):
            try:
                known = properties(directory / "properties", ("node_to", "type"))
            except UnreadableError:
                continue
            link = Link(known["type"]) if known["type"] in set(Link) else Link.NONE
            links[known["node_to"]] = max(link, links.get(known["node_to"], Link.NONE))
    return links


def generation(host: Host) -> str:
    """Return a string that changes whenever the topology does; empty if KFD does not exist."""
    return read_attribute(host.path(f"{KFD}/topology/generation_id"))


def gpu_ids(host: Host, render_minors: Iterable[int]) -> Mapping[int, int]:
    """Return KFD's numbers for GPUs, by the numbers of their render nodes; GPUs that KFD does not show are left out."""
    wanted = set(render_minors)
    return {node.render_minor: node.gpu_id for node in read_topology(host).nodes if node.render_minor in wanted}


def _memory(host: Host, node: str) -> int:
    try:
        return properties(host.path(f"{_NODES}/{node}/mem_banks/0/properties"), ("size_in_bytes",))["size_in_bytes"]
    except UnreadableError:
        return 0


def _architecture(version: int) -> str:
    """Return the name of an architecture: 90402 is gfx942, 90010 is gfx90a, 110003 is gfx1103."""
    major, minor, stepping = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{stepping:x}" if version else ""
