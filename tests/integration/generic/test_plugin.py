"""The generic plugin as a kubelet sees it, on nodes that a tree of files simulates."""

import json
from pathlib import Path

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.node import Node
from tests.simulators.generictree import GenericTree

SERIAL = "example.com/serial"
VIDEO = "smarter-devices/video0"


def _start(node: Node, tree: GenericTree, **keys: object) -> PluginProcess:
    # The scans are so far apart that no change that a test sees can come from a scan.
    settings = {"scan_interval": 3600, "resources": [{"name": SERIAL, "files": ["/dev/ttyUSB*"], **keys}]}
    env = {"DPHUB_HOST_ROOT": str(tree.root)}
    return node.start_plugin("plugins.generic:Generic", name="generic", config=json.dumps(settings), env=env)


def _tree(node: Node) -> GenericTree:
    root = node.directory / "root"
    root.mkdir()
    return GenericTree(root)


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_an_adapter_comes_and_goes(node: Node, kubelet: FakeKubelet) -> None:
    """The resource is registered without devices; an adapter is seen at once. While a pod has it, it stays listed."""
    tree = _tree(node)
    _start(node, tree, env={"PORT": "{path}"})
    await kubelet.wait_for(SERIAL, 0)
    adapter = tree.usb("1-1", numa=1)
    tree.part(adapter, "ttyUSB0", "tty")
    await kubelet.wait_for(SERIAL, 1)
    assert [(device.id, device.numa) for device in kubelet.devices(SERIAL)] == [("1-1:1.0-ttyUSB", (1,))]
    got = (await kubelet.admit("job", {SERIAL: 1})).containers["main"].response
    assert [(each.host_path, each.container_path, each.permissions) for each in got.devices] == [
        ("/dev/ttyUSB0", "/dev/ttyUSB0", "rw")
    ]
    assert got.envs == {"PORT": "/dev/ttyUSB0"}
    tree.remove(adapter)
    await kubelet.wait_for(SERIAL, 0)
    assert [device.id for device in kubelet.devices(SERIAL)] == ["1-1:1.0-ttyUSB"]
    tree.part(tree.usb("1-1", number=9, numa=1), "ttyUSB5", "tty")
    await kubelet.wait_for(SERIAL, 1)
    assert [device.id for device in kubelet.devices(SERIAL)] == ["1-1:1.0-ttyUSB"]
    await kubelet.remove("job")
    got = (await kubelet.admit("next", {SERIAL: 1})).containers["main"].response
    assert got.devices[0].host_path == "/dev/ttyUSB5"


async def test_resources_of_files_that_come_and_go(node: Node, kubelet: FakeKubelet) -> None:
    """With the list of the smarter-device-manager, a new file is a new resource, which outlives the file."""
    tree = _tree(node)
    options = {"name": "generic", "config": json.dumps([{"devicematch": "^video[0-9]+$", "nummaxdevices": 2}])}
    first = node.start_plugin("plugins.generic:Generic", env={"DPHUB_HOST_ROOT": str(tree.root)}, **options)
    await wait_until(first.state, "its first report")
    tree.file("video0")
    await kubelet.wait_for(VIDEO, 2)
    (tree.root / "dev/video0").unlink()
    await kubelet.wait_for(VIDEO, 0)
    assert await first.stop() == 0
    second = node.start_plugin("plugins.generic:Generic", env={"DPHUB_HOST_ROOT": str(tree.root)}, **options)
    assert (await second.registered(VIDEO)).capacity == 0
    tree.file("video0")
    await kubelet.wait_for(VIDEO, 2)


async def test_health_and_reset(node: Node, kubelet: FakeKubelet) -> None:
    """A command decides between scans whether an adapter can be used; another runs before its container starts."""
    tree = _tree(node)
    tree.part(tree.usb("1-1"), "ttyUSB0", "tty")
    broken, calls = node.directory / "broken", node.directory / "calls"
    health = {"command": [_program(node.directory / "check", f"test ! -e {broken}")], "interval": 0.1}
    reset = {"command": [_program(node.directory / "reset", f'echo "$1" >> {calls}'), "{host_path}"]}
    plugin = _start(node, tree, health=health, reset=reset)
    await kubelet.wait_for(SERIAL, 1)
    await kubelet.admit("job", {SERIAL: 1})
    assert calls.read_text() == "/dev/ttyUSB0\n"
    broken.touch()
    await kubelet.wait_for(SERIAL, 0)
    line = await plugin.logged("devices unhealthy")
    assert line["reason"] == "check failed (exit code 1): no output"
    broken.unlink()
    await kubelet.wait_for(SERIAL, 1)
