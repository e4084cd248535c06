"""Choose shares of GPUs for a container: spread over the GPUs, or packed on as few as possible."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from hub import Device
from plugins.intel.settings import AllocationPolicy


def prefer(
    policy: AllocationPolicy, available: Sequence[Device], required: Sequence[Device], size: int
) -> Sequence[Device]:
    """Choose the best `size` devices, including the required ones; none if the request is inconsistent.

    Two shares of one GPU have no advantage over one. So unless the policy is to pack them, the shares of one container
    come from different GPUs if possible.

    Args:
        policy: How to choose.
        available: The devices that can be allocated.
        required: Those that will be allocated in any case.
        size: The number of devices to choose.
    """
    kept = {device.id for device in required}
    if not {device.id for device in available} >= kept or not len(kept) <= size <= len(available):
        return []
    free: dict[str, list[Device]] = {}
    # In reverse, so that the first share of each GPU is the last one of its list.
    for device in sorted(available, key=_order, reverse=True):
        if device.id not in kept:
            free.setdefault(_gpu(device), []).append(device)
    taken = Counter(map(_gpu, required))
    chosen = list(required)
    while len(chosen) < size:
        gpu = min(free, key=partial(_rank, policy, free, taken))
        chosen.append(free[gpu].pop())
        taken[gpu] += 1
        if not free[gpu]:
            del free[gpu]
    return chosen


def _gpu(device: Device) -> str:
    return device.physical or device.id


def _order(device: Device) -> tuple[tuple[int, str], int]:
    """Return a sort key; as text, the tenth share of a GPU would come before the second."""
    _, _, number = device.id.partition("::")
    return _address_order(_gpu(device)), int(number or 0)


def _address_order(address: str) -> tuple[int, str]:
    """Return a sort key; a domain with more digits comes after all others."""
    return len(address), address


def _rank(
    policy: AllocationPolicy, free: dict[str, list[Device]], taken: Counter[str], gpu: str
) -> tuple[int, int, tuple[int, str]]:
    """Return a sort key; the GPU with the smallest is the best one to take a share from."""
    match policy:
        case AllocationPolicy.PACKED:
            return -taken[gpu], len(free[gpu]), _address_order(gpu)
        case AllocationPolicy.BALANCED:
            return taken[gpu], -len(free[gpu]), _address_order(gpu)
        case AllocationPolicy.NONE:
            return taken[gpu], 0, _address_order(gpu)
