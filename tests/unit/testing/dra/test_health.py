"""The DRA side of the fake kubelet shows the health of devices like a real one, with its faults."""

import asyncio

import pytest

from hub.testing.dra import ClaimPod, DeviceHealth
from hub.testing.dra.scripted import ScriptedDriver, device_health
from hub.testing.waiting import POLL_SECONDS, WAIT_SECONDS, wait_until
from tests.harness.dra import DRIVER, DraNode, dra_node


async def _prepared(node: DraNode) -> tuple[ScriptedDriver, ClaimPod, str]:
    driver = await node.driver()
    await node.kubelet.wait_for_driver(DRIVER)
    node.publish("d0")
    pod = node.claim("c")
    await node.kubelet.run(pod)
    await wait_until(lambda: driver.streams, "the health stream")
    return driver, pod, node.uid("c")


async def _shows(node: DraNode, pod: ClaimPod, health: str, message: str = "") -> None:
    """Wait until the status of the pod shows this health of its only device."""
    wanted = {"main": {"claim:c": [DeviceHealth(f"example.com/device={node.uid('c')}", health, message)]}}
    async with asyncio.timeout(WAIT_SECONDS):
        # Health also changes with time alone, without an event.
        while await node.kubelet.health(pod) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)


async def test_the_status_of_a_pod_shows_what_the_driver_reports() -> None:
    """The driver's words are in the status of the pod that has the device."""
    async with dra_node() as node:
        driver, pod, uid = await _prepared(node)
        await _shows(node, pod, "Unknown")
        driver.report([device_health("pool", f"device-{uid}", "UNHEALTHY", "ECC errors")])
        await _shows(node, pod, "Unhealthy", "ECC errors")
        driver.report([device_health("pool", f"device-{uid}", "HEALTHY")])
        await _shows(node, pod, "Healthy")


async def test_a_report_is_valid_for_its_time() -> None:
    """Without another report in time, the health of a device is unknown."""
    async with dra_node() as node:
        driver, pod, uid = await _prepared(node)
        driver.report([device_health("pool", f"device-{uid}", "HEALTHY", timeout=1)])
        await _shows(node, pod, "Healthy")
        await _shows(node, pod, "Unknown")


async def test_the_end_of_any_stream_clears_the_health_of_the_driver() -> None:
    """The end of an older instance's stream removes what the newer one has reported."""
    async with dra_node() as node:
        driver, pod, uid = await _prepared(node)
        other = await node.driver("b")
        await wait_until(lambda: other.streams, "the other driver's health stream")
        other.report([device_health("pool", f"device-{uid}", "HEALTHY")])
        await _shows(node, pod, "Healthy")
        driver.end_streams()
        await _shows(node, pod, "Unknown")


@pytest.mark.fake_kubelet("the real kubelet's program has no pod resources API")
async def test_pod_resources_show_the_devices_of_claims() -> None:
    """A pod with claims is in the pod resources API, with its dynamic resources."""
    async with dra_node() as node:
        _, pod, uid = await _prepared(node)
        (found,) = node.kubelet.pods[f"default/{pod.name}"].containers["main"].dynamic

    assert (found.claim, found.driver, found.device) == ("c", DRIVER, f"device-{uid}")
