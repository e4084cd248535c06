"""How a plugin helps a kubelet to choose devices."""

import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from tests.harness.node import Node, dialled
from tests.integration.plugin.served import LIMITED, serving


async def preferred(node: Node, size: int, required: tuple[str, ...] = ()) -> list[list[str]]:
    """Return which of the devices d0 to d3 the plugin prefers."""
    container = wire.ContainerPreferredAllocationRequest(
        available_deviceIDs=["d0", "d1", "d2", "d3"], must_include_deviceIDs=required, allocation_size=size
    )
    async with dialled(node.sockets()[0]) as client:
        answer = await client.GetPreferredAllocation(wire.PreferredAllocationRequest(container_requests=[container]))
    return [list(each.deviceIDs) for each in answer.container_responses]


PREFERRING = """
class P(Plugin):
    resource = "example.com/stub"
    prefer_timeout = TIMEOUT
    def devices(self):
        return [Device(f"d{n}") for n in range(5)]
    def prefer(self, available, required, size):
        CODE
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no idea')", "prefer() failed at {place}: RuntimeError: no idea"),
        ("return next(iter([]))", "prefer() failed at {place}: StopIteration"),
        ("threading.Event().wait()", "prefer() did not return within 0.2 s; it is at {place}"),
        ("return None", "prefer() failed at {method}: TypeError: it returned None, {expected}"),
        ("return 'd0'", "prefer() failed at {method}: TypeError: it returned 'd0', {expected}"),
        ("return available[:1]", "the plugin prefers 'd0', which is not a valid choice of 2"),
        ("return [available[0]] * 2", "the plugin prefers 'd0', 'd0', which is not a valid choice of 2"),
        ("return [available[0], Device('d4')]", "the plugin prefers 'd0', 'd4', which is not a valid choice of 2"),
        ("return available[:2]", "the plugin prefers 'd0', 'd1', which is not a valid choice of 2"),
        ("return []", ""),
    ],
)
async def test_an_invalid_preference_leaves_the_choice_to_the_kubelet(
    node: Node, kubelet: FakeKubelet, code: str, reason: str
) -> None:
    """An error, a hang or nonsense gives an empty response, since an error fails the pod; the reason is logged once."""
    timeout = "0.2" if "0.2 s" in reason else "10"
    # The method has a second return, because one that can only return a wrong value is refused at the start.
    code = f"if available: {code}\n        return []"
    plugin = await serving(node, PREFERRING.replace("CODE", code).replace("TIMEOUT", timeout))
    file = node.directory / "thirdparty.py"
    expected = "expected a list of hub.Device: the available ones that it prefers"
    reason = reason.format(place=f"{file}:12", method=f"{file}:11", expected=expected)
    for _ in range(2):
        assert await preferred(node, 2, required=("d3",)) == [[]]
    assert [line["reason"] for line in plugin.lines("preference ignored")] == ([reason] if reason else [])
    await kubelet.wait_for(STUB, 5)
    await kubelet.admit("trainer", {STUB: 2})


async def test_a_preference_is_followed(node: Node, kubelet: FakeKubelet) -> None:
    """The kubelet takes what the plugin prefers, and learns from the options that it may ask for it."""
    code = "return [*required, *sorted(available, key=lambda device: device.id, reverse=True)][:size]"
    await serving(node, PREFERRING.replace("CODE", code).replace("TIMEOUT", "10"))
    assert await preferred(node, 2, required=("d1",)) == [["d1", "d3"]]
    await kubelet.wait_for(STUB, 5)
    pod = await kubelet.admit("trainer", {STUB: 2})
    assert sorted(pod.containers["main"].devices[STUB]) == ["d3", "d4"]


async def test_options_follow_from_the_code(node: Node, kubelet: FakeKubelet) -> None:
    """Without a preference or a reset, the options do not advertise that call, so the kubelet does not make it."""
    await serving(node, LIMITED)
    async with dialled(node.sockets()[0]) as client:
        assert await client.GetDevicePluginOptions(wire.Empty()) == wire.DevicePluginOptions()
        assert await client.PreStartContainer(wire.PreStartContainerRequest()) == wire.PreStartContainerResponse()
    assert await preferred(node, 1) == [[]]
    await kubelet.wait_for(STUB, 102)
