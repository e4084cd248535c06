"""The DRA side of the fake kubelet finds drivers, chooses among instances, and deletes slices like a real one."""

import asyncio

import pytest

from hub.kubelet.wire import pluginregistration_pb2 as registration
from hub.testing.apiserver import Fault
from hub.testing.dra.scripted import ScriptedDriver
from hub.testing.waiting import wait_until
from tests.harness.dra import DRIVER, dra_node


async def test_a_driver_is_notified_that_it_is_registered() -> None:
    """A driver whose socket appears is queried, and notified of the outcome."""
    async with dra_node() as node:
        driver = await node.driver()
        await wait_until(lambda: driver.notified, "the notification")

    assert driver.notified == [(True, "")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "Other"}, "RegisterPlugin error -- no handler registered for plugin type: Other"),
        ({"versions": ["v9.DRAPlugin"]}, 'none of services supported by the plugin (["v9.DRAPlugin"])'),
        ({"versions": []}, "empty list of supported gRPC services (aka supported versions)"),
    ],
)
async def test_a_driver_is_notified_why_it_is_refused(fields: dict[str, object], words: str) -> None:
    """The words are those that its author sees with a real kubelet."""
    async with dra_node() as node:
        driver = await node.driver(**fields)
        await wait_until(lambda: driver.notified, "the notification")

    assert not driver.notified[0][0]
    assert words in driver.notified[0][1]


async def test_a_driver_that_was_refused_is_asked_again() -> None:
    """The kubelet retries a failed registration, with increasing delays."""
    async with dra_node() as node:
        driver = await node.driver(type="Other")
        await wait_until(lambda: driver.notified, "the refusal")
        driver.type = "DRAPlugin"
        await node.kubelet.wait_for_driver(DRIVER)


async def test_a_driver_that_answers_late_is_registered_late() -> None:
    """GetInfo has one second; then the kubelet gives up on this attempt."""
    async with dra_node() as node:
        driver = await node.driver(start=False)
        asked = []

        async def late(request: object, context: object) -> registration.PluginInfo:
            asked.append(request)
            if len(asked) == 1:
                await asyncio.Event().wait()
            return await driver._info(request, context)

        driver.on_info = late
        await driver.start()
        await node.kubelet.wait_for_driver(DRIVER)

    assert len(asked) > 1


async def test_a_socket_that_was_recreated_is_registered_again() -> None:
    """A driver that recreates its registration socket is registered again, and stays the only one."""
    async with dra_node() as node:
        driver = await node.driver()
        # The kubelet adds the driver before it notifies it. A socket that is removed in between is never notified.
        await wait_until(lambda: driver.notified, "the first registration")
        await driver.register()
        await wait_until(lambda: len(driver.notified) > 1, "the second registration")
        await node.kubelet.wait_for_driver(DRIVER)
        known = node.kubelet.instances(DRIVER)

    assert known == [(driver.endpoint, True)]


async def test_a_kubelet_that_restarts_finds_its_drivers() -> None:
    """No driver has to do anything when the kubelet restarts, and no socket is deleted."""
    async with dra_node() as node:
        driver = await node.driver()
        await wait_until(lambda: driver.notified, "the first registration")
        await node.kubelet.crash()
        await node.kubelet.start()
        await wait_until(lambda: len(driver.notified) == 2, "the second registration")


async def test_the_instance_that_registered_last_is_called() -> None:
    """During an upgrade the newer instance is called, and the older one when the newer one is gone."""
    async with dra_node() as node:
        old = await node.driver("a")
        await node.kubelet.wait_for_driver(DRIVER)
        new = await node.driver("b")
        await node.kubelet.wait_for_driver(DRIVER, 2)
        node.publish("d0", "d1")
        await node.kubelet.run(node.claim("one"))
        await new.stop()
        await wait_until(lambda: len(node.kubelet.instances(DRIVER)) == 1, "the end of an instance")
        await node.kubelet.run(node.claim("two"))

    assert [[name for name, _ in each.calls] for each in (old, new)] == [["prepare"], ["prepare"]]


async def test_an_instance_without_a_connection_is_passed_over() -> None:
    """A killed instance whose socket is still in the registry is not called while another is connected."""
    async with dra_node() as node:
        old = await node.driver("a")
        await node.kubelet.wait_for_driver(DRIVER)
        new = await node.driver("b")
        await node.kubelet.wait_for_driver(DRIVER, 2)
        await new.kill()
        await node.kubelet.wait_for_driver(DRIVER, 1)
        node.publish("d0")
        await node.kubelet.run(node.claim("one"))

    assert [name for name, _ in old.calls] == ["prepare"]
    assert len(node.kubelet.instances(DRIVER)) in (0, 2)


async def test_a_second_instance_cannot_have_the_endpoint_of_the_first() -> None:
    """The newer of two instances with one service socket is refused."""
    async with dra_node() as node:
        first = await node.driver("a")
        await node.kubelet.wait_for_driver(DRIVER)
        second = await node.driver("b", endpoint=first.endpoint)
        await wait_until(lambda: second.notified, "the refusal")

    assert f"endpoint {first.endpoint} already registered for DRA driver plugin {DRIVER}" in second.notified[0][1]


async def test_a_start_deletes_all_slices_of_the_node() -> None:
    """A kubelet deletes the slices of every driver when it starts, and retries until it succeeds."""
    async with dra_node() as node:
        await wait_until(lambda: _deletions(node), "the deletion at the first start")
        await node.kubelet.stop()
        node.publish("d0")
        node.publish("d0", driver="other.example.com")
        node.api.faults.add(Fault(503, method="DELETE"))
        await node.kubelet.start()
        await wait_until(lambda: not node.slices(), "the deletion of all slices")


async def test_slices_go_with_a_driver_that_stays_away() -> None:
    """Some time after the last connection of a driver has ended, its slices are deleted."""
    async with dra_node(wiping_delay=0.2) as node:
        await wait_until(lambda: _deletions(node), "the deletion at the start")
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0")
        node.publish("d0", driver="other.example.com")
        await driver.kill()
        await wait_until(lambda: node.slices() == ["0-other.example.com"], "the deletion")


async def test_slices_stay_with_a_driver_that_comes_back() -> None:
    """A driver that is registered again in time keeps its slices."""
    async with dra_node(wiping_delay=3.0) as node:
        await wait_until(lambda: _deletions(node), "the deletion at the start")
        driver = await node.driver()
        await node.kubelet.wait_for_driver(DRIVER)
        node.publish("d0")
        await driver.stop()
        await node.kubelet.wait_for_driver(DRIVER, 0)
        await driver.start()
        await node.kubelet.wait_for_driver(DRIVER)
        await node.driver(name="other.example.com", instance="b")
        other = ScriptedDriver(node.root, "lost.example.com")
        await other.start()
        await node.kubelet.wait_for_driver("lost.example.com")
        node.publish("d0", driver="lost.example.com")
        await other.kill()
        await wait_until(lambda: "0-lost.example.com" not in node.slices(), "the deletion for a later driver")
        left = node.slices()

    assert left == [f"0-{DRIVER}"]


def _deletions(node) -> bool:  # noqa: ANN001 - of the test
    return any(each.method == "DELETE" and each.status == 200 for each in node.api.requests)
