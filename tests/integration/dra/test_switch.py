"""An administrator switches the API of a plugin with a reload: what the other API allocated stays with its pod."""

from collections.abc import AsyncIterator

import pytest

from hub.testing.apiserver import SLICES, AllocationError
from hub.testing.dra import DraError
from hub.testing.kubelet import AdmissionError
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.claimnode import ClaimNode, claim_node

PLUGIN = "stub"
COUNT = 2


@pytest.fixture
async def node() -> AsyncIterator[ClaimNode]:
    """Run a node on which hubs start the component."""
    async with claim_node() as node:
        node.stop_component()
        yield node
        await node.stop_hub()


def _write(node: ClaimNode, api: str, driver: str = "") -> None:
    """Write a circus.ini with the stub under an API."""
    program = f"python -m hub.plugin plugins.stub:Stub --config {node.directory}/stub.yaml"
    lines = [
        *(
            "[watcher:stub]",
            f"cmd = {program}",
            f"api = {api}",
        ),
        *([f"driver = {driver}"] if driver else []),
        *("[watcher:dra]", f"cmd = python -m hub.dra --account {node.account}"),
        *("[env:stub]", f"DPHUB_HOST_ROOT = {node.root}"),
    ]
    (node.directory / "stub.yaml").write_text(f"resources: [{{devices: {COUNT}}}]\n")
    node.config.write_text("\n".join(lines))


async def _reload(node: ClaimNode, api: str, driver: str = "") -> None:
    _write(node, api, driver)
    result = await node.dphub("reload")
    assert result.code == 0, result


async def test_to_claims_and_back_with_pods_on_both_sides(node: ClaimNode) -> None:
    """No device is allocated twice, all pods can terminate, and each device is free once its pod has terminated."""
    _write(node, "device-plugin")
    await node.start_hub()
    await node.kubelet.wait_for(STUB, COUNT, timeout=60)
    old = await node.kubelet.admit("old", {STUB: 1})
    (used,) = [device.id for device in old.containers["main"].allocations[STUB].devices]

    await _reload(node, "dra")
    devices = await node.published(PLUGIN, COUNT)
    ids = {name: each["attributes"]["id"]["string"] for name, each in devices.items()}
    (name,) = [name for name in devices if ids[name] == used]
    await node.tainted(PLUGIN, {name: [("held", "held")]})
    pod, _ = await node.run(PLUGIN, STUB, "claim")
    (other,) = [ids[name] for name in node.allocated("claim")]
    assert other != used
    with pytest.raises(AllocationError):
        await node.run(PLUGIN, STUB, "too-many")
    shown = await node.dphub("status")
    assert "used by default/old/main, which got it through the device plugin API" in shown.out

    await _reload(node, "device-plugin")
    await node.kubelet.wait_for(STUB, COUNT - 1, timeout=60)
    health = {device.id: device.healthy for device in node.kubelet.devices(STUB)}
    assert health == {used: True, other: False}
    await wait_until(lambda: not node.api.store.list(SLICES), "no slice")
    with pytest.raises(AdmissionError):
        await node.kubelet.admit("too-many", {STUB: 1})

    await node.end(pod)
    await node.kubelet.wait_for(STUB, COUNT, timeout=60)
    assert node.cdi_files == []
    await wait_until(lambda: not node.kubelet.instances("stub.dphub.dev"), "no driver")
    await node.kubelet.remove("old")


async def test_a_taint_goes_with_the_container(node: ClaimNode) -> None:
    """A claim whose device was held can be prepared as soon as the container has exited."""
    _write(node, "device-plugin")
    await node.start_hub()
    await node.kubelet.wait_for(STUB, COUNT, timeout=60)
    await node.kubelet.admit("old", {STUB: COUNT})
    await _reload(node, "dra")
    devices = await node.published(PLUGIN, COUNT)
    await node.tainted(PLUGIN, {name: [("held", "held")] for name in devices})

    await node.kubelet.remove("old")

    # The taint goes after the kubelet's next response, which takes up to 30 seconds.
    await node.tainted(PLUGIN, {})
    pod, _ = await node.run(PLUGIN, STUB, "claim", count=COUNT)
    await node.end(pod)


async def test_a_driver_with_another_name_leaves_the_claims_of_the_first(node: ClaimNode) -> None:
    """Their pods can terminate, and the new driver does not allocate their devices."""
    _write(node, "dra")
    await node.start_hub()
    await node.published(PLUGIN, COUNT)
    pod, _ = await node.run(PLUGIN, STUB, "claim")
    (held,) = node.allocated("claim")

    await _reload(node, "dra", "other.dphub.dev")
    await node.published("other", COUNT)
    await node.tainted("other", {held: [("held", "held")]})
    await wait_until(lambda: not node.devices(PLUGIN), "no slice of the first driver")
    assert await node.kubelet.prepare(pod) != {}
    new = node.schedule_device("new", PLUGIN, held)
    with pytest.raises(DraError, match=r"no longer serves the DRA driver stub\.dphub\.dev"):
        await node.kubelet.prepare(new)

    await node.end(pod)
    await node.tainted("other", {})
