"""The DRA side of the fake kubelet prepares and unprepares claims like a real one, and the tests run with both."""

import asyncio

import pytest

from hub.testing.dra import ClaimPod, ClaimUse, DraError
from hub.testing.dra.scripted import device, fails
from hub.testing.waiting import wait_until
from tests.harness.dra import DRIVER, dra_node


async def test_a_pod_gets_the_cdi_devices_of_its_claim() -> None:
    """The driver is called once, with the claim, and each container gets what it uses."""
    async with dra_node() as node:
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0", "d1")
        pod = node.claim("c")
        found = await node.kubelet.run(pod)
        uid = node.uid("c")

    assert found == {"main": [f"example.com/device={uid}"]}
    assert driver.calls == [("prepare", [uid])]


async def test_a_second_pod_of_a_claim_calls_no_driver() -> None:
    """A claim is prepared once on a node, and unprepared after its last pod."""
    async with dra_node() as node:
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0")
        first = node.claim("c")
        second = node.user("second", "c")
        await node.kubelet.run(first)
        await node.kubelet.run(second)
        await node.kubelet.end(first)
        calls = [name for name, _ in driver.calls]
        await node.kubelet.end(second)

    assert calls == ["prepare"]
    assert [name for name, _ in driver.calls] == ["prepare", "unprepare"]


async def test_after_a_restart_the_next_pod_asks_again() -> None:
    """Only the memory of a kubelet says which claims are prepared."""
    async with dra_node() as node:
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0")
        first = node.claim("c")
        await node.kubelet.run(first)
        await node.kubelet.restart()
        await node.kubelet.wait_for_driver(DRIVER)
        await node.kubelet.run(node.user("second", "c"))

    assert [name for name, _ in driver.calls] == ["prepare", "prepare"]


async def test_a_container_gets_only_its_requests() -> None:
    """The names of the requests decide; a device without request names is for all requests."""
    async with dra_node() as node:
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0", "d1")
        pod = node.claim("c", count=2)
        devices = [device("p", "d0", "x/y=one", requests=["one"]), device("p", "d1", "x/y=two", requests=["two"])]
        driver.prepared[node.uid("c")] = [*devices, device("p", "d2", "x/y=all")]
        uses = {"a": [ClaimUse("c", "one")], "b": [ClaimUse("c")], "c": []}
        found = await node.kubelet.run(ClaimPod(pod.name, pod.uid, pod.claims, uses))

    assert found == {"a": ["x/y=one", "x/y=all"], "b": ["x/y=one", "x/y=two", "x/y=all"], "c": []}


async def test_an_error_of_a_claim_is_tried_again() -> None:
    """The pod waits, with the driver's words in its event."""
    async with dra_node() as node:
        driver = await node.driver(on_prepare=fails("no such device"))
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0")
        running = asyncio.create_task(node.kubelet.run(node.claim("c")))
        await node.kubelet.wait_until(lambda _: bool(node.kubelet.events), what="an event")
        driver.on_prepare = driver._prepare
        await running

    assert node.kubelet.events[0].reason == "FailedPrepareDynamicResources"
    assert node.kubelet.events[0].message == (
        "prepare dynamic resources: NodePrepareResources failed for ResourceClaim c: no such device"
    )


async def test_a_call_that_takes_too_long_is_given_up() -> None:
    """A retry can overlap with a call that the driver still executes."""
    async with dra_node(call_timeout=0.2) as node:
        driver = await node.driver()
        # A registration that is not complete yet may end the connection.
        await wait_until(lambda: driver.notified, "the registration")
        node.publish("d0")
        gate = asyncio.Event()

        async def late(request: object, context: object) -> object:
            await gate.wait()
            return await driver._prepare(request, context)

        driver.on_prepare = late
        with pytest.raises(DraError, match="DeadlineExceeded"):
            await node.kubelet.prepare(node.claim("c"))
        gate.set()


async def test_claims_of_pods_that_are_gone_are_unprepared_later() -> None:
    """After a forced deletion, only the regular check unprepares the claim."""
    async with dra_node(reconcile_period=0.2) as node:
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0")
        pod = node.claim("c")
        await node.kubelet.run(pod)
        await node.kubelet.forget(pod)
        await wait_until(lambda: ("unprepare", [node.uid("c")]) in driver.calls, "the call")


async def test_without_a_driver_a_pod_neither_starts_nor_ends() -> None:
    """A pod stays Terminating until its driver is back."""
    async with dra_node() as node:
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0", "d1")
        pod = node.claim("c")
        # Allocated while there are devices: a kubelet deletes the slices of a driver that is gone.
        other = node.claim("other")
        await node.kubelet.run(pod)
        await driver.stop()
        await node.kubelet.wait_for_driver(DRIVER, 0)
        await node.kubelet.wait_until(lambda _: not node.kubelet.instances(DRIVER), what="no instance")
        with pytest.raises(DraError, match=f"DRA driver {DRIVER} is not registered"):
            await node.kubelet.prepare(other)
        ending = asyncio.create_task(node.kubelet.end(pod))
        await node.kubelet.wait_until(lambda _: bool(node.kubelet.events), what="an event")
        await driver.start()
        await ending
