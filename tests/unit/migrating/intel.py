"""Run the cases of Intel's GPU device plugin with the Intel plugin."""

from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import yaml

from hub import ConfigError, Device, Host, Mount, NoDevices
from plugins.intel import Intel
from plugins.intel.discovery import xpumd
from plugins.intel.discovery.gpus import BY_PATH
from plugins.intel.settings import IntelSettings
from scripts.migrating import Case
from tests.harness.scanned import scanned
from tests.simulators.inteltree import IntelTree
from tests.simulators.xpumd import Severity, response
from tests.unit.migrating.gpu import Result, flatten


def read_file(case: Case, directory: Path) -> IntelSettings:
    """Return the settings of the case's file.

    Raises:
        ConfigError: the file is rejected.
    """
    path = directory / "intel.yaml"
    path.write_text(yaml.safe_dump(case.set or {}))
    return IntelSettings.read(path)


def run_settings(case: Case, directory: Path) -> Result:
    """Return the values of the keys; or `rejected`."""
    try:
        settings = read_file(case, directory)
    except ConfigError:
        return "rejected"
    return dict(flatten("", msgspec.to_builtins(settings)))


def cards(tree: IntelTree) -> dict[str, str]:
    """Return the names of the GPUs' cards, such as "card0", by PCI address."""
    return {pci: Path(tree.files(pci)[0]).name for pci in tree.gpus if tree.files(pci)}


class IntelRun:
    """The Intel plugin on a simulated node.

    Args:
        case: The settings.
        tree: The node.
        directory: For the configuration file.
    """

    def __init__(self, case: Case, tree: IntelTree, directory: Path) -> None:
        self.plugin = Intel(read_file(case, directory), Host(tree.root))
        self._cards = cards(tree)
        try:
            self.devices = [each for each in scanned(self.plugin) if isinstance(each, Device)]
        except NoDevices:
            self.devices = []

    def name(self, device: Device) -> str:
        """Return the id of the device in Intel's plugin, such as "card0-1"."""
        pci, _, share = device.id.partition("::")
        return f"{self._cards[pci]}-{share or 0}" if pci in self._cards else pci

    def named(self, names: list[str]) -> list[Device]:
        """Return the devices with these ids in Intel's plugin, in this order."""
        by_name = {self.name(device): device for device in self.devices}
        return [by_name[name] for name in names]


def run_devices(case: Case, tree: IntelTree, directory: Path) -> Result:
    """Return the devices by resource."""
    result: dict[str, Any] = {}
    run = IntelRun(case, tree, directory)
    for device in run.devices:
        result.setdefault(device.resource, []).append(run.name(device))
    return result


def run_answer(case: Case, tree: IntelTree, directory: Path) -> Result:
    """Return the files, links and variables that a container requesting these devices gets."""
    run = IntelRun(case, tree, directory)
    answer = run.plugin.allocate(run.named(case.request["devices"]))
    parts = {
        "devices": [f"{node.host_path} {node.permissions}" for node in answer.nodes],
        "mounts": [f"{str(mount.host_path).replace(BY_PATH, 'by-path')} {_mode(mount)}" for mount in answer.mounts],
        "env": answer.env,
    }
    return {name: value for name, value in parts.items() if value}


def run_health(case: Case, tree: IntelTree, directory: Path) -> Result:
    """Return the GPUs that are unhealthy if xpumd reports what the case says."""
    reports = {
        pci: [(part, Severity[state.upper()], "") for part, state in case.request[card].items()]
        for pci, card in cards(tree).items()
        if card in case.request
    }
    settings = {**(case.set or {}), "xpumd-endpoint": "/run/xpumd/intelxpuinfo.sock"}
    with mock.patch.object(xpumd, "call_service", return_value=response(reports)):
        run = IntelRun(msgspec.structs.replace(case, set=settings), tree, directory)
    return [run.name(device).partition("-")[0] for device in run.devices if device.unhealthy]


def run_preference(case: Case, tree: IntelTree, directory: Path) -> Result:
    """Return the GPUs of the preferred shares, one for each share."""
    run = IntelRun(case, tree, directory)
    chosen = run.plugin.prefer(run.named(case.request["available"]), [], case.request["size"])
    return sorted(run.name(device).partition("-")[0] for device in chosen)


def _mode(mount: Mount) -> str:
    return "ro" if mount.read_only else "rw"
