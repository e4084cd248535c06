"""Devices that break and recover: retried resets and flapping."""

import asyncio
import time

import psutil
import pytest

from hub.cli.adminclient import send
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.admin import Uncordon
from hub.testing.kubelet import ContainerStartError, FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.node import Node, dialled
from tests.integration.plugin.resetting import (
    device_of,
    fail_resets,
    reset_count,
    resetting_plugin,
    until_failed,
)


async def test_retries_that_fail_are_reported_once(node: Node, kubelet: FakeKubelet) -> None:
    """A device that stays broken does not flood the log; the status says what reported the fault, and when."""
    plugin = await resetting_plugin(node, kubelet)
    node.faults("reset: {stub-0: {do: fail, text: no answer}}")
    begin = time.time()
    await fail_resets(node, "stub-0")
    await kubelet.wait_for(STUB, 3)
    await until_failed(plugin, 3 + 4)
    assert len(plugin.lines("reset failed")) == 1
    assert len(plugin.lines("devices unhealthy")) == 1
    assert not plugin.lines("prestart rejected")
    device = await wait_until(lambda: found if (found := device_of(plugin)) and found.source else None, "the fault")
    assert (device.healthy, device.source) == (False, "reset")
    assert device.health in {"unhealthy", "recovering"}
    assert begin - 1 <= device.since <= time.time() + 1
    node.faults("")
    await kubelet.wait_for(STUB, 4)
    assert len(plugin.lines("devices recovered")) == 1


async def test_a_held_device_is_not_reset_while_another_is(node: Node, kubelet: FakeKubelet) -> None:
    """A device that a pod uses is not reset, however often others are; once the pod is gone, the reset is retried."""
    plugin = await resetting_plugin(node, kubelet)
    pod = await kubelet.admit("pod", {STUB: 1})
    node.faults("reset: {stub-0: {do: raise, text: held}, stub-1: {do: fail, text: free}}")
    for _ in range(3):
        with pytest.raises(ContainerStartError):
            await kubelet.start_container(pod)
    await fail_resets(node, "stub-1")
    await kubelet.wait_for(STUB, 2)
    node.faults("reset: {stub-1: {do: fail, text: free}}")
    await until_failed(plugin, 6 + 4)
    assert reset_count(plugin, "ok") == 1
    await kubelet.remove(pod)
    await kubelet.wait_for(STUB, 3)


async def test_nothing_is_reset_while_a_kubelet_is_new(node: Node, kubelet: FakeKubelet) -> None:
    """A kubelet that has just started may not know yet which container holds which device."""
    plugin = await resetting_plugin(node, kubelet, settling=1.5)
    node.faults("reset: {stub-0: {do: fail}}")
    await wait_until(plugin.state, "the state")
    begin = time.monotonic()
    await kubelet.restart()
    await kubelet.wait_for(STUB, 4)
    await fail_resets(node, "stub-0")
    await until_failed(plugin, 3 + 1)
    assert time.monotonic() - begin > 1.5


async def test_without_pod_resources_nothing_is_reset(node: Node) -> None:
    """Without that API, any device may be in use; the log says so once."""
    async with FakeKubelet(node.plugin_dir, pod_resources_socket=node.directory / "elsewhere") as kubelet:
        plugin = await resetting_plugin(node, kubelet)
        node.faults("reset: {stub-0: {do: fail}, stub-1: {do: fail}}")
        await fail_resets(node, "stub-0", "stub-1")
        await plugin.logged("recovery paused")
        # Time for a few more rounds; it does no harm if there are fewer on a slow machine.
        await asyncio.sleep(1)
        assert len(plugin.lines("recovery paused")) == 1
        assert reset_count(plugin, "failed") == 6


async def test_hanging_retries_do_not_delay_resets_for_containers(node: Node, kubelet: FakeKubelet) -> None:
    """Two resets are retried at a time, and those for eight containers run alongside them."""
    config = "{reset: true, reset_timeout: 20, resources: [{devices: 12}]}"
    plugin = await resetting_plugin(node, kubelet, devices=12, config=config)
    broken = [f"stub-{n}" for n in range(4)]
    node.faults("reset: {" + ", ".join(f"{name}: {{do: fail}}" for name in broken) + "}")
    await fail_resets(node, *broken)
    node.faults("reset: {'*': {do: hang}}")

    def running() -> int:
        return len(psutil.Process(plugin.pid).children())

    await wait_until(lambda: running() == 2, "two retries")
    async with dialled(node.sockets()[0]) as client:
        hanging = client.PreStartContainer(
            wire.PreStartContainerRequest(devices_ids=[f"stub-{n}" for n in range(4, 12)])
        )
        await wait_until(lambda: running() == 10, "eight resets and two retries")
        hanging.cancel()
    await wait_until(lambda: running() <= 2, "the end of the resets")


async def test_flapping(node: Node, kubelet: FakeKubelet) -> None:
    """After three recoveries, a device stays unhealthy; the reason says how to release it, and that works."""
    plugin = await resetting_plugin(node, kubelet)
    for _ in range(3):
        node.faults("unhealthy: {stub-0: too hot}")
        await kubelet.wait_for(STUB, 3)
        node.faults("")
        await kubelet.wait_for(STUB, 4)
    node.faults("unhealthy: {stub-0: too hot}")
    await kubelet.wait_for(STUB, 3)
    node.faults("")
    resource = await plugin.resource_until(lambda state: state.devices[0].source == "flapping")
    assert "recovered 3 times within 3600 s; run dphub uncordon to clear it" in resource.devices[0].reason
    assert await plugin.stop() == 0
    plugin = await resetting_plugin(node, kubelet, devices=3)
    assert await plugin.stop() == 0
    await resetting_plugin(node, kubelet, devices=3)
    answer = await asyncio.to_thread(send, node.run_dir.admin_socket("stub"), Uncordon(f"{STUB} stub-0"))
    assert answer.ok, answer.message
    await kubelet.wait_for(STUB, 4)
