"""Build what a container gets for its HCAs."""

import json
import re
from collections.abc import Sequence

from hub import Allocation, DeviceNode, Host
from plugins.ib.discovery.facts import Hca
from plugins.ib.settings import ExtraNode, Mode, Pool

DIRECTORY = "/dev/infiniband"


def device_nodes(host: Host, pool: Pool, hca: Hca) -> list[DeviceNode]:
    """Return the device files of an HCA that the pool selects, if they exist; uverbs always does."""
    names = [hca.uverbs]
    if ExtraNode.UMAD in pool.nodes:
        names += hca.umads
    if ExtraNode.ISSM in pool.nodes:
        names += hca.issms
    if ExtraNode.RDMA_CM in pool.nodes:
        names.append("rdma_cm")
    existing = [name for name in names if name == hca.uverbs or host.path(f"{DIRECTORY}/{name}").exists()]
    return [DeviceNode(f"{DIRECTORY}/{name}", permissions=pool.permissions) for name in existing]


def allocation(pool: Pool, hcas: Sequence[Hca], nodes: Sequence[DeviceNode]) -> Allocation:
    """Return what a container gets for these HCAs of a pool.

    The variables are those of the SR-IOV device plugin, and those by which NCCL and UCX find their devices.

    Args:
        pool: The pool of the HCAs.
        hcas: The HCAs, each once.
        nodes: Their device files, each once.
    """
    env = {}
    if pool.mode is not Mode.POOL:
        variable = "PCIDEVICE_" + re.sub("[./-]", "_", pool.resource).upper()
        env[variable] = ",".join(hca.pci for hca in hcas)
        env[f"{variable}_INFO"] = json.dumps({hca.pci: _info(hca) for hca in hcas}, separators=(",", ":"))
        if pool.nccl_ib_hca:
            env["NCCL_IB_HCA"] = ",".join(hca.name for hca in hcas)
        if pool.ucx_net_devices:
            env["UCX_NET_DEVICES"] = ",".join(f"{hca.name}:{number}" for hca in hcas for number in _port_numbers(hca))
    return Allocation(nodes=nodes, env=env)


def _port_numbers(hca: Hca) -> list[int]:
    """Return the numbers of the ports; a hidden device is a virtual function, which has one."""
    return [port.number for port in hca.ports] or [1]


def _info(hca: Hca) -> dict[str, dict[str, str]]:
    return {"generic": {"deviceID": hca.pci}, "rdma": {"uverbs": f"{DIRECTORY}/{hca.uverbs}"}}
