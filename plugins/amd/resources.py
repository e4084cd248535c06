"""Plan the advertised devices of a node: which GPU belongs to which resource, and in how many shares."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from hub import Unmatched
from plugins.amd.discovery.facts import Gpu
from plugins.amd.settings import AMDSettings, NamingStrategy, Selector

DOMAIN = "amd.com"
GPU = f"{DOMAIN}/gpu"
"""The resource of GPUs that are not named by their partition modes."""


class Share(msgspec.Struct, frozen=True):
    """One device as the kubelet sees it: a GPU, or a share of one."""

    resource: str
    gpu: Gpu
    number: int = 0
    shares: int = 1

    @property
    def id(self) -> str:
        """Its id for the kubelet."""
        return f"{self.gpu.id}::{self.number}" if self.shares > 1 else self.gpu.id


class Plan(msgspec.Struct, frozen=True):
    """The advertised devices."""

    shares: tuple[Share, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """Excluded GPUs, and the reasons."""
    unmatched: tuple[Unmatched, ...] = ()
    """Keys that match no GPU."""


def declared(settings: AMDSettings) -> Iterable[str]:
    """Return the resources to serve even without a GPU; those named after modes exist only with their GPUs."""
    names = [each.name for each in settings.resources]
    return dict.fromkeys([*names, GPU] if settings.resource_naming_strategy is NamingStrategy.SINGLE else names)


def plan(settings: AMDSettings, gpus: Sequence[Gpu]) -> Plan:
    """Plan which devices to advertise for these GPUs."""
    excluded: dict[str, str] = {}
    shares: list[Share] = []
    chosen = list(_chosen(settings, gpus, excluded))
    named, rest = _named(settings, chosen)
    if settings.resource_naming_strategy is NamingStrategy.SINGLE:
        rest = list(_uniform(rest, excluded))
    named |= {gpu.id: (_mode_resource(settings, gpu), settings.shares) for gpu in rest}
    for gpu in chosen:
        if gpu.id in named:
            resource, count = named[gpu.id]
            shares += [Share(resource, gpu, number, count) for number in range(count)]
    return Plan(tuple(shares), tuple(excluded.items()), tuple(_unmatched(settings, gpus)))


def selects(selector: Selector, gpu: Gpu) -> bool:
    """Return whether a selector selects a GPU."""
    card = gpu.card
    gibibytes = gpu.node.vram / 2**30
    wanted = (
        (tuple(number.lower().removeprefix("0x") for number in selector.device_ids), card.device_id),
        (tuple(address.lower() for address in selector.pci_addresses), card.pci),
        (tuple(mode.lower() for mode in selector.modes), card.mode),
    )
    return (
        all(value in listed for listed, value in wanted if listed)
        and (not selector.products or any(fnmatchcase(card.product, pattern) for pattern in selector.products))
        and (selector.min_vram is None or gibibytes >= selector.min_vram)
        and (selector.max_vram is None or gibibytes <= selector.max_vram)
    )


def _chosen(settings: AMDSettings, gpus: Sequence[Gpu], excluded: dict[str, str]) -> Iterator[Gpu]:
    """Yield the GPUs that the settings do not exclude."""
    count = settings.gpu.device_count
    cards: dict[str, None] = {}
    for gpu in gpus:
        position = next(
            (position for position, selector in enumerate(settings.exclude) if selects(selector, gpu)), None
        )
        if position is not None:
            excluded[gpu.id] = f"excluded by exclude[{position}] in the settings"
            continue
        cards[gpu.card.pci] = None
        if count is not None and len(cards) > count:
            excluded[gpu.id] = f"gpu.device_count is {count}, and other cards come first"
        else:
            yield gpu


def _named(settings: AMDSettings, gpus: Sequence[Gpu]) -> tuple[dict[str, tuple[str, int]], list[Gpu]]:
    """Return the resource and number of shares of each GPU that `resources` selects, and the other GPUs."""
    named: dict[str, tuple[str, int]] = {}
    rest = []
    for gpu in gpus:
        found = next((each for each in settings.resources if selects(each.select, gpu)), None)
        if found:
            named[gpu.id] = found.name, found.shares or settings.shares
        else:
            rest.append(gpu)
    return named, rest


def _uniform(gpus: Sequence[Gpu], excluded: dict[str, str]) -> Iterator[Gpu]:
    """Yield the GPUs in the most common partition mode: all GPUs of one resource must be of the same kind.

    ROCm's plugin serves no GPU of a node with several modes.
    """
    counts = Counter(mode for _, mode in dict.fromkeys((gpu.card.pci, gpu.card.mode) for gpu in gpus) if mode)
    usual = max(counts, key=lambda mode: counts[mode], default="")
    for gpu in gpus:
        if gpu.card.mode in {"", usual}:
            yield gpu
        else:
            modes = ", ".join(f"{mode} ({count})" for mode, count in counts.items())
            excluded[gpu.id] = (
                f"its card is in mode {gpu.card.mode}, and with resource_naming_strategy single all cards must be in "
                f"one mode; this node has {modes}: set it to mixed, or change the mode of the card"
            )


def _mode_resource(settings: AMDSettings, gpu: Gpu) -> str:
    if settings.resource_naming_strategy is NamingStrategy.SINGLE or not gpu.card.mode:
        return GPU
    return f"{DOMAIN}/{gpu.card.mode}"


def _unmatched(settings: AMDSettings, gpus: Sequence[Gpu]) -> Iterator[Unmatched]:
    """Yield the keys that match no GPU, with the GPUs that the node has."""
    resources = {f"resources[{position}].select": each.name for position, each in enumerate(settings.resources)}
    for location, selector in settings.selectors.items():
        if not any(selects(selector, gpu) for gpu in gpus):
            reason = f"{location} matches no GPU of this node; {_kinds(gpus)}"
            yield Unmatched(reason, resources.get(location, ""))


def _kinds(gpus: Sequence[Gpu]) -> str:
    """Describe the GPUs by the values that selectors compare."""
    kinds = Counter(
        ", ".join(
            filter(
                None,
                [
                    gpu.card.product,
                    f"device id {gpu.card.device_id}",
                    gpu.card.mode,
                    f"{gpu.node.vram / 2**30:.0f} GiB",
                ],
            )
        )
        for gpu in gpus
    )
    return "it has " + "; ".join(f"{count} of {kind}" for kind, count in kinds.items()) if kinds else "it has none"
