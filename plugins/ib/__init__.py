"""InfiniBand and RDMA devices as rdma/hca."""

from collections.abc import Iterable

from hub import Device, NoDevices, Plugin

RDMA_DEVICES = "/sys/class/infiniband"
"""One entry for each RDMA device; there as long as the kernel's RDMA core is loaded."""


class IB(Plugin):
    """Says so far whether there could be RDMA devices, and serves none."""

    resource = "rdma/hca"

    def devices(self) -> Iterable[Device]:
        """No device, with the reason."""
        if not self.host.path(RDMA_DEVICES).exists():
            raise NoDevices(f"the kernel has no RDMA support loaded: there is no {RDMA_DEVICES}")
        if not self.host.glob(f"{RDMA_DEVICES}/*"):
            raise NoDevices(f"there is no RDMA device on this node: {RDMA_DEVICES} is empty")
        raise NoDevices("there are RDMA devices, but this version does not serve them yet")
