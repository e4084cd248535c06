"""A driver keeps its pods and serves new ones, whichever process restarts: the kubelet, the DRA process, or the hub."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.claimnode import ClaimNode, claim_node, driver_of
from tests.harness.node import random_source

PLUGIN = "stub"
COUNT = 4
RESTARTS = 6
CONFIG = """
[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/stub.yaml
api = dra
[watcher:dra]
cmd = python -m hub.dra --account {account}
[env:stub]
DPHUB_HOST_ROOT = {root}
"""


@pytest.fixture
async def node() -> AsyncIterator[ClaimNode]:
    """Run a node on which hubs start the component."""
    async with claim_node() as node:
        node.stop_component()
        (node.directory / "stub.yaml").write_text(f"resources: [{{devices: {COUNT}}}]\n")
        node.config.write_text(CONFIG.format(directory=node.directory, account=node.account, root=node.root))
        yield node


async def _one_pod(node: ClaimNode, name: str) -> str:
    """Run a pod and terminate it; return the device that it had."""
    pod, given = await node.run(PLUGIN, STUB, name)
    await node.end(pod)
    return given.env["STUB_DEVICES"]


async def test_a_kubelet_that_restarts_at_any_moment(node: ClaimNode) -> None:
    """The slices that it deletes are restored, no claim is lost, and new pods never get a device that is in use."""
    rng = random_source()
    await node.start_hub()
    await node.published(PLUGIN, COUNT)
    pod, given = await node.run(PLUGIN, STUB, "kept")
    for number in range(RESTARTS):
        await (node.kubelet.crash() if rng.random() < 0.5 else node.kubelet.stop())
        await asyncio.sleep(rng.choice([0, rng.uniform(0, 0.3)]))
        await node.kubelet.start()
        await asyncio.sleep(rng.choice([0, rng.uniform(0, 0.3)]))
        await node.published(PLUGIN, COUNT)
        assert await _one_pod(node, f"pod-{number}") != given.env["STUB_DEVICES"]
    assert len(node.cdi_files) == 1
    await node.end(pod)
    assert node.cdi_files == []


async def test_an_upgrade_while_pods_come_and_go(node: ClaimNode) -> None:
    """No pod fails or loses its device while one hub takes over from another, and while that is rolled back."""
    rng = random_source()
    await node.start_hub()
    await node.published(PLUGIN, COUNT)
    kept, given = await node.run(PLUGIN, STUB, "kept")
    devices: list[str] = []

    async def admit() -> None:
        while True:
            devices.append(await _one_pod(node, f"pod-{len(devices)}"))

    admitting = asyncio.create_task(admit())
    for number in range(3):
        before = node.hub
        await node.start_hub(f"hub-{number}")
        await node.kubelet.wait_for_driver(driver_of(PLUGIN), connected=2)
        await asyncio.sleep(rng.uniform(0, 1))
        assert before is not None
        before.terminate()
        assert await asyncio.wait_for(before.wait(), 60) == 0
        served = len(devices)
        await wait_until(lambda served=served: admitting.done() or len(devices) > served + 1, "pods of the next hub")
    admitting.cancel()
    await asyncio.gather(admitting, return_exceptions=True)
    assert admitting.cancelled(), admitting.exception()
    assert given.env["STUB_DEVICES"] not in devices
    await node.end(kept)


async def test_a_dra_process_that_is_killed(node: ClaimNode) -> None:
    """The hub restarts it; a pod that comes in between waits a moment rather than for the kubelet's next attempt."""
    await node.start_hub()
    await node.published(PLUGIN, COUNT)
    for number in range(3):
        result = await node.dphub("restart", "dra")
        assert result.code == 0, result
        await _one_pod(node, f"pod-{number}")
