"""The devices of a claim are reset once it is released, if the plugin says that this is useful; with real processes."""

from collections.abc import AsyncIterator

import pytest

from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.claimnode import ClaimNode, claim_node

PLUGIN = "stub"
SETTINGS = "{resources: [{devices: 1}], reset: true, reset_when_released: true}"


@pytest.fixture
async def node() -> AsyncIterator[ClaimNode]:
    """Run a node without plugins."""
    async with claim_node() as node:
        yield node


def _start(node: ClaimNode) -> PluginProcess:
    return node.start_driver("plugins.stub:Stub", PLUGIN, config=SETTINGS)


async def test_a_device_is_reset_and_given_again(node: ClaimNode) -> None:
    """The device has a taint until it has been reset, and the next claim gets it at the first attempt."""
    _start(node)
    (name,) = await node.published(PLUGIN, 1)
    node.faults("reset: {'*': {seconds: 1.5}}")
    pod, _ = await node.run(PLUGIN, STUB, "first")

    await node.end(pod)

    await node.tainted(PLUGIN, {name: [("held", "held")]})
    await node.tainted(PLUGIN, {})
    second, given = await node.run(PLUGIN, STUB, "second")
    assert given.env == {"STUB_DEVICES": "stub-0"}
    await node.end(second)


async def test_a_failed_reset_is_a_taint_with_the_reason_until_one_succeeds(node: ClaimNode) -> None:
    """The pod terminates even if the reset fails."""
    plugin = _start(node)
    (name,) = await node.published(PLUGIN, 1)
    pod, _ = await node.run(PLUGIN, STUB, "first")
    node.faults("reset: {'*': {do: fail, text: no power}}")

    await node.end(pod)

    await node.tainted(PLUGIN, {name: [("unhealthy", "reset")]})
    report = await plugin.resource_until(lambda report: not report.devices[0].healthy)
    assert "no power" in report.devices[0].reason


async def test_a_killed_plugin_resets_the_device_after_its_restart(node: ClaimNode) -> None:
    """The claim does not get stuck, and the device is not free before the reset."""
    first = _start(node)
    (name,) = await node.published(PLUGIN, 1)
    pod, _ = await node.run(PLUGIN, STUB, "first")
    node.faults("reset: {'*': {do: hang}}")
    await node.end(pod)
    await node.tainted(PLUGIN, {name: [("held", "held")]})

    first.kill()
    node.faults("")
    _start(node)

    await node.tainted(PLUGIN, {})
    assert not list(node.run_dir.claims(PLUGIN).glob("*.json"))
    await wait_until(lambda: any(up for _, up in node.kubelet.instances("stub.dphub.dev")), "the driver")
    second, _ = await node.run(PLUGIN, STUB, "second")
    await node.end(second)
