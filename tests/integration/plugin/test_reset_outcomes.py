"""Resets that do not end, cannot begin or may not begin, and what that means for their devices."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import psutil
import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.status.reader import read_report
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node, dialled
from tests.integration.plugin.resetting import (
    CONFIG,
    QUICK,
    device_of,
    fail_resets,
    reset_count,
    resetting_plugin,
    until_failed,
)


@pytest.fixture
def stopped() -> Iterator[list[psutil.Process]]:
    """Yield processes that a test has stopped; they continue at its end."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


IGNORING_SIGNALS = "    import hub.reset.process as process\n    process.ResetProcess.terminate = lambda self: None\n"
"""The body of a plugin's class whose resets ignore its signals, as if they were stuck in the kernel."""


@pytest.mark.parametrize("cancelled", [False, True], ids=["at the deadline", "cancelled"])
async def test_a_stuck_reset(
    node: Node, kubelet: FakeKubelet, stopped: list[psutil.Process], *, cancelled: bool
) -> None:
    """Until it has exited, its device is unhealthy, even for the next plugin process, and no process touches it."""
    plugin = await resetting_plugin(node, kubelet, more=IGNORING_SIGNALS)
    node.faults("reset: {stub-0: {do: hang in C}}")
    async with dialled(node.sockets()[0]) as client:
        call = client.PreStartContainer(wire.PreStartContainerRequest(devices_ids=["stub-0"]))
        processes = psutil.Process(plugin.pid)
        await wait_until(lambda: call.done() or len(processes.children(recursive=True)) == 2, "the reset")
        if call.done():
            pytest.fail(f"the call ended before its reset began: {await call.code()}, {await call.details()}")
        (guard,) = psutil.Process(plugin.pid).children()
        stopped += [guard]
        guard.suspend()
        if cancelled:
            call.cancel()
        with pytest.raises((Exception, asyncio.CancelledError)):
            await call
    await kubelet.wait_for(STUB, 3)
    resource = await plugin.resource_until(lambda state: state.devices[0].source == "reset")
    assert f"survived SIGKILL (process {guard.pid})" in resource.devices[0].reason
    node.faults("")
    assert await plugin.stop() == 0
    plugin = await resetting_plugin(node, kubelet, devices=3)
    await fail_resets(node, "stub-0", times=1)
    assert reset_count(plugin, "ok") == 0
    assert guard.is_running()
    guard.resume()
    await kubelet.wait_for(STUB, 4)
    assert not guard.is_running() or guard.status() == psutil.STATUS_ZOMBIE


async def test_a_stop_during_a_reset(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin and its resets exit gracefully and promptly; the devices are not marked as broken."""
    plugin = await resetting_plugin(node, kubelet, config="{reset: true}")
    node.faults("reset: {'*': {do: leave and hang}}")
    async with dialled(node.sockets()[0]) as client:
        call = client.PreStartContainer(wire.PreStartContainerRequest(devices_ids=["stub-0", "stub-1"]))
        family = await wait_until(
            lambda: found if len(found := psutil.Process(plugin.pid).children(recursive=True)) >= 8 else None, "resets"
        )
        begin = time.monotonic()
        assert await plugin.stop() == 0
        # This is far less time than the resets would have had.
        assert time.monotonic() - begin < 15
        with pytest.raises((Exception, asyncio.CancelledError)):
            await call
    _, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
    assert not alive
    state = read_report(plugin.run_dir.report("stub"))
    assert state
    assert all(device.healthy for device in state.resources[0].devices)


SHARED = (
    "    def devices(self):\n"
    "        for n in range(2):\n"
    "            yield Device(f'stub-{n}', 'example.com/stub', physical='card')\n"
)


@pytest.mark.parametrize(
    ("body", "outcome", "words"),
    [
        ("return ''", "ok", "succeeded"),
        ("return 'it is in use'", "skipped", "it is in use"),
        ("raise RuntimeError('no idea')", "skipped", "thirdparty.py:{line}: RuntimeError: no idea"),
        ("return None", "skipped", "TypeError: it returned None, expected a string"),
        ("threading.Event().wait()", "skipped", "reset_blocked() did not return within 2 s; it is at {file}:{line}"),
    ],
)
async def test_a_plugin_that_says_what_may_be_reset(
    node: Node, kubelet: FakeKubelet, body: str, outcome: str, words: str
) -> None:
    """The plugin's response decides; if it cannot answer, nothing is reset, and the container starts."""
    # The method has a second return, because one that can only return a wrong value is refused at the start.
    more = f"{SHARED}    def reset_blocked(self, shares):\n        if shares: {body}\n        return ''\n"
    plugin = await resetting_plugin(node, kubelet, devices=2, more=more)
    file = node.directory / "thirdparty.py"
    line = file.read_text().splitlines().index(f"        if shares: {body}") + 1
    pod = await kubelet.admit("pod", {STUB: 1})
    assert pod.containers["main"].started
    state = await wait_until(lambda: found if (found := plugin.state()) and found.resets else None, "a result")
    assert state.resets["card"].outcome == outcome
    assert words.format(file=file, line=line) in state.resets["card"].message


async def test_a_reset_time_beyond_the_kubelets_is_refused(node: Node) -> None:
    """This time is refused at the start, with the allowed range."""
    plugin = node.start_plugin(config="{reset: true, reset_timeout: 27}")
    assert await plugin.exited() == 2
    assert "reset_timeout is 27 s, expected more than 0 and at most 26 s" in plugin.log


async def test_a_reset_without_settings_does_not_count_against_the_device(node: Node, kubelet: FakeKubelet) -> None:
    """However often settings are missing, the device stays healthy."""
    more = "    def reset_settings(self):\n        raise RuntimeError('no settings')\n"
    plugin = await resetting_plugin(node, kubelet, more=more)
    await fail_resets(node, "stub-0", times=5)
    await wait_until(lambda: reset_count(plugin, "failed") == 5, "five failures")
    device = device_of(plugin)
    assert device
    assert device.healthy


async def test_a_reset_that_cannot_begin(node: Node, kubelet: FakeKubelet) -> None:
    """A function that cannot be imported is a fault of the plugin, which its report names, and of no device."""
    (node.directory / "driverless.py").write_text("import no_such_driver\ndef reset(device, settings): pass\n")
    more = "    def __init__(self, *args):\n        super().__init__(*args)\n"
    more += "        self.reset = 'driverless:reset'\n"
    env = {"PYTHONPATH": str(node.directory)}
    plugin = node.start_plugin(node.write_plugin(QUICK.format(settling=0) + more), config=CONFIG, env=env)
    await kubelet.wait_for(STUB, 4)
    await fail_resets(node, "stub-0", times=4)
    await until_failed(plugin, 4)
    state = plugin.state()
    assert state
    assert "No module named 'no_such_driver'" in state.reset_fault
    device = device_of(plugin)
    assert device
    assert device.healthy


async def test_devices_of_the_same_id(node: Node, kubelet: FakeKubelet) -> None:
    """In two resources they are two devices: each is reset, and the health of one does not affect the other."""
    config = "{reset: true, resources: [{name: a.com/x, devices: 2}, {name: b.com/x, devices: 2}]}"
    plugin = node.start_plugin(config=config)
    for name in ("a.com/x", "b.com/x"):
        await kubelet.wait_for(name, 2)
        pod = await kubelet.admit(f"pod-{name[0]}", {name: 1})
        assert pod.containers["main"].started
    state = await wait_until(
        lambda: found if (found := plugin.state()) and len(found.resets) == 2 else None, "two results"
    )
    assert {key: result.outcome for key, result in state.resets.items()} == {"a.com/x x-0": "ok", "b.com/x x-0": "ok"}


async def test_many_failures_fit_into_one_error(node: Node, kubelet: FakeKubelet) -> None:
    """The first ones are listed, the others are counted."""
    await resetting_plugin(node, kubelet, devices=20, config="{reset: true, resources: [{devices: 20}]}")
    node.faults("reset: {'*': {do: fail, text: '" + "long " * 180 + "'}}")
    async with dialled(node.sockets()[0]) as client:
        request = wire.PreStartContainerRequest(devices_ids=[f"stub-{n}" for n in range(20)])
        with pytest.raises(Exception, match=r"reset of stub-0 failed .*; and \d+ more"):
            await client.PreStartContainer(request)
