"""Choose HCAs for a container: on few NUMA nodes, spread over the HCAs, the least used first."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hub import Device

Closeness = Callable[[str, str], int]
"""Returns how close two devices are, by PCI address: greater is closer."""


def prefer(  # noqa: PLR0917 - the kubelet's request, and the facts to answer it
    totals: Mapping[str, int],
    available: Sequence[Device],
    required: Sequence[Device],
    size: int,
    gpus: Sequence[str],
    closeness: Closeness,
) -> Sequence[Device]:
    """Choose the best `size` devices, including the required ones; none if the request is inconsistent.

    Args:
        totals: The number of devices by HCA, including allocated ones.
        available: The devices that can be allocated.
        required: Those that will be allocated in any case.
        size: The number of devices to choose.
        gpus: PCI addresses of the GPUs that the same container just got; the first HCA is chosen close to the first
            GPU, and so on.
        closeness: Compares the places of two devices.
    """
    by_id = {device.id: device for device in available}
    kept = [device.id for device in required]
    if not by_id.keys() >= set(kept) or not len(kept) <= size <= len(by_id):
        return []
    used = Counter(totals)
    used.subtract(Counter(device.physical for device in by_id.values()))
    taken = Counter(device.physical for device in required)
    chosen = list(required)
    left = [device for device in by_id.values() if device.id not in set(kept)]
    partners = list(gpus)
    near = {node for device in required for node in device.numa} or _best_node(left, size)
    while len(chosen) < size:
        best = min(
            left,
            key=lambda device: (
                taken[device.physical],
                -closeness(partners[0], device.physical) if partners else 0,
                not near.intersection(device.numa),
                used[device.physical],
                device.physical,
                len(device.id),
                device.id,
            ),
        )
        left.remove(best)
        chosen.append(best)
        taken[best.physical] += 1
        del partners[:1]
    return chosen


def _best_node(devices: Sequence[Device], size: int) -> set[int]:
    """Return the NUMA node with the fewest HCAs that has enough of them, else the one with the most."""
    hcas: dict[int, set[str]] = {}
    for device in devices:
        for node in device.numa:
            hcas.setdefault(node, set()).add(device.physical)
    if not hcas:
        return set()
    enough = {node: len(found) for node, found in hcas.items() if len(found) >= size}
    return {
        min(enough, key=lambda node: (enough[node], node)) if enough else max(hcas, key=lambda n: (len(hcas[n]), -n))
    }
