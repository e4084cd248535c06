"""The fake kubelet gives pods their devices, and starts containers, as a real one does."""

import asyncio
from collections.abc import Sequence

import grpc.aio
import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import AdmissionError, ContainerDevice, ContainerMount
from hub.testing.plugin import STUB
from hub.testing.scripted import allocated, device, devices, hang, refuse
from tests.harness.kubelet import node

OTHER = "example.com/other"


def ids(numbers: Sequence[int]) -> list[str]:
    """Return the names that devices() gives."""
    return [f"d{number}" for number in numbers]


@pytest.mark.fake_kubelet("a real kubelet picks one of two resources at random")
async def test_a_pod_gets_what_its_plugins_say() -> None:
    """The responses for all resources are merged; the first one has precedence if they contradict each other."""
    async with node() as it:
        stub = await it.plugin(listed=devices(2))
        other = await it.plugin(OTHER, "other.sock", listed=devices(1))
        null, zero = "/dev/null", "/dev/zero"
        answers = [
            allocated(
                envs={"A": "stub", "S": "1"},
                mounts=[wire.Mount(container_path="/in", host_path="/out", read_only=True)],
                devices=[wire.DeviceSpec(container_path="/dev/x", host_path=null, permissions="rw")],
                annotations={"note": "stub"},
                cdi_devices=[wire.CDIDevice(name="example.com/stub=0")],
            ),
            allocated(
                envs={"A": "other", "O": "2"},
                mounts=[wire.Mount(container_path="/in", host_path="/elsewhere")],
                devices=[
                    wire.DeviceSpec(container_path="/dev/x", host_path=zero, permissions="r"),
                    wire.DeviceSpec(container_path="/dev/y", host_path=zero, permissions="r"),
                ],
                cdi_devices=[wire.CDIDevice(name="example.com/stub=0"), wire.CDIDevice(name="example.com/other=0")],
            ),
        ]

        async def say_stub(*_: object) -> wire.AllocateResponse:
            return answers[0]

        async def say_other(*_: object) -> wire.AllocateResponse:
            return answers[1]

        stub.on_allocate, other.on_allocate = say_stub, say_other
        pod = await it.kubelet.admit("pod", {STUB: 2, OTHER: 1}, namespace="team", container="work")
        assert (pod.name, pod.namespace, list(pod.containers)) == ("pod", "team", ["work"])
        work = pod.containers["work"]
        assert {name: sorted(ids) for name, ids in work.devices.items()} == {STUB: ["d0", "d1"], OTHER: ["d0"]}
        assert work.started
        assert work.response.envs == {"A": "stub", "S": "1", "O": "2"}
        assert work.response.mounts == (ContainerMount("/in", "/out", read_only=True),)
        assert work.response.devices == (ContainerDevice("/dev/x", null, "rw"), ContainerDevice("/dev/y", zero, "r"))
        assert work.response.annotations == {"note": "stub"}
        assert work.response.cdi_devices == ("example.com/stub=0", "example.com/other=0")


async def test_each_container_has_devices_of_its_own() -> None:
    """There is one Allocate per container and resource; all of them come before the first container starts."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(3), pre_start=True)
        pod = await it.kubelet.admit("pod", containers={"a": {STUB: 2}, "b": {STUB: 1}, "c": {}})
        held = [sorted(container.devices.get(STUB, [])) for container in pod.containers.values()]
        assert [len(ids) for ids in held] == [2, 1, 0]
        assert sorted([*held[0], *held[1]]) == ["d0", "d1", "d2"]
        assert plugin.names()[1:] == ["Allocate", "Allocate", "PreStartContainer", "PreStartContainer"]
        assert [sorted(entry.devices_ids) for entry in plugin.requests("Allocate")] == held[:2]
        assert [sorted(entry.devices_ids) for entry in plugin.requests("PreStartContainer")] == held[:2]


async def test_too_few_devices() -> None:
    """The pod fails for good, and holds nothing."""
    async with node() as it:
        plugin = await it.plugin(listed=[*devices(2), device("bad", healthy=False)])
        with pytest.raises(AdmissionError) as caught:
            await it.kubelet.admit("pod", {STUB: 3})
        assert caught.value.reason == "UnexpectedAdmissionError"
        assert caught.value.message == (
            f"Allocate failed due to requested number of devices unavailable for {STUB}. "
            "Requested: 3, Available: 2, which is unexpected"
        )
        with pytest.raises(AdmissionError, match="Requested: 1, Available: 0"):
            await it.kubelet.admit("pod", containers={"a": {STUB: 2}, "b": {STUB: 1}})
        await it.kubelet.admit("pod", {STUB: 2})
        assert len(plugin.requests("Allocate")) == 2


async def test_a_resource_that_is_not_registered() -> None:
    """The pod fails for good."""
    async with node() as it:
        with pytest.raises(AdmissionError, match=f"cannot allocate unregistered device {STUB}"):
            await it.kubelet.admit("pod", {STUB: 1})


async def test_a_refused_allocate_fails_the_pod_with_the_plugins_words() -> None:
    """The status code is spelled as in Go; what was allocated for other containers is free again."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2))
        other = await it.plugin(OTHER, "other.sock", listed=devices(1))
        other.on_allocate = refuse(grpc.StatusCode.INVALID_ARGUMENT, "device d0 is on fire")
        words = (
            "UnexpectedAdmissionError: Allocate failed due to rpc error: "
            "code = InvalidArgument desc = device d0 is on fire, which is unexpected"
        )
        with pytest.raises(AdmissionError, match=words):
            await it.kubelet.admit("pod", containers={"a": {STUB: 2}, "b": {OTHER: 1}})
        assert not it.kubelet.pods
        await it.kubelet.admit("pod", {STUB: 2})
        assert len(plugin.requests("Allocate")) == 2


async def test_an_answer_for_no_container_fails_the_pod() -> None:
    """The kubelet's request was for one container."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))

        async def empty(*_: object) -> wire.AllocateResponse:
            return wire.AllocateResponse()

        plugin.on_allocate = empty
        with pytest.raises(AdmissionError, match="no containers return in allocation response"):
            await it.kubelet.admit("pod", {STUB: 1})


async def test_a_plugin_that_dies_in_allocate_fails_the_pod() -> None:
    """The error contains the status code of a lost connection."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))
        plugin.on_allocate = hang
        plugin.called.clear()
        admission = asyncio.create_task(it.kubelet.admit("pod", {STUB: 1}))
        await plugin.called.wait()
        await plugin.close()
        with pytest.raises(AdmissionError, match=r"rpc error: code = (Unavailable|Canceled) desc = "):
            await admission


async def test_admission_is_sequential_and_waits_without_limit() -> None:
    """A plugin that hangs in Allocate delays every pod, even those that do not need it."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2))
        other = await it.plugin(OTHER, "other.sock", listed=devices(1))
        go_on = asyncio.Event()

        async def late(*_: object) -> wire.AllocateResponse:
            await go_on.wait()
            return allocated()

        plugin.on_allocate = late
        plugin.called.clear()
        first = asyncio.create_task(it.kubelet.admit("first", {STUB: 1}))
        await plugin.called.wait()
        second = asyncio.create_task(it.kubelet.admit("second", {OTHER: 1}))
        await asyncio.wait([second], timeout=0.2)
        assert other.requests("Allocate") == []
        go_on.set()
        assert len((await first).containers["main"].devices[STUB]) == 1
        assert (await second).containers["main"].devices == {OTHER: ["d0"]}


async def test_never_two_admission_calls_at_once() -> None:
    """This holds however many pods arrive at once."""
    async with node() as it:
        busy, most = 0, 0

        async def count(*_: object) -> wire.AllocateResponse:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0)
            busy -= 1
            return allocated()

        for resource, socket in ((STUB, "a.sock"), (OTHER, "b.sock")):
            plugin = await it.plugin(resource, socket, listed=devices(10), prefers=True)
            plugin.on_allocate = count
        pods = [it.kubelet.admit(f"pod{number}", {STUB: 1, OTHER: 1}) for number in range(10)]
        admitted = await asyncio.gather(*pods)
        assert most == 1
        assert {pod.containers["main"].devices[STUB][0] for pod in admitted} == set(ids(range(10)))


async def test_a_removed_pods_devices_are_free_and_no_plugin_is_notified() -> None:
    """The API has no call for it."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))
        pod = await it.kubelet.admit("pod", {STUB: 1})
        calls = plugin.names()
        await it.kubelet.remove(pod)
        assert plugin.names() == calls
        await it.kubelet.admit("pod", {STUB: 1})
        await it.kubelet.remove("pod")
        with pytest.raises(LookupError, match="there is no pod default/pod"):
            await it.kubelet.remove("pod")


async def test_two_pods_cannot_have_the_same_name() -> None:
    """They can exist only in different namespaces."""
    async with node() as it:
        await it.kubelet.admit("pod")
        await it.kubelet.admit("pod", namespace="other")
        with pytest.raises(ValueError, match="pod default/pod already exists"):
            await it.kubelet.admit("pod")


async def test_a_device_that_disappears_stays_with_its_pod() -> None:
    """It stays there even when it comes back: no other pod gets it before the pod is gone."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2))
        pod = await it.kubelet.admit("pod", {STUB: 1})
        (held,) = pod.containers["main"].devices[STUB]
        plugin.send(each for each in devices(2) if held != each.ID)
        await it.kubelet.wait_for(STUB, allocatable=1)
        assert pod.containers["main"].devices == {STUB: [held]}
        plugin.send(devices(2))
        await it.kubelet.wait_for(STUB, allocatable=2)
        assert (await it.kubelet.admit("next", {STUB: 1})).containers["main"].devices[STUB] != [held]


async def test_without_a_kubelet_no_pod_is_admitted() -> None:
    """The error gives the reason."""
    async with node() as it:
        pod = await it.kubelet.admit("pod")
        await it.kubelet.stop()
        with pytest.raises(AdmissionError, match="the kubelet not running"):
            await it.kubelet.admit("next")
        with pytest.raises(RuntimeError, match="the kubelet is not running"):
            await it.kubelet.start_container(pod)
