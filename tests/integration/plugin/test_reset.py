"""Resets before a container starts, from the kubelet's call to the end of every process."""

import asyncio
import re
from collections.abc import Callable

import psutil
import pytest

from hub.base.sockets import is_served
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import PluginReport, ResetReport
from hub.testing.kubelet import ContainerStartError, FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node, asking_for, dialled

RESETTING = "{reset: true, reset_timeout: 3}"
PATIENT = "{reset: true}"
LATE = "{reset: true, reset_timeout: 5}"
UNHURRIED = """
from hub.reset.runner import ResetRunner
from plugins.stub import Stub as P

# On a busy machine, processes may take longer than that to be killed, and would count as stuck.
ResetRunner.__init__.__kwdefaults__["kill_timeout"] = 20.0
"""

FAILURES = [
    ("do: fail, text: the link stays down", "failed after .* s: the link stays down"),
    ("do: raise, text: no idea", r"failed after .* s: at \S+/plugins/stub/reset.py:\d+: RuntimeError: no idea"),
    ("do: segfault", "killed by SIGSEGV"),
    ("do: sigkill", "killed by SIGKILL"),
    ("do: exit, code: 3", "exited with code 3"),
    ("do: hang", "did not finish in time and was stopped after"),
    ("do: hang in C", "did not finish in time and was stopped after"),
    ("do: spin", "did not finish in time and was stopped after"),
    ("do: succeed, seconds: 60", "did not finish in time and was stopped after"),
    ("do: allocate", "Cannot allocate memory"),
    ("do: scribble", "returned no valid result"),
    ("do: leave and hang", "did not finish in time and was stopped after"),
    ("do: leave and crash", "killed by SIGKILL"),
]
HARMLESS = ["succeed", "garbage", "flood", "flood line", "leave child", "leave daemon"]


async def _plugin(node: Node, kubelet: FakeKubelet, config: str = RESETTING, devices: int = 4) -> PluginProcess:
    plugin = node.start_plugin(config=config)
    await kubelet.wait_for(STUB, devices)
    return plugin


def _fault(node: Node, device: str, fault: str) -> None:
    node.faults(f"reset: {{{device}: {{{fault}}}}}")


def _children(plugin: PluginProcess) -> list[psutil.Process]:
    return psutil.Process(plugin.pid).children(recursive=True)


async def _state(plugin: PluginProcess, holds: Callable[[PluginReport], bool]) -> PluginReport:
    return await wait_until(lambda: state if (state := plugin.state()) and holds(state) else None, "the expected state")


async def _last_reset(plugin: PluginProcess, device: str) -> ResetReport:
    """Return the last reset of one of the stub's devices, whole or physical."""
    names = (device, f"{STUB} {device}")
    state = await _state(plugin, lambda state: any(name in state.resets for name in names))
    return next(state.resets[name] for name in names if name in state.resets)


@pytest.mark.parametrize(("fault", "words"), FAILURES, ids=[fault for fault, _ in FAILURES])
async def test_a_reset_that_fails(node: Node, kubelet: FakeKubelet, fault: str, words: str) -> None:
    """The container does not start, its events name the device, the error and the time; nothing else is affected."""
    late = "was stopped after" in words
    plugin = node.start_plugin(node.write_plugin(UNHURRIED), config=LATE if late else PATIENT)
    await kubelet.wait_for(STUB, 4)
    _fault(node, "stub-0", fault)
    with pytest.raises(ContainerStartError) as refused:
        await kubelet.admit("unlucky", {STUB: 1})
    assert re.search(f"{STUB}: reset of stub-0 .*{words}", str(refused.value)), str(refused.value)
    assert not _children(plugin)
    lucky = await kubelet.admit("lucky", {STUB: 1})
    assert lucky.containers["main"].started
    state = await _state(plugin, lambda state: sum(state.reset_counts.values()) == 2)
    assert state.reset_counts["ok"] == 1
    assert state.resets[f"{STUB} stub-0"].message in str(refused.value)


@pytest.mark.parametrize("action", HARMLESS)
async def test_a_reset_that_succeeds(node: Node, kubelet: FakeKubelet, action: str) -> None:
    """The container starts, whatever the reset printed and whatever processes it left behind, which are killed."""
    plugin = await _plugin(node, kubelet, PATIENT)
    _fault(node, "stub-0", f"do: {action}")
    pod = await kubelet.admit("pod", {STUB: 1})
    assert pod.containers["main"].started
    assert not _children(plugin)
    last = await _last_reset(plugin, "stub-0")
    assert last.outcome == "ok"
    assert last.seconds > 0


async def test_without_a_reset_the_kubelet_does_not_ask(node: Node, kubelet: FakeKubelet) -> None:
    """A plugin without a reset declares this to the kubelet, which then does not call it before a container starts."""
    plugin = await _plugin(node, kubelet, "{}")
    await kubelet.admit("pod", {STUB: 1})
    async with dialled(node.sockets()[0]) as client:
        assert not (await client.GetDevicePluginOptions(wire.Empty())).pre_start_required
    assert not (await _state(plugin, lambda state: bool(state.resources))).resets


async def test_resets_that_fail_again_and_again_make_a_device_unhealthy(node: Node, kubelet: FakeKubelet) -> None:
    """After three failures, the device is not allocated; a reset that succeeds while it is unused restores it."""
    plugin = await _plugin(node, kubelet)
    _fault(node, "stub-0", "do: fail, text: no answer")
    for n in range(3):
        await kubelet.wait_for(STUB, 4)
        with pytest.raises(ContainerStartError):
            await kubelet.admit(f"pod-{n}", {STUB: 1})
        await kubelet.remove(f"pod-{n}")
    await kubelet.wait_for(STUB, 3)
    resource = await plugin.resource_until(lambda state: not state.devices[0].healthy)
    assert "no answer" in resource.devices[0].reason
    node.faults("")
    await kubelet.wait_for(STUB, 4, timeout=WAIT_SECONDS)


async def test_a_device_that_a_pod_holds_is_reset_by_its_next_start(node: Node, kubelet: FakeKubelet) -> None:
    """A reset that succeeds at that start makes the device healthy again."""
    plugin = await _plugin(node, kubelet)
    _fault(node, "stub-0", "do: fail, text: no answer")
    with pytest.raises(ContainerStartError) as refused:
        await kubelet.admit("pod", {STUB: 1})
    pod = refused.value.pod
    for _ in range(2):
        with pytest.raises(ContainerStartError):
            await kubelet.start_container(pod)
    await kubelet.wait_for(STUB, 3)
    node.faults("")
    await kubelet.start_container(pod)
    await kubelet.wait_for(STUB, 4)
    state = await _state(plugin, lambda state: state.reset_counts.get("ok") == 1)
    assert state.reset_counts == {"failed": 3, "ok": 1}


async def test_what_is_broken_is_still_broken_after_a_restart(node: Node, kubelet: FakeKubelet) -> None:
    """A device whose resets have failed is not made healthy by a stop or a SIGKILL of the plugin."""
    plugin = await _plugin(node, kubelet)
    _fault(node, "stub-2", "do: segfault")
    for _ in range(3):
        async with dialled(node.sockets()[0]) as client:
            with pytest.raises(Exception, match="SIGSEGV"):
                await client.PreStartContainer(wire.PreStartContainerRequest(devices_ids=["stub-2"]))
    await kubelet.wait_for(STUB, 3)
    health = node.run_dir.path / "node" / "stub.health.json"
    await wait_until(lambda: health.exists() and "SIGSEGV" in health.read_text(), "the fault in the file")
    for end in (plugin.kill, plugin.stop):
        ended = end()
        if ended is not None:
            await ended
        plugin = await _plugin(node, kubelet, devices=3)
        resource = await plugin.registered()
        assert [device.id for device in resource.devices if not device.healthy] == ["stub-2"]
        assert "SIGSEGV" in resource.devices[2].reason


async def test_a_health_file_that_cannot_be_read_is_renamed(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin serves, reports that the recorded health is lost, and names the file that was kept."""
    (node.run_dir.path / "node").mkdir()
    (node.run_dir.path / "node" / "stub.health.json").write_text("{nonsense")
    plugin = await _plugin(node, kubelet)
    line = await plugin.logged("health file unreadable")
    assert (node.run_dir.path / "node" / "stub.health.unreadable").read_text() == "{nonsense"
    assert line["kept"].endswith("stub.health.unreadable")


async def test_shares_of_a_device_are_not_reset(node: Node, kubelet: FakeKubelet) -> None:
    """Another container may use the other share; the status says why its reset was skipped, and it starts."""
    target = node.write_plugin(
        "class P(Plugin):\n"
        "    resource = 'example.com/shared'\n"
        "    reset = 'plugins.stub.reset:reset'\n"
        "    def devices(self):\n"
        "        for n in range(2):\n"
        "            yield Device(f'card::{n}', physical='card')\n"
    )
    plugin = node.start_plugin(target, name="shared")
    await kubelet.wait_for("example.com/shared", 2)
    pod = await kubelet.admit("pod", {"example.com/shared": 1})
    assert pod.containers["main"].started
    last = await _last_reset(plugin, "card")
    assert last.outcome == "skipped"
    assert "shared by 2 devices" in last.message


async def test_a_reset_without_its_settings_fails(node: Node, kubelet: FakeKubelet) -> None:
    """An unreadable fault file keeps the container from starting, and the pod's events name its path."""
    await _plugin(node, kubelet)
    node.faults("reset: {stub-0: {do: nothing that is known}}")
    await kubelet.wait_for(STUB, 0)
    async with dialled(node.sockets()[0]) as client:
        with pytest.raises(Exception, match=r"stub-faults\.yaml: reset.*unknown value"):
            await client.PreStartContainer(wire.PreStartContainerRequest(devices_ids=["stub-0"]))


async def test_a_killed_plugin_ends_its_resets(node: Node, kubelet: FakeKubelet) -> None:
    """SIGKILL of the plugin in the middle of a reset leaves no process behind."""
    plugin = await _plugin(node, kubelet, PATIENT)
    # All devices hang, because on a busy machine the kubelet may choose one without the plugin's preference.
    node.faults("\n".join(["reset:", *(f"  stub-{number}: {{do: leave and hang}}" for number in range(4))]))
    admission = asyncio.create_task(kubelet.admit("pod", {STUB: 1}))
    # These are the guard, the worker, and the two processes that the worker leaves behind.
    family = await wait_until(lambda: found if len(found := _children(plugin)) >= 4 else None, "the reset")
    plugin.kill()
    with pytest.raises(ContainerStartError):
        await admission
    _, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
    assert not alive


async def test_a_kubelet_that_gives_up_ends_the_reset(node: Node, kubelet: FakeKubelet) -> None:
    """The result is no longer needed, so the reset is stopped; another kubelet finds all devices."""
    plugin = await _plugin(node, kubelet, PATIENT)
    _fault(node, "stub-0", "do: hang in C")
    admission = asyncio.create_task(kubelet.admit("pod", {STUB: 1}))
    family = await wait_until(lambda: found if len(found := _children(plugin)) >= 2 else None, "the reset")
    await kubelet.restart()
    with pytest.raises(ContainerStartError):
        await admission
    _, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
    assert not alive
    await kubelet.wait_for(STUB, 4)


async def test_everything_else_is_answered_while_resets_hang(node: Node, kubelet: FakeKubelet) -> None:
    """Eight hanging resets delay neither Allocate nor a change to the list."""
    plugin = await _plugin(node, kubelet, "{reset: true, resources: [{devices: 12}]}", devices=12)
    node.faults("reset: {'*': {do: hang}}")
    async with dialled(node.sockets()[0]) as client:
        hanging = client.PreStartContainer(wire.PreStartContainerRequest(devices_ids=[f"stub-{n}" for n in range(8)]))
        await wait_until(lambda: len(_children(plugin)) >= 16, "eight resets")
        for n in range(100):
            await client.Allocate(asking_for(f"stub-{n % 12}"))
        node.faults("{reset: {'*': {do: hang}}, unhealthy: {stub-11: test}}")
        await kubelet.wait_for(STUB, 11)
        assert len(_children(plugin)) >= 16
        hanging.cancel()
    await wait_until(lambda: not _children(plugin), "the end of the resets")


async def test_resets_leave_no_descriptor_behind(node: Node) -> None:
    """After 200 resets, every fourth of them a failure, the plugin holds as many descriptors as before."""
    plugin = node.start_plugin(config=PATIENT)
    await wait_until(lambda: any(map(is_served, node.sockets())), "a server")
    _fault(node, "stub-0", "do: segfault")

    def held() -> int:
        return psutil.Process(plugin.pid).num_fds()

    async with dialled(node.sockets()[0]) as client:
        request = wire.PreStartContainerRequest(devices_ids=[f"stub-{n}" for n in range(4)])

        async def reset() -> None:
            with pytest.raises(Exception, match="reset of stub-0"):
                await client.PreStartContainer(request)

        await reset()
        before = held()
        for _ in range(50):
            await reset()
        await wait_until(lambda: held() <= before, f"{before} descriptors")
    state = await _state(plugin, lambda state: state.reset_counts.get("ok") == 153)
    # The failing reset is also retried, and fails again; how often depends on how long all this takes.
    assert state.reset_counts.keys() == {"ok", "crashed"}
    assert state.reset_counts["crashed"] >= 51
