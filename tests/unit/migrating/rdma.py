"""Run the cases of the RDMA shared device plugin and of the SR-IOV network device plugin with the IB plugin."""

import json
from pathlib import Path
from typing import Any

import msgspec

from hub import ConfigError, Device, Host, NoDevices, Runtime
from plugins.ib.plugin import IB
from plugins.ib.settings import IBSettings
from scripts.migrating import Case
from tests.harness.scanned import scanned
from tests.simulators.rdma.tree import RdmaTree
from tests.unit.migrating.gpu import Result, answer_of, flatten
from tests.unit.migrating.hardware import make_exclusive, move_interface


def read_file(case: Case, directory: Path) -> IBSettings:
    """Return the settings of the case's file.

    Raises:
        ConfigError: the file is rejected.
    """
    (directory / "ib.json").write_text(case.set if isinstance(case.set, str) else json.dumps(case.set))
    return IBSettings.read(directory / "ib.json")


def run_settings(case: Case, directory: Path) -> Result:
    """Return the values of the keys, as `configList[0].rdmaHcaMax`; or `rejected`."""
    try:
        settings = read_file(case, directory)
    except ConfigError:
        return "rejected"
    return dict(flatten("", msgspec.to_builtins(settings)))


class RdmaRun:
    """The IB plugin on a simulated node.

    Args:
        case: The settings.
        tree: The node.
        directory: For the configuration file.
    """

    def __init__(self, case: Case, tree: RdmaTree, directory: Path) -> None:
        self._tree = tree
        self.plugin = IB(read_file(case, directory), Host(tree.root), Runtime())
        self._names = {tree.pci(name): name for name in tree.names}
        self.devices = self._scan()

    def change(self, request: dict[str, Any]) -> None:
        """Change the node as the case says, and scan again."""
        if not request.keys() & {"interface_in_pod", "in_pod"}:
            return
        for name in (*request.get("interface_in_pod", ()), *request.get("in_pod", ())):
            move_interface(self._tree, name)
        for name in request.get("in_pod", ()):
            make_exclusive(self._tree)
            self._hide(name)
        self.devices = self._scan()

    def _hide(self, name: str) -> None:
        """Put an RDMA device into the pod's namespace, too, as in exclusive mode; its function keeps its driver."""
        function = (self._tree.root / "sys/bus/pci/devices" / self._tree.pci(name)).resolve()
        driver = function.joinpath("driver").readlink()
        self._tree.unbind(name)
        function.joinpath("driver").symlink_to(driver)

    def _scan(self) -> list[Device]:
        try:
            return [each for each in scanned(self.plugin) if isinstance(each, Device)]
        except NoDevices:
            return []

    def name(self, identifier: str) -> str:
        """Return the name of a device in the cases, which is the kernel's name for a PCI address."""
        return self._names.get(identifier, identifier)

    def plain(self, text: str) -> str:
        """Return a string unchanged: PCI addresses stay the same."""
        return text


def run_devices(case: Case, tree: RdmaTree, directory: Path) -> Result:
    """Return the devices by resource, and those that are unhealthy; or `rejected`."""
    try:
        run = RdmaRun(case, tree, directory)
    except ConfigError:
        return "rejected"
    run.change(case.request or {})
    result: dict[str, Any] = {}
    for device in run.devices:
        result.setdefault(device.resource, []).append(run.name(device.id))
    numa = {run.name(device.id): device.numa[0] for device in run.devices if device.numa}
    unhealthy = [run.name(device.id) for device in run.devices if device.unhealthy]
    return result | {"numa": numa, "unhealthy": unhealthy}


def run_members(case: Case, tree: RdmaTree, directory: Path) -> Result:
    """Return the RDMA devices behind the devices of each resource; or `rejected`."""
    try:
        run = RdmaRun(case, tree, directory)
    except ConfigError:
        return "rejected"
    run.change(case.request or {})
    members: dict[str, set[str]] = {}
    for device in run.devices:
        members.setdefault(device.resource, set()).update(run.name(pci) for pci in device.pci)
    return {resource: sorted(names) for resource, names in members.items()}


def run_answer(case: Case, tree: RdmaTree, directory: Path) -> Result:
    """Return what a container that requests these devices gets, or the requested parts of it; or `rejected`."""
    try:
        run = RdmaRun(case, tree, directory)
    except ConfigError:
        return "rejected"
    allocation = run.plugin.allocate(
        [device for device in run.devices if run.name(device.id) in case.request["devices"]]
    )
    result = answer_of(allocation, run.plain)
    nodes = {f"{Path(node.container_path).name} {node.permissions}" for node in allocation.nodes}
    result |= {"devices": sorted(nodes), "devinfo": _device_information(tree.root)}
    only = case.request.get("only")
    env = {name: _parsed(name, value) for name, value in allocation.env.items() if only is None or name in only}
    parts = {name: value for name, value in result.items() if only is None or name in only}
    return {name: value for name, value in (parts | {"env": env}).items() if value}


def _device_information(root: Path) -> dict[str, Any]:
    """Return the files that the SR-IOV plugin writes for Multus."""
    files = (root / "var/run/k8s.cni.cncf.io/devinfo/dp").glob("*")
    return {file.name: json.loads(file.read_text()) for file in files}


def _parsed(name: str, value: str) -> object:
    return json.loads(value) if name.endswith("_INFO") else value
