"""Which HCA belongs to which pool, and which to none."""

from collections.abc import Sequence

import msgspec

from plugins.ib.facts import Hca
from plugins.ib.settings import Pool


class Sorted(msgspec.Struct, frozen=True):
    """HCAs by pool, in the order of the pools."""

    members: tuple[tuple[Pool, tuple[Hca, ...]], ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """What is left out, by PCI address, and why."""


def sort_out(pools: Sequence[Pool], hcas: Sequence[Hca], default_route: Sequence[str]) -> Sorted:
    """Give each HCA to the first pool that selects it.

    Args:
        pools: What is configured.
        hcas: What there is.
        default_route: Network interfaces that the node itself depends on.
    """
    members: list[list[Hca]] = [[] for _ in pools]
    excluded = {}
    for hca in hcas:
        matching = [number for number, pool in enumerate(pools) if _selects(pool, hca)]
        why = _why_not(hca, default_route) or ("" if matching else "no pool selects it")
        if why:
            excluded[hca.pci] = f"{hca.name}: {why}"
            continue
        members[matching[0]].append(hca)
        for other in matching[1:]:
            clash = f"{hca.pci} ({hca.name}) is selected by {pools[matching[0]].resource} too, which comes first"
            excluded[f"{pools[other].resource} {hca.pci}"] = clash
    return Sorted(tuple(zip(pools, map(tuple, members), strict=True)), tuple(excluded.items()))


def _selects(pool: Pool, hca: Hca) -> bool:
    selectors = pool.selectors
    wanted = (
        (_hex(selectors.vendors), {hca.vendor}),
        (_hex(selectors.device_ids), {hca.device}),
        (set(selectors.drivers), {hca.driver}),
        (set(pool.if_names), set(hca.netdevs)),
        ({kind.lower() for kind in selectors.link_types}, set(hca.link_types)),
    )
    return all(wishes & found for wishes, found in wanted if wishes)


def _hex(numbers: Sequence[str]) -> set[str]:
    return {number.lower().removeprefix("0x") for number in numbers}


def _why_not(hca: Hca, default_route: Sequence[str]) -> str:
    if hca.pf:
        return "it is a virtual function, and no pool is in mode vf"
    if hca.vfs:
        return f"it has {hca.vfs} virtual functions, which are what is to be used of it"
    if not hca.driver:
        return "no driver is bound to it"
    if not hca.uverbs:
        return "it has no uverbs device, so no application can use it"
    routes = set(default_route) & set(hca.netdevs)
    return f"the node's default route is on its interface {min(routes)}" if routes else ""
