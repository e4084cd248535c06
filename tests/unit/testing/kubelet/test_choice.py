"""The fake kubelet chooses devices as a real one does: aligned, and as their plugin prefers."""

from collections.abc import Sequence

import grpc.aio
import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import AdmissionError, Pod
from hub.testing.kubelet.model import AdvertisedDevice
from hub.testing.kubelet.topology import affinity
from hub.testing.plugin import STUB
from hub.testing.scripted import Answer, device, devices, refuse
from tests.harness.kubelet import node

OTHER = "example.com/other"


def prefer(*ids: str) -> Answer:
    """Create a response to GetPreferredAllocation."""

    async def answer(*_: object) -> wire.PreferredAllocationResponse:
        container = wire.ContainerPreferredAllocationResponse(deviceIDs=ids)
        return wire.PreferredAllocationResponse(container_responses=[container])

    return answer


def held(pod: Pod) -> set[str]:
    """Return the devices of the only container, as a set: a real kubelet does not order them."""
    return set(pod.containers["main"].devices[STUB])


async def test_the_plugin_chooses_when_there_is_a_choice() -> None:
    """The call names the available devices and the requested number."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(4), prefers=True)
        plugin.on_prefer = prefer("d0")
        await it.kubelet.admit("first", {STUB: 1})
        plugin.on_prefer = prefer("d3", "d2")
        pod = await it.kubelet.admit("pod", {STUB: 2})
        assert held(pod) == {"d3", "d2"}
        entry = plugin.requests("GetPreferredAllocation")[-1]
        assert sorted(entry.available_deviceIDs) == ["d1", "d2", "d3"]
        assert (list(entry.must_include_deviceIDs), entry.allocation_size) == ([], 2)
        assert plugin.names()[-2:] == ["GetPreferredAllocation", "Allocate"]


async def test_the_plugin_is_asked_even_for_all_that_is_left_unless_its_options_say_no() -> None:
    """The kubelet does not check whether there is a choice."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2), prefers=True)
        silent = await it.plugin(OTHER, "other.sock", listed=devices(2), prefers=False)
        await it.kubelet.admit("pod", {STUB: 2, OTHER: 1})
        (entry,) = plugin.requests("GetPreferredAllocation")
        assert (sorted(entry.available_deviceIDs), entry.allocation_size) == (["d0", "d1"], 2)
        assert silent.requests("GetPreferredAllocation") == []


async def test_the_plugin_is_not_asked_if_the_aligned_devices_are_as_many_as_wanted() -> None:
    """Alignment leaves no choice."""
    async with node() as it:
        plugin = await it.plugin(listed=near([0], [1], [1]), prefers=True)
        await it.kubelet.admit("pod", {STUB: 2})
        assert plugin.requests("GetPreferredAllocation") == []


@pytest.mark.parametrize(
    ("preferred", "taken", "among"),
    [
        ((), set(), {"d0", "d1", "d2", "d3"}),
        (("nonsense", "d9"), set(), {"d0", "d1", "d2", "d3"}),
        (("d2",), {"d2"}, {"d0", "d1", "d2", "d3"}),
        (("d3", "d2", "d1"), set(), {"d1", "d2", "d3"}),
    ],
)
async def test_an_unusable_preference_falls_back_to_the_kubelets_choice(
    preferred: list[str], taken: set[str], among: set[str]
) -> None:
    """It is followed as far as possible; the rest are chosen freely."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(4), prefers=True)
        plugin.on_prefer = prefer(*preferred)
        devices_of_pod = held(await it.kubelet.admit("pod", {STUB: 2}))
        assert len(devices_of_pod) == 2
        assert taken <= devices_of_pod <= among


async def test_an_error_of_the_preference_fails_the_pod() -> None:
    """No Allocate follows it."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(4), prefers=True)
        plugin.on_prefer = refuse(grpc.StatusCode.INTERNAL, "cannot decide")
        words = "GetPreferredAllocation rpc failed with err: rpc error: code = Internal desc = cannot decide"
        with pytest.raises(AdmissionError, match=words):
            await it.kubelet.admit("pod", {STUB: 2})
        assert plugin.requests("Allocate") == []


def near(*nodes: Sequence[int]) -> list[wire.Device]:
    """Create devices d0, d1, ..., one for each argument, which lists its nodes."""
    return [device(f"d{number}", numa=numa) for number, numa in enumerate(nodes)]


async def test_devices_of_one_numa_node_are_preferred() -> None:
    """Two that fit together are taken, though others precede them in the list."""
    async with node() as it:
        await it.plugin(listed=near([0], [1], [1]))
        assert held(await it.kubelet.admit("pod", {STUB: 2})) == {"d1", "d2"}


async def test_the_resources_of_a_container_are_aligned_with_each_other() -> None:
    """The smallest set of nodes that serves them all is taken; a resource without nodes is ignored."""
    async with node() as it:
        await it.plugin(listed=near([0], [0], [1]))
        await it.plugin(OTHER, "other.sock", listed=near([1]))
        await it.plugin("example.com/plain", "plain.sock", listed=devices(1))
        pod = await it.kubelet.admit("pod", {STUB: 1, OTHER: 1, "example.com/plain": 1})
        assert pod.containers["main"].devices == {STUB: ["d2"], OTHER: ["d0"], "example.com/plain": ["d0"]}


async def test_the_plugin_chooses_among_the_aligned_ones() -> None:
    """Others are not offered to it."""
    async with node() as it:
        plugin = await it.plugin(listed=near([0], [1], [1], [1]), prefers=True)
        await it.plugin(OTHER, "other.sock", listed=near([1]))
        plugin.on_prefer = prefer("d0", "d3")
        pod = await it.kubelet.admit("pod", {STUB: 1, OTHER: 1})
        assert sorted(plugin.requests("GetPreferredAllocation")[0].available_deviceIDs) == ["d1", "d2", "d3"]
        assert pod.containers["main"].devices[STUB] == ["d3"]


async def test_the_plugin_completes_an_insufficient_alignment() -> None:
    """The aligned devices are taken first, and the call says that the choice must include them."""
    async with node() as it:
        plugin = await it.plugin(listed=near([0], [1], [1]), prefers=True)
        await it.plugin(OTHER, "other.sock", listed=near([0]))
        plugin.on_prefer = prefer("d2", "d0")
        pod = await it.kubelet.admit("pod", {STUB: 2, OTHER: 1})
        assert held(pod) == {"d0", "d2"}
        (entry,) = plugin.requests("GetPreferredAllocation")
        assert sorted(entry.available_deviceIDs) == ["d0", "d1", "d2"]
        assert (list(entry.must_include_deviceIDs), entry.allocation_size) == (["d0"], 2)


def found(*nodes: Sequence[int]) -> list[AdvertisedDevice]:
    """Create devices as the kubelet knows them, one for each argument, which lists its nodes."""
    return [AdvertisedDevice(f"d{number}", healthy=True, numa=tuple(numa)) for number, numa in enumerate(nodes)]


@pytest.mark.parametrize(
    ("known", "sizes", "nodes"),
    [
        ({STUB: found([0], [1], [0, 1])}, {STUB: 2}, {0}),
        ({STUB: found([0], [1], [2])}, {STUB: 2}, {0, 1}),
        ({STUB: found([0], [1]), OTHER: found([], [])}, {STUB: 1, OTHER: 2}, {0}),
        ({STUB: found([0], [1]), OTHER: found([1])}, {STUB: 1, OTHER: 1}, {1}),
        ({STUB: found([0]), OTHER: found([1])}, {STUB: 1, OTHER: 1}, {0}),
        ({STUB: found([], [])}, {STUB: 1}, set()),
        ({STUB: found([0], [])}, {STUB: 2}, {0}),
        ({STUB: found(*([number] for number in range(9)))}, {STUB: 1}, set()),
    ],
)
def test_alignment(known: dict[str, list[AdvertisedDevice]], sizes: dict[str, int], nodes: set[int]) -> None:
    """It uses few nodes, if possible the fewest that serve all resources.

    It uses none if no device has a node or if there are too many nodes.
    """
    assert affinity(known, known, sizes) == nodes


def test_alignment_goes_by_what_is_free() -> None:
    """A node whose devices are all taken is not chosen."""
    known = found([0], [0], [1], [1])
    assert affinity({STUB: known}, {STUB: known[1:]}, {STUB: 2}) == {1}
    assert affinity({STUB: known}, {STUB: known[1:3]}, {STUB: 2}) == {0, 1}
