"""Devices that the plugin no longer offers while containers hold them remain in the kubelet's list."""

import pytest

from hub.testing.kubelet import Capacity, FakeKubelet, Pod
from hub.testing.plugin import STUB, PluginProcess
from tests.harness.node import Node, replace
from tests.harness.realkubelet import restart_with

OFFERING = """
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 3600.0

    def devices(self):
        return [Device(name, numa=[0]) for name in Path("offer").read_text().split()]
"""


class Offering:
    """A plugin that offers devices near a NUMA node, and a pod that holds the first one."""

    def __init__(self, node: Node, kubelet: FakeKubelet) -> None:
        self.kubelet = kubelet
        self._node = node
        self._file = node.directory / "offer"
        self._target = node.write_plugin(OFFERING)
        self.plugin: PluginProcess

    async def start(self, offer: str) -> None:
        """Start the plugin."""
        replace(self._file, offer)
        self.plugin = self._node.start_plugin(self._target)
        await self.plugin.registered()

    async def restart(self, offer: str) -> None:
        """Start another process, which has not seen the offers of the previous one."""
        await self.plugin.stop()
        await self.start(offer)

    def offer(self, offer: str) -> None:
        """Offer different devices from now on."""
        replace(self._file, offer)
        self.plugin.hup()

    async def admit(self) -> Pod:
        """Admit a pod with the first device."""
        await self.kubelet.wait_for(STUB)
        pod = await self.kubelet.admit("holder", {STUB: 1})
        assert pod.containers["main"].devices == {STUB: ["a"]}
        return pod

    def seen(self) -> dict[str, tuple[bool, tuple[int, ...]]]:
        """Return whether each device is healthy, and its NUMA nodes, as the kubelet sees it."""
        return {device.id: (device.healthy, device.numa) for device in self.kubelet.devices(STUB)}

    async def sees(self, **expected: bool) -> None:
        """Wait until the kubelet sees these devices, healthy or not, near their NUMA node."""
        wanted = {name: (healthy, (0,)) for name, healthy in expected.items()}
        await self.kubelet.wait_until(lambda _: self.seen() == wanted, what=f"{wanted}")


@pytest.fixture
def offering(node: Node, kubelet: FakeKubelet) -> Offering:
    """Create the plugin, not yet started."""
    return Offering(node, kubelet)


async def test_a_kubelet_restarts_while_a_removed_device_is_held(offering: Offering) -> None:
    """The kubelet looks the device up in the list for its NUMA node, and would crash if it were not there."""
    await offering.start("a b c")
    pod = await offering.admit()
    offering.offer("b c")
    await offering.sees(a=False, b=True, c=True)
    await restart_with(offering.kubelet, pod, STUB)
    await offering.sees(a=False, b=True, c=True)


async def test_a_plugin_starts_while_a_removed_device_is_held(offering: Offering) -> None:
    """The device is in its first list, with its former NUMA nodes, though it was gone before this process started."""
    await offering.start("a b c")
    pod = await offering.admit()
    before = len(offering.kubelet.lists(STUB))
    await offering.restart("b c")
    await restart_with(offering.kubelet, pod, STUB)
    await offering.sees(a=False, b=True, c=True)
    assert all("a" in {device.id for device in update.devices} for update in offering.kubelet.lists(STUB)[before:])


async def test_a_removed_device_leaves_with_its_pod(offering: Offering) -> None:
    """The next pod gets another device, and the kubelet then records that nothing holds the removed one."""
    await offering.start("a b c")
    pod = await offering.admit()
    offering.offer("b c")
    await offering.sees(a=False, b=True, c=True)
    assert offering.kubelet.capacity()[STUB] == Capacity(capacity=3, allocatable=2)
    state = await offering.plugin.resource_until(lambda state: bool(state.removed_in_use))
    assert (state.capacity, state.allocatable) == (2, 2)
    assert state.removed_in_use == {"a": "default/holder/main"}
    await offering.kubelet.remove(pod)
    await offering.kubelet.admit("next", {STUB: 1})
    await offering.sees(b=True, c=True)


async def test_a_removed_device_returns(offering: Offering) -> None:
    """The device is healthy again at once, and still belongs to its pod."""
    await offering.start("a b c")
    pod = await offering.admit()
    offering.offer("b c")
    await offering.sees(a=False, b=True, c=True)
    offering.offer("a b c")
    await offering.sees(a=True, b=True, c=True)
    await restart_with(offering.kubelet, pod, STUB)
    second = await offering.kubelet.admit("second", {STUB: 2})
    assert sorted(second.containers["main"].devices[STUB]) == ["b", "c"]


async def test_all_devices_are_replaced(offering: Offering) -> None:
    """This happens when a GPU is partitioned differently while a pod uses it."""
    await offering.start("a b c")
    pod = await offering.admit()
    await offering.restart("d e")
    await restart_with(offering.kubelet, pod, STUB)
    await offering.sees(a=False, d=True, e=True)
