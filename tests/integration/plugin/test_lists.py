"""What a kubelet learns about devices: every change once, and nothing that it could not process."""

import asyncio
import json
from typing import Any

import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.messages import MESSAGE_BYTES
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node, dialled, replace

OFFERING = """
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 3600.0

    def devices(self):
        return eval(Path("offer").read_text())
"""


class OfferingPlugin:
    """A plugin that offers the devices of a Python expression."""

    def __init__(self, node: Node, offer: str) -> None:
        self._file = node.directory / "offer"
        self._file.write_text(offer)
        self.plugin: PluginProcess = node.start_plugin(node.write_plugin(OFFERING))

    def offer(self, expression: str) -> None:
        """Offer different devices from now on."""
        replace(self._file, expression)
        self.plugin.hup()


async def test_every_stream_sees_every_change(node: Node, kubelet: FakeKubelet) -> None:
    """No client takes a change away from another, and one that connects late begins with the current list."""
    plugin = node.start_plugin()
    await plugin.registered()

    async def healths(stream: Any) -> list[bool]:  # noqa: ANN401 - gRPC's
        return [device.health == "Healthy" for device in (await anext(stream)).devices]

    async with dialled(node.sockets()[0]) as one, dialled(node.sockets()[0]) as other:
        streams = [aiter(client.ListAndWatch(wire.Empty())) for client in (one, other, other)]
        for stream in streams:
            assert await healths(stream) == [True] * 4
        for n in range(4):
            node.faults(json.dumps({"unhealthy": {f"stub-{n}": "broken"}}))
            for stream in streams:
                assert await healths(stream) == [n != number for number in range(4)]
            await kubelet.wait_for(STUB, 3)
        assert await healths(aiter(one.ListAndWatch(wire.Empty()))) == [True, True, True, False]


async def test_nothing_is_sent_when_nothing_changed(node: Node, kubelet: FakeKubelet) -> None:
    """Neither a new scan nor a different order of the same devices is a change."""
    offering = OfferingPlugin(node, "[Device('a'), Device('b'), Device('c')]")
    await offering.plugin.registered()
    await kubelet.wait_for(STUB, 3)
    for offer in ("[Device('c'), Device('a'), Device('b')]", "[Device('a', env={'A': '1'}), Device('b'), Device('c')]"):
        offering.offer(offer)
        await asyncio.sleep(0.1)
    offering.offer("[Device('c'), Device('a')]")
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices(STUB)) == 2, what="the list without it")
    # A device that disappears is first reported as unhealthy.
    assert [len(update.devices) for update in kubelet.lists(STUB)] == [3, 3, 2]


async def test_a_device_may_disappear_while_it_is_allocated(node: Node, kubelet: FakeKubelet) -> None:
    """It stays in the list while a container has it: without it, a real kubelet would crash, and its node with it."""
    target = node.write_plugin("""
class P(Plugin):
    resource = "example.com/stub"

    def devices(self):
        return [Device(name) for name in Path("offer").read_text().split()]

    def allocate(self, devices):
        Path("called").touch()
        while not Path("answer").exists():
            time.sleep(0.01)
        return super().allocate(devices)
""")
    replace(node.directory / "offer", "a b")
    plugin = node.start_plugin(target)
    await kubelet.wait_for(STUB, 2)
    admission = asyncio.create_task(kubelet.admit("trainer", {STUB: 2}))
    await wait_until((node.directory / "called").exists, "the call")
    replace(node.directory / "offer", "b c")
    plugin.hup()
    await kubelet.wait_until(lambda kubelet: "c" in {device.id for device in kubelet.devices(STUB)})
    await plugin.resource_until(lambda state: [device.id for device in state.devices] == ["b", "c"])
    (node.directory / "answer").touch()
    assert sorted((await admission).containers["main"].devices[STUB]) == ["a", "b"]
    await kubelet.remove("trainer")
    # Through this admission, the kubelet records that the device is no longer in use.
    pod = await kubelet.admit("next", {STUB: 1})
    assert len(pod.containers["main"].devices[STUB]) == 1
    await kubelet.wait_until(lambda kubelet: len(kubelet.devices(STUB)) == 2, what="the list without it")
    assert [{device.id: device.healthy for device in update.devices} for update in kubelet.lists(STUB)] == [
        {"a": True, "b": True},
        {"a": False, "b": True, "c": True},
        {"b": True, "c": True},
    ]


async def test_a_burst_of_changes_is_few_lists(node: Node, kubelet: FakeKubelet) -> None:
    """A thousand events within moments do not make the kubelet write a thousand checkpoints."""
    target = node.write_plugin("""
class P(Plugin):
    resource = "example.com/stub"
    count = 0
    def devices(self):
        return [Device(f"d{n}") for n in range(self.count // 10)]
    def watch(self, changed):
        while not Path("go").exists():
            time.sleep(0.01)
        for P.count in range(1001):
            changed()
        threading.Event().wait()
""")
    await node.start_plugin(target).registered()
    (node.directory / "go").touch()
    await kubelet.wait_for(STUB, 100)
    assert len(kubelet.lists(STUB)) < 60


async def test_16384_devices_fit(node: Node, kubelet: FakeKubelet) -> None:
    """A list of many devices arrives whole, below the limit of a kubelet's client."""
    plugin = node.start_plugin(config=f"resources: [{{name: {STUB}, devices: 16384, numa: [0, 1]}}]")
    await kubelet.wait_for(STUB, 16384, timeout=WAIT_SECONDS)
    assert kubelet.lists(STUB)[0].size < MESSAGE_BYTES
    state = await plugin.registered()
    assert len(state.devices) == 16384
    assert state.problems == ()


async def test_a_list_too_long_for_a_kubelet_is_cut(node: Node, kubelet: FakeKubelet) -> None:
    """What exceeds 4 MiB is left out, and a problem reports it, even when all devices are unhealthy."""
    offering = OfferingPlugin(node, "[Device(f'{n:063}') for n in range(60000)]")
    await kubelet.wait_for(STUB, timeout=WAIT_SECONDS)
    (update,) = kubelet.lists(STUB)
    assert 45000 < len(update.devices) < 60000
    assert update.size <= MESSAGE_BYTES
    state = await offering.plugin.registered()
    left_out = (
        f"{60000 - len(update.devices)} devices left out: the list would exceed the kubelet's limit of 4194304 bytes"
    )
    assert state.problems == (left_out,)
    assert [line["reason"] for line in offering.plugin.lines("devices omitted")] == [left_out]
    offering.offer("1 / 0")
    await kubelet.wait_for(STUB, 0, timeout=WAIT_SECONDS)
    assert len(kubelet.devices(STUB)) == len(update.devices)


@pytest.mark.parametrize(
    ("offer", "problem"),
    [
        ("Device('x' * 64)", f"device '{'x' * 64}': the id has 64 characters; at most 63 are allowed"),
        ("Device('good')", "device 'good' is offered twice"),
        ("Device('')", "device '': the id is empty"),
        ("Device(7)", "device 7: the id is not a string: wrap it in str(...)"),
        ("Device('a\\nb')", "device 'a\\nb': the id has characters that cannot be printed"),
        ("'eth0'", "'eth0' is not a hub.Device"),
        ("None", "None is not a hub.Device"),
        ("Device('d', numa=[-1])", "device 'd': numa is [-1], expected a list of NUMA node numbers, 0 or higher"),
        ("Device('d', numa=0)", "device 'd': numa is 0, expected a list of NUMA node numbers, 0 or higher, such"),
        ("Device('d', numa=['0'])", "device 'd': numa is ['0'], expected a list of NUMA node numbers, 0 or higher"),
        ("Device('d', numa=[2**63])", f"device 'd': numa is [{2**63}], expected a list of NUMA node numbers"),
        ("Device('d', unhealthy=True)", "device 'd': unhealthy is True, expected the reason as a string, empty when"),
        ("Device('d', unhealthy='\\udcff')", "device 'd': unhealthy is '\\udcff', expected the reason as a string"),
        (
            "Device('d', nodes=['/dev/null'])",
            "device 'd': nodes is ['/dev/null'], expected a list such as [Device",
        ),
        (
            "Device('d', nodes=[DeviceNode('/dev/null', '', 'rx')])",
            "permissions='rx')], expected permissions made of r, w and m",
        ),
        ("Device('d', nodes=[DeviceNode('dev/null')])", "expected a host_path that begins with /"),
        ("Device('d', mounts=[Mount('opt')])", "expected a host_path that begins with /"),
        ("Device('d', nodes=iter([]))", "expected a list such as [DeviceNode("),
        ("Device('d', mounts='/opt')", "device 'd': mounts is '/opt', expected a list such as [Mount("),
        ("Device('d', env={'N': 1})", "device 'd': env is {'N': 1}, expected strings by name"),
        ("Device('d', annotations=['a'])", "device 'd': annotations is ['a'], expected strings by name"),
        ("Device('d', cdi='v.com/c=d')", "device 'd': cdi is 'v.com/c=d', expected a list of names"),
    ],
)
async def test_a_device_that_no_kubelet_takes_is_left_out(
    node: Node, kubelet: FakeKubelet, offer: str, problem: str
) -> None:
    """Log and status name such a device once, with its mistake; the others are served."""
    offering = OfferingPlugin(node, f"[Device('good'), {offer}, Device('other')]")
    await kubelet.wait_for(STUB, 2)
    state = await offering.plugin.resource_until(lambda state: bool(state.problems))
    (found,) = state.problems
    assert problem in found
    assert [device.id for device in state.devices] == ["good", "other"]
    offering.plugin.hup()
    await kubelet.admit("trainer", {STUB: 2})
    assert [line["reason"] for line in offering.plugin.lines("device invalid")] == [found]


async def test_many_bad_devices_are_reported_in_few_words(node: Node, kubelet: FakeKubelet) -> None:
    """A mistake that all devices share fills neither log nor state."""
    offering = OfferingPlugin(node, "[Device('good'), *(Device('', env={'A': str(n)}) for n in range(5000))]")
    await kubelet.wait_for(STUB, 1)
    state = await offering.plugin.resource_until(lambda state: bool(state.problems))
    assert len(state.problems) == 17
    assert state.problems[-1] == "4984 more devices with a similar problem"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("plain", 'resource "plain" needs a domain before a slash, like example.com/name'),
        ("example.com/", 'resource "example.com/": "" is not 1 to 63 letters, digits, "-", "_" or "."'),
        ("example.com/a/b", 'resource "example.com/a/b": "a/b" is not 1 to 63 letters, digits, "-", "_" or "."'),
        ("example.com/" + "n" * 64, "is not 1 to 63 letters"),
        ("Example.com/a", 'resource "Example.com/a": "Example.com" is not a domain name in lower case'),
        ("d" * 250 + "/a", "is not a domain name in lower case"),
        ("node.kubernetes.io/a", 'resource "node.kubernetes.io/a": the domain kubernetes.io is reserved'),
        ("requests.example.com/a", 'resource "requests.example.com/a": the prefix "requests." is reserved for quotas'),
        ("exämple.com/\\udcff", "is not a domain name in lower case"),
    ],
)
async def test_a_resource_that_no_kubelet_takes_is_left_out(
    node: Node, kubelet: FakeKubelet, name: str, problem: str
) -> None:
    """Log and status give the reason once, and the plugin's other resources are served."""
    offering = OfferingPlugin(node, f"[Device('bad', resource='{name}'), Device('good')]")
    await kubelet.wait_for(STUB, 1)

    def invalid() -> str:
        resources = state.resources if (state := offering.plugin.state()) else ()
        return next((each.detail for each in resources if each.registration is RegistrationStatus.INVALID), "")

    assert problem in await wait_until(invalid, "an invalid resource in the state")
    offering.plugin.hup()
    offering.offer("[Device('good'), Device('more')]")
    await kubelet.wait_for(STUB, 2)
    await wait_until(lambda: not invalid(), "the end of the problem")
    (line,) = offering.plugin.lines("resource invalid")
    assert problem in line["reason"]


async def test_a_resource_may_come_go_and_come_back(node: Node, kubelet: FakeKubelet) -> None:
    """A new resource is registered; one that disappears stays registered without devices; its return is a new list."""
    offering = OfferingPlugin(node, "[Device('a')]")
    await kubelet.wait_for(STUB, 1)
    offering.offer("[Device('a'), Device('b', resource='example.com/late')]")
    await kubelet.wait_for("example.com/late", 1)
    offering.offer("[Device('a')]")
    await kubelet.wait_for("example.com/late", 0)
    state = await offering.plugin.resource_until(lambda state: not state.devices, "example.com/late")
    assert state.registration is RegistrationStatus.REGISTERED
    assert state.reason == "the plugin no longer offers a device of this resource"
    assert len(node.sockets()) == 2
    offering.offer("[Device('a'), Device('b', resource='example.com/late'), Device('c', resource='example.com/late')]")
    await kubelet.wait_for("example.com/late", 2)
    assert len(kubelet.registrations) == 2
    assert len(kubelet.lists(STUB)) == 1


async def test_a_plugin_without_devices_says_why(node: Node, kubelet: FakeKubelet) -> None:
    """Its resource is registered and empty, with the plugin's reason in the log and the status."""
    target = node.write_plugin("""
class P(Plugin):
    resource = "example.com/stub"
    def devices(self):
        raise NoDevices("no such hardware in this machine")
""")
    plugin = node.start_plugin(target)
    await kubelet.wait_for(STUB, 0)
    state = await plugin.registered()
    assert state.reason == plugin.state().reason == "no such hardware in this machine"  # type: ignore[union-attr]
    assert plugin.lines("scan result changed")[0]["reason"] == "no such hardware in this machine"
