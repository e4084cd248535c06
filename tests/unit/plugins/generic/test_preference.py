"""Which devices of a resource a container gets."""

from hub import Device
from plugins.generic.preference import prefer


def _devices(*places: tuple[str, int], shares: int = 1) -> list[Device]:
    return [
        Device(f"{name}::{share}", "x", numa=[node], physical=name) for name, node in places for share in range(shares)
    ]


def _chosen(available: list[Device], size: int, *required: str) -> list[str]:
    order = {("x", device.id): number for number, device in enumerate(available)}
    needed = [device for device in available if device.id in required]
    return [device.id for device in prefer(list(reversed(available)), needed, size, order)]


def test_one_numa_node() -> None:
    """The node with the fewest devices that suffice is chosen, or that of a required device."""
    available = _devices(("a", 0), ("b", 1), ("c", 1), ("d", 0), ("e", 0))
    assert _chosen(available, 2) == ["b::0", "c::0"]
    assert _chosen(available, 3) == ["a::0", "d::0", "e::0"]
    assert _chosen(available, 2, "e::0") == ["e::0", "a::0"]
    assert sorted(_chosen(available, 4)) == ["a::0", "b::0", "d::0", "e::0"]


def test_shares_of_different_hardware() -> None:
    """A container does not get two shares of one device while there is another one; the least used come first."""
    available = _devices(("a", 0), ("b", 0), shares=3)
    assert _chosen(available, 2) == ["a::0", "b::0"]
    assert _chosen(available[2:], 1) == ["b::0"]
    assert _chosen(available, 5) == ["a::0", "b::0", "a::1", "b::1", "a::2"]


def test_numeric_order() -> None:
    """Without NUMA nodes, a container gets the first devices of the resource."""
    available = [Device(f"video{number}", "x", physical=f"video{number}") for number in (1, 2, 10)]
    assert _chosen(available, 2) == ["video1", "video2"]


def test_an_inconsistent_request() -> None:
    """In this case, the kubelet chooses."""
    (device,) = _devices(("a", 0))
    assert prefer([device], [], 2, {}) == []
    assert prefer([], [device], 1, {}) == []
