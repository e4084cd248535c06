"""Choose HCAs for a container: on as few NUMA nodes as possible, spread over the HCAs, the least used first."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, islice, repeat

from hub import Device, best_numa_nodes

Closeness = Callable[[str, str], int]
"""The closeness of two devices, given their PCI addresses: greater is closer."""


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
        closeness: Compares the positions of two devices.
    """
    by_id = {device.id: device for device in available}
    kept = {device.id for device in required}
    if not by_id.keys() >= kept or not len(required) <= size <= len(by_id):
        return []
    used = Counter(totals)
    used.subtract(Counter(device.physical for device in by_id.values()))
    left = [device for device in by_id.values() if device.id not in kept]
    near = {node for device in required for node in device.numa} or best_numa_nodes(left, size)
    chosen = _Chosen(required, used, near)
    for gpu in islice(chain(gpus, repeat("")), size - len(required)):
        close = {device.id: closeness(gpu, device.physical) if gpu else 0 for device in left}
        best = min(left, key=partial(chosen.rank, close))
        left.remove(best)
        chosen.add(best)
    return chosen.devices


class _Chosen:
    """The devices chosen so far.

    Args:
        required: Those to begin with.
        used: The number of allocated devices by HCA.
        near: NUMA nodes that are preferred.
    """

    def __init__(self, required: Sequence[Device], used: Mapping[str, int], near: set[int]) -> None:
        self.devices = list(required)
        self._taken = Counter(device.physical for device in required)
        self._used = used
        self._near = near

    def rank(self, close: Mapping[str, int], device: Device) -> tuple[int, int, bool, int, str, int, str]:
        """Return a sort key; the device with the smallest is the best to add.

        Args:
            close: How close each device is to the GPU that it is for, by id.
            device: The device.
        """
        return (
            self._taken[device.physical],
            -close[device.id],
            not self._near.intersection(device.numa),
            self._used[device.physical],
            device.physical,
            len(device.id),
            device.id,
        )

    def add(self, device: Device) -> None:
        """Add a device."""
        self.devices.append(device)
        self._taken[device.physical] += 1
