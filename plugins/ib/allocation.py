"""Build what a container gets for its HCAs."""

import json
import re
from collections.abc import Mapping, Sequence

from hub import Allocation, DeviceNode, Host
from plugins.ib.discovery.facts import Hca
from plugins.ib.resources import selected_by
from plugins.ib.settings import ExtraNode, Mode, Pool

DIRECTORY = "/dev/infiniband"

VHOST_NET, TUN = "/dev/vhost-net", "/dev/net/tun"

Files = Mapping[str, Sequence[DeviceNode]]
"""Device files by the PCI address of their HCA."""


def device_nodes(host: Host, pool: Pool, hca: Hca) -> list[DeviceNode]:
    """Return the device files of an HCA that the pool selects, if they exist; the uverbs file is always included."""
    names = [hca.uverbs]
    if ExtraNode.UMAD in pool.nodes:
        names += hca.umads
    if ExtraNode.ISSM in pool.nodes:
        names += hca.issms
    if ExtraNode.RDMA_CM in pool.nodes:
        names.append("rdma_cm")
    existing = [name for name in names if name == hca.uverbs or host.path(f"{DIRECTORY}/{name}").exists()]
    paths = [f"{DIRECTORY}/{name}" for name in existing]
    selectors = selected_by(pool, hca)
    if selectors and selectors.need_vhost_net and all(host.path(path).exists() for path in (VHOST_NET, TUN)):
        paths += [VHOST_NET, TUN]
    return [DeviceNode(path, permissions=pool.permissions) for path in paths]


def allocation(pool: Pool, hcas: Sequence[Hca], files: Files) -> Allocation:
    """Return what a container gets for these HCAs of a pool.

    The variables are the ones that the SR-IOV device plugin sets, and those by which NCCL and UCX find their devices.

    Args:
        pool: The pool of the HCAs.
        hcas: The HCAs, each once.
        files: Their device files.
    """
    env = {}
    if pool.mode is not Mode.POOL:
        variable = "PCIDEVICE_" + re.sub("[./]", "_", pool.resource).upper()
        env[variable] = ",".join(hca.pci for hca in hcas)
        env[f"{variable}_INFO"] = json.dumps(
            {hca.pci: _info(pool, hca, files[hca.pci]) for hca in hcas}, separators=(",", ":")
        )
        if pool.nccl_ib_hca:
            env["NCCL_IB_HCA"] = ",".join(hca.name for hca in hcas)
        if pool.ucx_net_devices:
            env["UCX_NET_DEVICES"] = ",".join(f"{hca.name}:{number}" for hca in hcas for number in _port_numbers(hca))
    nodes = dict.fromkeys(node for hca in hcas for node in files[hca.pci])
    return Allocation(nodes=list(nodes), env=env)


def _port_numbers(hca: Hca) -> list[int]:
    """Return the numbers of the ports; a hidden device is a virtual function, which has one port."""
    return [port.number for port in hca.ports] or [1]


def _info(pool: Pool, hca: Hca, files: Sequence[DeviceNode]) -> dict[str, dict[str, str]]:
    """Describe an HCA as the SR-IOV device plugin does, which gives only the last of several files of a kind."""
    paths = [str(node.container_path) for node in files]
    kinds = {re.sub("[0-9]+$", "", path.rpartition("/")[2]): path for path in paths if path.startswith(DIRECTORY)}
    info = {"generic": {"deviceID": hca.pci}, "rdma": {**kinds, "rdma_dev": hca.name}}
    if VHOST_NET in paths:
        info["vhost"] = {"net-mount": VHOST_NET, "tun-mount": TUN}
    if pool.additional_info:
        info["extra"] = {**pool.additional_info.get("*", {}), **pool.additional_info.get(hca.pci, {})}
    return info
