"""Which HCA belongs to which pool, and which to none."""

from collections.abc import Sequence

import msgspec

from plugins.ib.discovery.facts import Hca
from plugins.ib.settings import Mode, Pool


class PoolMembers(msgspec.Struct, frozen=True):
    """HCAs by pool, in the order of the pools."""

    members: tuple[tuple[Pool, tuple[Hca, ...]], ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """What is left out, by PCI address, and why."""


def assign_pools(pools: Sequence[Pool], hcas: Sequence[Hca], default_route: Sequence[str]) -> PoolMembers:
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
        possible = [number for number in matching if not _why_not(hca, pools[number].mode, default_route)]
        why = _why_not(hca, pools[matching[0]].mode, default_route) if matching else "no pool selects it"
        matching, why = (possible, "") if possible else (matching, why)
        if why:
            excluded[hca.pci] = f"{hca.name}: {why}"
            continue
        members[matching[0]].append(hca)
        for other in matching[1:]:
            clash = f"{hca.pci} ({hca.name}) is selected by {pools[matching[0]].resource} too, which comes first"
            excluded[f"{pools[other].resource} {hca.pci}"] = clash
    return PoolMembers(tuple(zip(pools, map(tuple, members), strict=True)), tuple(excluded.items()))


def _selects(pool: Pool, hca: Hca) -> bool:
    selectors = pool.selectors
    wanted = (
        (_hex(selectors.vendors), {hca.vendor}),
        (_hex(selectors.device_ids), {hca.device}),
        (set(selectors.drivers), {hca.driver}),
        (set(pool.if_names), set(hca.netdevs)),
        ({kind.lower() for kind in selectors.link_types}, set(hca.link_types)),
        (set(selectors.pci_addresses), {hca.pci}),
        ({key.lower() for key in selectors.p_keys}, set(hca.pkeys)),
    )
    of_functions = (
        (selectors.pf_names, hca.pf_names),
        (selectors.root_devices, (hca.pf,) if hca.pf else ()),
    )
    return all(wishes & found for wishes, found in wanted if wishes) and all(
        any(_is_function_of(wish, names, hca.vf) for wish in wishes) for wishes, names in of_functions if wishes
    )


def _is_function_of(wish: str, names: Sequence[str], number: int | None) -> bool:
    """Whether "ib0#0,2-7" means a virtual function with this number, of a physical one with these names."""
    name, _, numbers = wish.partition("#")
    if name not in names:
        return False
    ranges = [part.partition("-") for part in numbers.split(",") if part]
    return not ranges or any(number is not None and int(low) <= number <= int(high or low) for low, _, high in ranges)


def _hex(numbers: Sequence[str]) -> set[str]:
    return {number.lower().removeprefix("0x") for number in numbers}


def _why_not(hca: Hca, mode: Mode, default_route: Sequence[str]) -> str:
    """Why a pool of this mode cannot have an HCA; empty when it can. A pool that all share takes what it selects."""
    if not hca.driver:
        return "no driver is bound to it"
    if not hca.uverbs:
        return "it has no uverbs device, so no application can use it"
    if mode is Mode.VF and not hca.pf:
        return "it is no virtual function, and the pool that selects it is in mode vf"
    if mode is Mode.HCA and hca.pf:
        return "it is a virtual function, which only pools in mode vf and pool can have"
    if mode is Mode.HCA and hca.vfs:
        return f"it has {hca.vfs} virtual functions, which are what is to be used of it"
    routes = set(default_route) & set(hca.netdevs) if mode is not Mode.POOL else set()
    return f"the node's default route is on its interface {min(routes)}" if routes else ""
