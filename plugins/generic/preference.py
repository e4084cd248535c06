"""Choose devices for a container: on as few NUMA nodes as possible, spread over the hardware, in order."""

from collections import Counter
from collections.abc import Mapping, Sequence

from hub import Device, best_numa_nodes


def prefer(
    available: Sequence[Device], required: Sequence[Device], size: int, order: Mapping[tuple[str, str], int]
) -> list[Device]:
    """Choose the best `size` devices, including the required ones; none if the request is inconsistent.

    Args:
        available: The devices that can be allocated.
        required: Those that will be allocated in any case.
        size: The number of devices to choose.
        order: The position of each device in the resource, by resource and id.
    """
    by_id = {device.id: device for device in available}
    kept = {device.id for device in required}
    if not by_id.keys() >= kept or not len(kept) <= size <= len(by_id):
        return []
    left = [device for device in by_id.values() if device.id not in kept]
    near = {node for device in required for node in device.numa} or best_numa_nodes(left, size)
    free = Counter(device.physical for device in left)
    taken = Counter(device.physical for device in required)

    def rank(device: Device) -> tuple[int, bool, int, int]:
        # A second share of the same hardware is of no use to a container, so other hardware comes first.
        is_far = not near.intersection(device.numa)
        return (
            taken[device.physical],
            is_far,
            -free[device.physical],
            order.get((device.resource, device.id), len(order)),
        )

    chosen = list(required)
    while len(chosen) < size:
        best = min(left, key=rank)
        left.remove(best)
        free[best.physical] -= 1
        taken[best.physical] += 1
        chosen.append(best)
    return chosen
