"""The `resourceList` of the SR-IOV network device plugin, for functions with an RDMA device."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from hub import validation_problem
from plugins.ib.settings.pools import ExtraNode, Functions, Hex, Mode, Names, Pool, Selectors, name_problem

USERSPACE_DRIVERS = {"vfio-pci", "uio_pci_generic", "igb_uio"}
"""Drivers with which a function has no RDMA device."""

CDI_CLASS = "net-pci"
"""The class in the CDI names of that plugin."""


class SriovSelectors(Selectors, frozen=True):
    """One of the selectors of an entry."""

    acpi_indexes: Names = ()
    need_vhost_net: bool = False


class SriovPool(Pool, frozen=True, kw_only=True):
    """An entry as a pool: containers get what that plugin gives them."""

    resource_name: str
    alternatives: tuple[SriovSelectors, ...]
    additional_info: Mapping[str, Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Skip the checks of a pool's own keys."""


class ResourceList(NamedTuple):
    """The entries."""

    pools: list[SriovPool]
    unserved: dict[str, str]
    """Why other entries are not served, by resource."""
    ignored: dict[str, list[str]]
    """Keys that have no meaning, by resource."""


class _NotServedError(Exception):
    """The reason why an entry is not served."""


def _without_case(name: str) -> str:
    """Return the spelling of a key for comparison."""
    return name.replace("_", "").lower()


class _Entry(msgspec.Struct, frozen=True, kw_only=True, rename=_without_case):
    resource_name: str
    resource_prefix: str = ""
    device_type: str = "netDevice"
    exclude_topology: bool = False
    selectors: Any = None
    additional_info: dict[str, dict[str, str]] = {}


class _Selectors(msgspec.Struct, frozen=True, kw_only=True, rename=_without_case):
    vendors: tuple[Hex, ...] = ()
    devices: tuple[Hex, ...] = ()
    drivers: Names = ()
    pci_addresses: Names = ()
    acpi_indexes: Names = ()
    pf_names: tuple[Functions, ...] = ()
    root_devices: tuple[Functions, ...] = ()
    link_types: Names = ()
    p_keys: Names = ()
    is_rdma: bool = False
    need_vhost_net: bool = False
    ddp_profiles: Names = ()
    vdpa_type: str = ""


def read_resource_list(entries: Sequence[Mapping[str, Any]], prefix: str) -> ResourceList:
    """Read the entries. As in the SR-IOV device plugin, the case of keys does not matter, and unknown keys are ignored.

    Args:
        entries: The entries of `resourceList`.
        prefix: The prefix of resources that have none.
    """
    found = ResourceList([], {}, {})
    for number, entry in enumerate(entries):
        place = f"resourceList[{number}]"
        raw = _lower(entry)
        name = f"{raw.get('resourceprefix') or prefix}/{raw['resourcename']}" if "resourcename" in raw else place
        try:
            pool = _pool(raw, prefix)
        except msgspec.ValidationError as error:
            problem, where = validation_problem(error, _Entry)
            found.unserved[name] = ": ".join(filter(None, [f"not served: {place}", where, problem]))
        except _NotServedError as error:
            found.unserved[name] = f"not served: {place}: {error}; leave it to the SR-IOV device plugin"
        else:
            found.pools.append(pool)
            if unknown := _unknown(raw):
                found.ignored[pool.resource] = unknown
    return found


def _pool(raw: Mapping[str, Any], prefix: str) -> SriovPool:
    entry = msgspec.convert(raw, _Entry)
    if entry.device_type != "netDevice":
        raise _NotServedError(f"deviceType is {entry.device_type}, and only a netDevice can have an RDMA device here")
    selectors = [msgspec.convert(each, _Selectors) for each in _listed(entry.selectors)]
    for each in selectors:
        _check_served(each)
    own_prefix = entry.resource_prefix or prefix
    if problem := name_problem(f"{own_prefix}/{entry.resource_name}"):
        raise _NotServedError(problem)
    return SriovPool(
        resource_name=entry.resource_name,
        resource_prefix=own_prefix,
        mode=Mode.FUNCTION,
        alternatives=tuple(_selectors(each) for each in selectors),
        nodes=tuple(ExtraNode),
        nccl_ib_hca=False,
        ucx_net_devices=False,
        exclude_topology=entry.exclude_topology,
        cdi_kind=f"{own_prefix}/{CDI_CLASS}",
        additional_info=entry.additional_info,
    )


def _check_served(selectors: _Selectors) -> None:
    if selectors.vdpa_type:
        raise _NotServedError("selectors.vdpaType is set, and vDPA is not supported here")
    if not selectors.is_rdma:
        raise _NotServedError("selectors.isRdma is not true, and only functions with an RDMA device are served here")
    if selectors.ddp_profiles:
        raise _NotServedError("selectors.ddpProfiles is set, and such profiles are not supported here")
    if selectors.drivers and USERSPACE_DRIVERS.issuperset(selectors.drivers):
        raise _NotServedError(f"a function with the driver {selectors.drivers[0]} has no RDMA device")


def _selectors(found: _Selectors) -> SriovSelectors:
    return SriovSelectors(
        vendors=found.vendors,
        device_ids=found.devices,
        drivers=found.drivers,
        link_types=found.link_types,
        pci_addresses=found.pci_addresses,
        pf_names=_first_by_name(found.pf_names),
        root_devices=_first_by_name(found.root_devices),
        p_keys=found.p_keys,
        acpi_indexes=found.acpi_indexes,
        need_vhost_net=found.need_vhost_net,
    )


def _first_by_name(functions: Names) -> Names:
    """Return the first entry of each physical function: that plugin ignores the others."""
    first: dict[str, str] = {}
    for entry in functions:
        first.setdefault(entry.partition("#")[0], entry)
    return tuple(first.values())


def _listed(selectors: Any) -> Sequence[Any]:  # noqa: ANN401 - parsed, not yet checked
    """Return the selectors of an entry, which are one section or a list; without any, the entry selects everything."""
    listed = selectors if isinstance(selectors, list) else [selectors or {}]
    return listed or [{}]


def _unknown(raw: Mapping[str, Any]) -> list[str]:
    known = {_without_case(name) for name in _Entry.__struct_fields__}
    known_selectors = {_without_case(name) for name in _Selectors.__struct_fields__}
    return [
        *(key for key in raw if key not in known),
        *(f"selectors.{key}" for each in _listed(raw["selectors"]) for key in each if key not in known_selectors),
    ]


def _lower(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its keys in lower case, for comparison."""
    lowered = {key.lower(): value for key, value in entry.items()}
    selectors = lowered.get("selectors")
    if isinstance(selectors, list):
        lowered["selectors"] = [_keys_lower(each) for each in selectors]
    else:
        lowered["selectors"] = _keys_lower(selectors)
    return lowered


def _keys_lower(section: object) -> object:
    return {key.lower(): value for key, value in section.items()} if isinstance(section, dict) else section
