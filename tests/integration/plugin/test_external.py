"""Another program on the node reports that a device cannot be used."""

import json

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from tests.harness.node import Node, replace

REPORTED = "reported by memory-test: row 7 is bad"
STATEMENT = {"device": "stub-1", "source": "memory-test", "reason": "row 7 is bad"}


async def test_a_device_comes_and_goes_with_a_file(node: Node, kubelet: FakeKubelet) -> None:
    """The kubelet, the status and the log show it while the file is there, even after a restart of the plugin."""
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    file = node.run_dir.external_faults / "memory-test.json"
    replace(file, json.dumps(STATEMENT))
    await kubelet.wait_for(STUB, 3)
    state = await plugin.resource_until(lambda state: state.allocatable == 3)
    assert [(device.id, device.source, device.reason) for device in state.devices if not device.healthy] == [
        ("stub-1", "external", REPORTED)
    ]
    (line,) = plugin.lines("devices unhealthy")
    assert (line["devices"], line["reason"]) == ("stub-1", REPORTED)
    await plugin.stop()
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 3)
    (node.run_dir.external_faults / "bad.json").write_text("{}")
    assert (await plugin.logged("external fault rejected"))["file"].endswith("/external/bad.json")
    file.unlink()
    await kubelet.wait_for(STUB, 4)
