"""Which container holds a device."""

from hub.kubelet.podresources import list_holders, pod_resources_socket
from hub.testing.plugin import STUB
from hub.testing.scripted import devices
from tests.harness.kubelet import node


async def test_every_held_device_has_its_holder() -> None:
    """A device that a pod holds has its pod and container; a free one does not, nor does one of a removed pod."""
    async with node() as it:
        await it.plugin(listed=devices(3))
        await it.kubelet.admit("first", {STUB: 1}, namespace="team")
        await it.kubelet.admit("second", {STUB: 1}, container="worker")
        socket = pod_resources_socket(it.plugin_dir)
        holders = await list_holders(socket)
        assert holders is not None
        assert {resource for resource, _ in holders} == {STUB}
        assert sorted(holders.values()) == ["default/second/worker", "team/first/main"]
        await it.kubelet.remove("second")
        assert await list_holders(socket) == {
            key: holder for key, holder in holders.items() if holder == "team/first/main"
        }


async def test_holders_are_unknown_without_the_api() -> None:
    """A kubelet that does not serve the API, or is gone, is not an error."""
    async with node() as it:
        await it.kubelet.stop()
        assert await list_holders(pod_resources_socket(it.plugin_dir)) is None
