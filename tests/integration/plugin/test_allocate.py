"""What a kubelet gets for devices that it chose."""

import asyncio
import json
import re
import time

import grpc
import pytest

from hub.testing.kubelet import AdmissionError, FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.harness.node import Node, asking_for, dialled
from tests.integration.plugin.served import LIMITED, serving


async def refused(node: Node, *ids: str) -> tuple[grpc.StatusCode, str]:
    """Return the code and text with which the plugin refuses these devices."""
    async with dialled(node.sockets()[0]) as client:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.Allocate(asking_for(*ids))
    return error.value.code(), error.value.details() or ""


async def test_a_container_gets_what_its_devices_define(node: Node, kubelet: FakeKubelet) -> None:
    """Device files, mounts, variables, CDI names and annotations of the devices are merged in the response."""
    await serving(
        node,
        """
class P(Plugin):
    resource = "example.com/stub"
    def devices(self):
        for n in range(2):
            yield Device(
                f"d{n}",
                nodes=[DeviceNode("/dev/null", f"/dev/d{n}", "rw"), DeviceNode(Path("/dev/zero"), "", "rwr"[n])],
                mounts=[Mount("/opt/lib", "/usr/lib/vendor", read_only=False)],
                env={"DEVICES": f"d{n}", "VENDOR": "v"},
                cdi=[f"vendor.com/class=d{n}", "vendor.com/class=all"],
                annotations={"vendor.com/devices": f"d{n}"},
            )
""",
    )
    await kubelet.wait_for(STUB, 2)
    response = (await kubelet.admit("trainer", {STUB: 2})).containers["main"].response
    order = response.envs["DEVICES"]  # a real kubelet passes devices in no particular order
    assert order in ("d0,d1", "d1,d0")
    assert response.envs == {"DEVICES": order, "VENDOR": "v"}
    assert [(m.container_path, m.host_path, m.read_only) for m in response.mounts] == [
        ("/usr/lib/vendor", "/opt/lib", False)
    ]
    assert sorted((d.container_path, d.host_path, d.permissions) for d in response.devices) == [
        ("/dev/d0", "/dev/null", "rw"),
        ("/dev/d1", "/dev/null", "rw"),
        ("/dev/zero", "/dev/zero", "rw"),
    ]
    assert sorted(response.cdi_devices) == ["vendor.com/class=all", "vendor.com/class=d0", "vendor.com/class=d1"]
    assert response.annotations == {"vendor.com/devices": "d0,d1"}


async def test_ids_are_checked(node: Node, kubelet: FakeKubelet) -> None:
    """Unknown, duplicate and unhealthy devices are refused with the id, the reason and a code of their own."""
    node.faults(json.dumps({"unhealthy": {"stub-1": "fell off the bus"}}))
    await node.start_plugin().registered()
    await kubelet.wait_for(STUB, 3)
    unknown = (grpc.StatusCode.INVALID_ARGUMENT, f"{STUB}: device 'stub-9' does not exist")
    twice = (grpc.StatusCode.INVALID_ARGUMENT, f"{STUB}: device 'stub-0' is requested twice")
    broken = (grpc.StatusCode.UNAVAILABLE, f"{STUB}: device 'stub-1' is not healthy: fell off the bus")
    assert await refused(node, "stub-0", "stub-9") == unknown
    assert await refused(node, "stub-0", "stub-0") == twice
    assert await refused(node, "stub-1") == broken
    assert (await refused(node, "x" * 100_000))[1] == f"{STUB}: device '{'x' * 63}...' does not exist"


async def test_an_allocation_that_no_kubelet_receives(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin is at fault: the pod's events give the reason, and after several calls the plugin is failing."""
    plugin = await serving(
        node,
        """
class P(Plugin):
    resource = "example.com/stub"
    def devices(self):
        yield Device("a")
    def allocate(self, devices):
        return Allocation(env={"X": "x" * (5 << 20)})
""",
    )
    await kubelet.wait_for(STUB, 1)
    for number in range(3):
        with pytest.raises(AdmissionError, match="returned an Allocation of 5242898 bytes, expected at most 4194304"):
            await kubelet.admit(f"pod-{number}", {STUB: 1})
    state = await plugin.resource_until(lambda state: bool(state.failing))
    assert "the last 3 allocations failed: allocate() failed at" in state.failing


async def test_a_slow_allocation_is_waited_for(node: Node, kubelet: FakeKubelet) -> None:
    """An allocation may take any time within the plugin's limit."""
    node.faults("allocate: {delay: 0.3}")
    await node.start_plugin().registered()
    await kubelet.wait_for(STUB, 4)
    begin = time.monotonic()
    await kubelet.admit("trainer", {STUB: 1})
    assert time.monotonic() - begin >= 0.3


async def test_a_hanging_allocation_fails_at_its_limit(node: Node, kubelet: FakeKubelet) -> None:
    """The kubelet, which would wait forever, gets an error; other calls are served in the meantime."""
    plugin = await serving(node, LIMITED.replace("0.2", "5.0", 1))
    async with dialled(node.sockets()[0]) as client:
        hanging = asyncio.ensure_future(client.Allocate(asking_for("hangs")))
        await wait_until((node.directory / "hangs").exists, "the call that hangs")
        await client.Allocate(asking_for("good"))
        assert not hanging.done()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await hanging
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    details = error.value.details() or ""
    assert details.startswith(
        f"{STUB}: allocation of 'hangs': allocate() did not return within 5 s; it is at {node.directory}"
    )
    assert plugin.lines("allocation rejected")[0]["reason"] == details
    assert kubelet.running


async def test_hanging_allocations_do_not_pile_up(node: Node, kubelet: FakeKubelet) -> None:
    """After a number of calls that never return, no other is started until one returns, because each holds a thread."""
    plugin = await serving(node, LIMITED)
    for _ in range(16):
        assert (await refused(node, "hangs"))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    code, text = await refused(node, "good")
    assert code is grpc.StatusCode.INTERNAL
    assert text == f"{STUB}: allocation of 'good': 16 earlier calls to the plugin have not returned"
    assert len(plugin.lines("allocation rejected")) == 2
    assert kubelet.running


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise OSError(5, 'no answer from the card')", "OSError: [Errno 5] no answer from the card"),
        ("raise TimeoutError('bus timed out')", "TimeoutError: bus timed out"),
        ("raise StopIteration", "StopIteration"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise concurrent.futures.CancelledError", "CancelledError"),
        ("return None", "TypeError: it returned None, expected a hub.Allocation: return Allocation("),
        (
            "return Allocation(env={'A': 1})",
            "TypeError: it returned an Allocation whose env is {'A': 1}, expected strings by",
        ),
    ],
)
async def test_a_plugins_error_reaches_the_pod(node: Node, kubelet: FakeKubelet, code: str, words: str) -> None:
    """An exception in plugin code is reported with its own text, and the process keeps working."""
    plugin = await serving(
        node,
        f"""
import asyncio, concurrent.futures
class P(Plugin):
    resource = "example.com/stub"
    failed = False
    def devices(self):
        return [Device("d0")]
    def allocate(self, devices):
        if not self.failed:
            P.failed = True
            {code}
        return super().allocate(devices)
""",
    )
    await kubelet.wait_for(STUB, 1)
    with pytest.raises(AdmissionError, match="code = Internal") as error:
        await kubelet.admit("trainer", {STUB: 1})
    place = re.escape(f"{node.directory}/thirdparty.py")
    said = rf"{STUB}: allocation of 'd0': allocate\(\) failed at {place}:\d+: {re.escape(words)}"
    assert re.search(said, str(error.value)), str(error.value)
    await kubelet.admit("trainer", {STUB: 1})
    assert len(plugin.lines("allocation rejected")) == 1


async def test_devices_that_contradict_each_other_are_refused(node: Node, kubelet: FakeKubelet) -> None:
    """Two devices with different files for one path cannot be given to one container, and the error says why."""
    await serving(
        node,
        """
class P(Plugin):
    resource = "example.com/stub"
    def devices(self):
        return [Device(n, nodes=[DeviceNode(f"/dev/{n}", "/dev/it")]) for n in ("null", "zero")]
""",
    )
    await kubelet.wait_for(STUB, 2)
    code, text = await refused(node, "null", "zero")
    assert code is grpc.StatusCode.INTERNAL
    assert text.endswith("ValueError: /dev/it would be both /dev/null and /dev/zero")
    await kubelet.admit("trainer", {STUB: 1})


async def test_a_long_list_of_devices_in_an_error_is_cut(node: Node, kubelet: FakeKubelet) -> None:
    """An error about many devices still arrives: it is sent in a header, whose size is limited."""
    await serving(node, LIMITED.replace('"hangs":', '"d0":'))
    _, text = await refused(node, *(f"d{n}" for n in range(100)))
    assert "'d15' and 84 more: allocate() did not return within 0.2 s" in text
    assert kubelet.running


async def test_an_allocation_makes_no_log_line(node: Node, kubelet: FakeKubelet) -> None:
    """No call is logged above debug; a rejection is logged once, not at every attempt."""
    plugin = node.start_plugin()
    await plugin.registered()
    await kubelet.wait_for(STUB, 4)
    before = len(plugin.lines())
    async with dialled(node.sockets()[0]) as client:
        for _ in range(20):
            await client.Allocate(asking_for("stub-0"))
    for _ in range(20):
        await refused(node, "stub-7")
    assert [line["event"] for line in plugin.lines()[before:]] == ["allocation rejected"]
