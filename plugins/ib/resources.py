"""Assign HCAs to pools."""

from collections.abc import Sequence

import msgspec

from plugins.ib.discovery.facts import Hca
from plugins.ib.settings import Mode, Pool, Selectors


class PoolMembers(msgspec.Struct, frozen=True):
    """HCAs by pool, in pool order."""

    members: tuple[tuple[Pool, tuple[Hca, ...]], ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """Excluded HCAs, by PCI address, and the reasons."""


def assign_pools(pools: Sequence[Pool], hcas: Sequence[Hca], default_route: Sequence[str]) -> PoolMembers:
    """Assign each HCA to the first pool that selects it and can use it.

    If that pool is shared, the HCA belongs to all shared pools that select it and can use it.

    Args:
        pools: The configured pools.
        hcas: The HCAs on the node.
        default_route: Network interfaces that the node itself depends on.
    """
    members: list[list[Hca]] = [[] for _ in pools]
    excluded = {}
    for hca in hcas:
        matching = [number for number, pool in enumerate(pools) if selected_by(pool, hca)]
        possible = [number for number in matching if not _unusable(hca, pools[number].mode, default_route)]
        why = _unusable(hca, pools[matching[0]].mode, default_route) if matching else _unselected(hca)
        matching, why = (possible, "") if possible else (matching, why)
        if why:
            excluded[hca.pci] = f"{hca.name or 'virtual function'}: {why}"
            continue
        owners = _owners(pools, matching)
        for owner in owners:
            members[owner].append(hca)
        for other in sorted(set(matching).difference(owners)):
            clash = f"{hca.pci} ({hca.name}) is also selected by {pools[matching[0]].resource}, which comes first"
            excluded[f"{pools[other].resource} {hca.pci}"] = clash
    return PoolMembers(tuple(zip(pools, map(tuple, members), strict=True)), tuple(excluded.items()))


def _owners(pools: Sequence[Pool], matching: Sequence[int]) -> Sequence[int]:
    """Return the pools that get an HCA: in pool mode all that select it, as in the shared plugin; otherwise one."""
    if pools[matching[0]].mode is not Mode.POOL:
        return matching[:1]
    return [number for number in matching if pools[number].mode is Mode.POOL]


def _unselected(hca: Hca) -> str:
    if hca.hidden and not hca.name:
        return "no pool selects it; only part of its data is known while a pod is using it"
    return "no pool selects it"


def selected_by(pool: Pool, hca: Hca) -> Selectors | None:
    """Return the first of a pool's selectors that select an HCA; None if the pool does not."""
    return next((selectors for selectors in pool.alternatives if _matches(selectors, hca)), None)


def _matches(selectors: Selectors, hca: Hca) -> bool:
    wanted = (
        (_hex(selectors.vendors), {hca.vendor}),
        (_hex(selectors.device_ids), {hca.device}),
        (set(selectors.drivers), {hca.driver}),
        (set(selectors.if_names), set(hca.netdevs)),
        ({kind.lower() for kind in selectors.link_types}, set(hca.link_types)),
        (set(selectors.pci_addresses), {hca.pci}),
        ({key.lower() for key in selectors.p_keys}, set(hca.pkeys)),
        (set(selectors.acpi_indexes), {hca.acpi_index}),
    )
    of_functions = (
        (selectors.pf_names, hca.pf_names),
        (selectors.root_devices, (hca.pf,) if hca.pf else ()),
    )
    return all(names & found for names, found in wanted if names) and all(
        any(_is_function_of(selector, names, hca.vf) for selector in listed) for listed, names in of_functions if listed
    )


def _is_function_of(selector: str, names: Sequence[str], number: int | None) -> bool:
    """Return whether a selector such as "ib0#0,2-7" matches the virtual function with this number of a physical one."""
    name, _, numbers = selector.partition("#")
    if name not in names:
        return False
    ranges = [part.partition("-") for part in numbers.split(",") if part]
    return not ranges or any(number is not None and int(low) <= number <= int(high or low) for low, _, high in ranges)


def _hex(numbers: Sequence[str]) -> set[str]:
    return {number.lower().removeprefix("0x") for number in numbers}


def _unusable(hca: Hca, mode: Mode, default_route: Sequence[str]) -> str:
    """Return why a pool of this mode cannot use an HCA; empty if it can. Pool mode accepts all others."""
    if not hca.driver:
        return "no driver is bound to it"
    if not hca.uverbs and not hca.hidden:
        return "it has no uverbs device, so applications cannot use it"
    if mode is Mode.VF and not hca.pf:
        return "it is not a virtual function, but the pool that selects it is in vf mode"
    if mode is Mode.HCA and hca.pf:
        return "it is a virtual function, which only pools in vf, function or pool mode can use"
    if mode in {Mode.HCA, Mode.FUNCTION} and hca.vfs:
        return f"it has {hca.vfs} virtual functions; use those instead"
    # While a pod has the HCA's interface, an interface of the same name that carries the route is a different one.
    here = mode is not Mode.POOL and not hca.in_pod and not hca.hidden
    routes = set(default_route) & set(hca.netdevs) if here else set()
    return f"the node's default route is on its interface {min(routes)}" if routes else ""
