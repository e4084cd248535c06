"""Choose GPUs that are close to each other, and keep whole cards free for other containers.

The distance between two GPUs is the sum of three parts, as in ROCm's plugin: whether they are on one card, how they are
linked, and whether they are on one NUMA node. That plugin compares all sets of the requested size; this one starts at
each card in turn, always adds the GPU that is closest to those chosen so far, and takes the best of these sets. It
needs a millisecond or two even for 64 partitions.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from hub import Device
from plugins.amd.discovery.facts import Card, Link

SAME_CARD, OTHER_CARD = 10, 20
SAME_NUMA, OTHER_NUMA = 10, 20
LINKS = {Link.XGMI: 10, Link.PCIE: 40, Link.NONE: 50}

Distance = Callable[[str, str], int]
"""The distance between two GPUs, given the PCI addresses of their cards."""


class Candidate(msgspec.Struct, frozen=True):
    """An available device."""

    device: Device
    card: str
    gpu: str
    """The GPU or partition, of which there may be several shares."""


def distance(one: Card, other: Card, link: Link) -> int:
    """Return the distance between two GPUs on these cards, which may be the same."""
    if one.pci == other.pci:
        return SAME_CARD + LINKS[Link.XGMI] + SAME_NUMA
    return OTHER_CARD + LINKS[link] + (SAME_NUMA if one.numa == other.numa else OTHER_NUMA)


def prefer(
    available: Sequence[Candidate], required: Sequence[Candidate], size: int, distance: Distance
) -> Sequence[Device]:
    """Choose the best `size` devices, including the required ones; none if the request is inconsistent."""
    ids = {each.device.id for each in available}
    kept = {each.device.id for each in required}
    if not ids >= kept or not len(kept) == len(required) <= size <= len(ids):
        return []
    if size == len(ids):
        return [each.device for each in available]
    free: _Free = {}
    # In reverse, because devices are taken from the ends of the lists.
    for each in reversed(available):
        if each.device.id not in kept:
            free.setdefault(each.card, {}).setdefault(each.gpu, []).append(each.device)
    starts = [""] if required or not size else reversed(free)
    return min((_chosen(free, required, size, distance, start) for start in starts), key=lambda each: each.rank).devices


_Free = dict[str, dict[str, list[Device]]]
"""The free shares of each GPU, by card; the next one to take is the last."""


class _Set:
    """Devices that are chosen one after another.

    Args:
        free: The free shares.
        required: Devices to begin with.
        distance: The distance between two GPUs.
    """

    def __init__(self, free: _Free, required: Sequence[Candidate], distance: Distance) -> None:
        self.devices = [each.device for each in required]
        self._free = {card: {gpu: list(shares) for gpu, shares in gpus.items()} for card, gpus in free.items()}
        self._distance = distance
        self._taken = Counter(each.gpu for each in required)
        self._costs = {card: sum(distance(each.card, card) for each in required) for card in free}
        self._repeated = 0
        self._total = 0
        self._first = (0, 0)

    @property
    def rank(self) -> tuple[int, int, tuple[int, int]]:
        """A sort key, smallest for the best set: fewest repeated uses of a GPU, then the closest GPUs."""
        return self._repeated, self._total, self._first

    def add(self, card: str) -> None:
        """Add a device on this card."""
        gpu = self._best_gpu(card)
        self._first = self._first if self.devices else self._use_of(card)
        self._total += self._costs[card]
        self._repeated += self._taken[gpu]
        self._taken[gpu] += 1
        self.devices.append(self._free[card][gpu].pop())
        if not self._free[card][gpu]:
            del self._free[card][gpu]
        for other in self._costs:
            self._costs[other] += self._distance(card, other)

    def best_card(self) -> str:
        """Return the card of the best device to add; of equally close cards, the card with the fewest free GPUs."""
        left = reversed([card for card, gpus in self._free.items() if gpus])
        return min(left, key=lambda card: (self._taken[self._best_gpu(card)], self._costs[card], self._use_of(card)))

    def _best_gpu(self, card: str) -> str:
        gpus = self._free[card]
        return min(reversed(gpus), key=lambda gpu: (self._taken[gpu], -len(gpus[gpu])))

    def _use_of(self, card: str) -> tuple[int, int]:
        """Return a sort key: cards with few free GPUs first, and among shared GPUs, the least used."""
        gpus = self._free[card]
        return len(gpus), -max(map(len, gpus.values()))


def _chosen(free: _Free, required: Sequence[Candidate], size: int, distance: Distance, start: str) -> _Set:
    chosen = _Set(free, required, distance)
    if start:
        chosen.add(start)
    while len(chosen.devices) < size:
        chosen.add(chosen.best_card())
    return chosen
