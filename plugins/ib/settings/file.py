"""The IB plugin's configuration: the files of the RDMA shared and the SR-IOV network device plugin."""

from collections import Counter
from itertools import combinations
from typing import Annotated, Any

import msgspec

from hub import Settings
from plugins.ib.settings.pools import CdiStrategy, ExtraNode, Mode, Pool, Selectors, name_problem
from plugins.ib.settings.sriov import ResourceList, read_resource_list

MAX_POOLS = 1000
"""The maximum number of pools, which are all compared with each other; far more than a node has adapters."""

MAX_DEVICES = 100_000
"""The maximum number of devices; a kubelet accepts a list of about this length."""


class IBSettings(Settings, frozen=True, rename="camel"):
    """The whole file."""

    cdi: tuple[CdiStrategy, ...] = ()
    """How containers get CDI names instead of device files; empty: they get device files."""
    periodic_update_interval: Annotated[float, msgspec.Meta(ge=0)] = 60
    """Seconds between scans for new and removed devices; 0 disables them."""
    config_list: Annotated[tuple[Pool, ...], msgspec.Meta(max_length=MAX_POOLS)] = (
        Pool(resource_name="hca", selectors=Selectors(vendors=("15b3",)), mode=Mode.HCA),
    )
    """The pools, one resource each. By default each NVIDIA (Mellanox) HCA is a device of rdma/hca, unless there is a
    resourceList."""
    resource_list: tuple[dict[str, Any], ...] = ()
    """The pools of the SR-IOV network device plugin, as in its file."""
    resource_prefix: str = "intel.com"
    """The prefix of resources in resourceList that have none: that plugin's `-resource-prefix` flag."""

    def __post_init__(self) -> None:
        for resource, times in Counter(pool.resource for pool in self.pools).items():
            if times > 1:
                raise ValueError(f"the resource {resource} is configured {times} times, expected once")
        total = sum(pool.rdma_hca_max for pool in self.config_list)
        if total > MAX_DEVICES:
            raise ValueError(f"configList: rdmaHcaMax is {total} in total, expected at most {MAX_DEVICES}")
        for pool in self.config_list:
            if problem := name_problem(pool.resource):
                raise ValueError(f"configList: {problem}")
        for one, other in combinations(self.config_list, 2):
            both = f"{one.resource} and {other.resource}"
            shared = set(one.if_names) & set(other.if_names)
            if shared and not one.mode is other.mode is Mode.POOL:
                raise ValueError(f"configList: {both} both select the interface {min(shared)}, expected one of them")
            if self.cdi and one.full_cdi_kind == other.full_cdi_kind and _files(one) != _files(other):
                raise ValueError(
                    f"configList: {both} have the same CDI kind, {one.full_cdi_kind}: expected the same nodes and "
                    "permissions, or a cdiKind for one of them"
                )

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All pools."""
        configured = () if self.resource_list and self.config_list == type(self)().config_list else self.config_list
        return (*configured, *self.sriov.pools)

    @property
    def sriov(self) -> ResourceList:
        """The pools that resourceList defines, and what is not served."""
        return read_resource_list(self.resource_list, self.resource_prefix)


def _files(pool: Pool) -> tuple[frozenset[ExtraNode], str]:
    return frozenset(pool.nodes), pool.permissions
