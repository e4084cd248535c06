"""Run the cases of the generic-device-plugin and of the smarter-device-manager with the generic plugin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hub import Allocation, ConfigError, Device, Host, NoDevices, Runtime
from hub.plugin.loading import load_settings
from plugins.generic.plugin import Generic
from scripts.migrating import Case
from tests.harness.scanned import scanned
from tests.simulators.generictree import GenericTree
from tests.unit.migrating.gpu import Result


def _plugin(case: Case, tree: GenericTree, directory: Path) -> Generic:
    config = directory / "generic.yaml"
    config.write_text(case.set if isinstance(case.set, str) else yaml.safe_dump(case.set))
    return Generic(load_settings(Generic, config), Host(tree.root), Runtime())


def run_devices(case: Case, tree: GenericTree, directory: Path) -> Result:
    """Return the files of each device by resource, an empty list where there are no devices; or `rejected`."""
    try:
        plugin = _plugin(case, tree, directory)
    except ConfigError:
        return "rejected"
    result: dict[str, Any] = {}
    for device in _scan(plugin):
        result.setdefault(device.resource, []).append(", ".join(_files(Allocation.merge([device]))))
    return result


def run_ids(case: Case, tree: GenericTree, directory: Path) -> Result:
    """Return the ids of the devices by resource, after the changes to the node in the request; or `rejected`."""
    try:
        plugin = _plugin(case, tree, directory)
    except ConfigError:
        return "rejected"
    devices = _scan(plugin)
    if case.request:
        change_generic_node(tree, case.request)
        devices = _scan(plugin)
    result: dict[str, Any] = {name: [] for name in plugin.resources()}
    for device in devices:
        result.setdefault(device.resource, []).append(device.id)
    return result


def run_answer(case: Case, tree: GenericTree, directory: Path) -> Result:
    """Return the files that a container gets for the first devices of the resource in the request; or `failed`."""
    plugin = _plugin(case, tree, directory)
    devices = [device for device in _scan(plugin) if device.resource == case.request["resource"]]
    try:
        allocation = plugin.allocate(devices[: case.request["devices"]])
    except ValueError:
        return "failed"
    env = {"env": dict(allocation.env)} if allocation.env else {}
    return {"devices": list(_files(allocation)), **env}


def _scan(plugin: Generic) -> list[Device]:
    try:
        return [each for each in scanned(plugin) if isinstance(each, Device)]
    except NoDevices:
        return []


def _files(allocation: Allocation) -> Iterator[str]:
    given = [(node.host_path, node.container_path, node.permissions) for node in allocation.nodes]
    given += [(m.host_path, m.container_path, "ro mount" if m.read_only else "mount") for m in allocation.mounts]
    for host_path, container_path, how in given:
        path = f"{host_path}" if container_path == host_path else f"{host_path} as {container_path}"
        yield f"{path} {how}"


def build_generic_node(root: Path, facts: dict[str, Any]) -> GenericTree:
    """Create a node with device files and USB devices."""
    tree = GenericTree(root)
    change_generic_node(tree, facts)
    return tree


def change_generic_node(tree: GenericTree, facts: dict[str, Any]) -> None:
    """Change a node as a case or hardware.yaml says."""
    for name in facts.get("removed", ()):
        (tree.root / "dev" / name).unlink()
    for name in facts.get("files", ()):
        tree.file(name)
    for port, usb in facts.get("usb", {}).items():
        tree.usb(port, **usb)
