"""Node labels for the ports of the RDMA devices. No other program defines names for them."""

from collections.abc import Sequence

from plugins.ib.discovery.facts import ETHERNET, INFINIBAND, Hca

_PREFIX = "dphub.dev/rdma"
_ACTIVE = "ACTIVE"


def node_labels(hcas: Sequence[Hca]) -> dict[str, str]:
    """Return the node labels for these RDMA devices; none if there is no device.

    A virtual function has the port of its physical function, so it counts only if the physical function is elsewhere,
    as in a virtual machine.
    """
    if not hcas:
        return {}
    own = {hca.pci for hca in hcas}
    ports = [port for hca in hcas if hca.pf not in own for port in hca.ports]
    found = {f"{_PREFIX}.capable": "true"}
    for layer in (INFINIBAND, ETHERNET):
        name = f"{_PREFIX}.{layer.lower()}"
        if count := sum(port.link_layer == layer for port in ports):
            found[f"{name}.ports"] = str(count)
        # A port that is down reports the lowest rate that it supports.
        rates = [
            port.rate for port in ports if port.link_layer == layer and port.state.startswith(_ACTIVE) and port.rate
        ]
        if rates:
            found[f"{name}.rate"] = f"{max(rates):g}"
    return found
