"""Device information files, from which Multus and CNI plugins read facts about a function.

Their format is the device information specification (k8snetworkplumbingwg/device-info-spec).
A file is written when its function is allocated, and kept as long as the function exists: the container that uses the
function may have started during an earlier process of the plugin.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from hub import PCI_ADDRESS, Host, Runtime
from plugins.ib.discovery.facts import Hca
from plugins.ib.discovery.sysfs import function_exists
from plugins.ib.settings import Pool

DIRECTORY = "/var/run/k8s.cni.cncf.io/devinfo/dp"

_SUFFIX = "-device.json"


class DeviceInfoFiles:
    """The files of allocated functions.

    Args:
        host: The node's file system.
        runtime: Writes the files.
    """

    def __init__(self, host: Host, runtime: Runtime) -> None:
        self._host = host
        self._runtime = runtime
        self._directory = host.path(DIRECTORY)
        self._failed = False
        self._log = structlog.get_logger()

    def write(self, pool: Pool, hcas: Iterable[Hca]) -> None:
        """Write the files of these HCAs. Only the first of repeated failures is logged, as they may not be needed."""
        for hca in hcas:
            path = self._directory / f"{_prefix(pool)}{hca.pci}{_SUFFIX}"
            pci = {"pci-address": hca.pci, "rdma-device": hca.name}
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._runtime.write(path, {"type": "pci", "version": "1.1.0", "pci": pci})
            except OSError as error:
                if not self._failed:
                    self._log.error("file not written", file=str(path), reason=str(error))
                self._failed = True
            else:
                self._failed = False

    def prune(self, pools: Sequence[Pool]) -> None:
        """Remove the files of functions that the node no longer has."""
        for pool in pools:
            for path in self._directory.glob(f"{_prefix(pool)}*{_SUFFIX}"):
                pci = path.name.removeprefix(_prefix(pool)).removesuffix(_SUFFIX)
                # The name of another resource may begin with the name of this one; the rest is then not an address.
                if PCI_ADDRESS.fullmatch(pci) and not function_exists(self._host, pci):
                    self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._log.warning("file not removed", file=str(path), reason=str(error))


def _prefix(pool: Pool) -> str:
    return f"{pool.resource.replace('/', '-')}-"
