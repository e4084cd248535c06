"""Devices that stay broken until they are fixed, devices that are left out, and processes that cannot continue."""

import pytest

from hub.base.exits import Exit
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import DeviceStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.node import Node, asking_for, dialled, replace

PLUGIN = """
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 0.05
    reset_retry = ResetRetryPolicy(interval=0.1, max_interval=0.2, startup_delay=0)
    {settings}

    def devices(self):
        order = Path("order")
        if order.exists():
            code = order.read_text()
            order.unlink()
            yield from eval(code)
        yield Device("d0")
        yield Device("d1")
"""

RESET = """
from pathlib import Path
from hub import ResetFailed

def reset(device, settings):
    print("asked to fix", device.id, "which is", device.broken or "whole")
    if not (Path(__file__).parent / "fixable").exists():
        raise ResetFailed("no tool at hand")
"""


class Breakable:
    """A plugin that reports the content of a file once."""

    def __init__(self, node: Node, settings: str = "reset = 'thereset:reset'") -> None:
        self._node = node
        (node.directory / "thereset.py").write_text(RESET)
        self._target = node.write_plugin(PLUGIN.format(settings=settings))
        self.plugin = self.start()

    def start(self) -> PluginProcess:
        """Start another process of the plugin."""
        self.plugin = self._node.start_plugin(self._target, env={"PYTHONPATH": str(self._node.directory)})
        return self.plugin

    def say_once(self, code: str) -> None:
        """Make the next scan yield this in addition to the two devices, or raise it."""
        replace(self._node.directory / "order", code)

    async def device(self, reason: str) -> DeviceStatus:
        """Wait until the reason of the device d0 begins like this, and return the device."""
        state = await self.plugin.resource_until(lambda state: state.devices[0].reason.startswith(reason))
        return state.devices[0]


async def test_a_broken_device_stays_broken_until_it_is_uncordoned(node: Node, kubelet: FakeKubelet) -> None:
    """Every share of the physical device is unhealthy, even after a restart, until its record is removed."""
    shared = PLUGIN.format(settings="").replace('("d0")', '("d0", physical="card")')
    target = node.write_plugin(shared)
    plugin = node.start_plugin(target)
    await kubelet.wait_for(STUB, 2)
    replace(node.directory / "order", "[Device('d2', physical='card', broken='smoke was seen')]")
    await kubelet.wait_for(STUB, 1)
    await plugin.resource_until(lambda state: [device.source for device in state.devices] == ["broken", ""])
    await plugin.stop()
    plugin = node.start_plugin(target)
    state = await plugin.resource_until(lambda state: len(state.devices) == 2)
    assert [device.reason for device in state.devices] == ["smoke was seen", ""]
    await plugin.stop()
    plugin.run_dir.health("stub").unlink()
    node.start_plugin(target)
    await kubelet.wait_for(STUB, 2)


async def test_a_reset_fixes_a_broken_device(node: Node, kubelet: FakeKubelet) -> None:
    """The reset is tried while no container uses the device, is given the reason, and makes the device healthy."""
    breakable = Breakable(node)
    await kubelet.wait_for(STUB, 2)
    breakable.say_once("[Device('d0', broken='smoke was seen')]")
    await kubelet.wait_for(STUB, 1)
    await breakable.plugin.logged("reset failed")
    (node.directory / "fixable").touch()
    await kubelet.wait_for(STUB, 2)
    lines = {line["line"] for line in breakable.plugin.lines("reset output")}
    assert lines == {"asked to fix d0 which is smoke was seen"}


async def test_a_reset_that_does_not_fix_leaves_it_to_an_administrator(node: Node, kubelet: FakeKubelet) -> None:
    """If resets do not clear a broken state, devices are reset only for containers, and broken devices stay broken."""
    breakable = Breakable(node, "reset = 'thereset:reset'; reset_clears_broken = ()")
    (node.directory / "fixable").touch()
    await kubelet.wait_for(STUB, 2)
    breakable.say_once("[Device('d0', broken='smoke was seen')]")
    await kubelet.wait_for(STUB, 1)
    await kubelet.admit("trainer", {STUB: 1})
    await breakable.plugin.logged("reset output")
    assert [line["line"] for line in breakable.plugin.lines("reset output")] == ["asked to fix d1 which is whole"]
    assert (await breakable.device("smoke")).source == "broken"


async def test_a_container_that_starts_again_on_a_broken_device(node: Node, kubelet: FakeKubelet) -> None:
    """Its reset succeeds, but if resets do not clear a broken state, the device stays broken."""
    breakable = Breakable(node, "reset = 'thereset:reset'; reset_clears_broken = ()")
    (node.directory / "fixable").touch()
    await kubelet.wait_for(STUB, 2)
    pod = await kubelet.admit("trainer", {STUB: 2})
    breakable.say_once("[Device('d0', broken='smoke was seen')]")
    await kubelet.wait_for(STUB, 1)
    await kubelet.start_container(pod)
    await wait_until(lambda: len(breakable.plugin.lines("reset output")) == 4, "two more resets")
    await breakable.device("smoke was seen")
    breakable.plugin.hup()
    await breakable.plugin.stop()
    assert "smoke was seen" in breakable.plugin.run_dir.health("stub").read_text()


async def test_resources_without_reset(node: Node, kubelet: FakeKubelet) -> None:
    """Before a container starts, the kubelet calls the plugin only for the resources that the plugin has named."""
    settings = "reset = 'thereset:reset'; reset_resources = ['example.com/other']"
    breakable = Breakable(node, settings)
    breakable.say_once("[Device('o', resource='example.com/other')]")
    await kubelet.wait_for(STUB, 2)
    await breakable.plugin.registered("example.com/other")
    async with dialled(node.sockets()[-1]) as client:
        assert not (await client.GetDevicePluginOptions(wire.Empty())).pre_start_required
    async with dialled(node.sockets()[0]) as client:
        assert (await client.GetDevicePluginOptions(wire.Empty())).pre_start_required


async def test_what_is_left_out_is_in_the_state(node: Node, kubelet: FakeKubelet) -> None:
    """Devices that are left out are not advertised, but reported with the reason, and logged once."""
    target = node.write_plugin(
        'class P(Plugin):\n    resource = "example.com/stub"\n    scan_interval = 0.05\n'
        '    def devices(self):\n        return [Device("d0"), Excluded("d1", "the console of the node")]\n'
    )
    plugin = node.start_plugin(target)
    await kubelet.wait_for(STUB, 1)
    state = await wait_until(
        lambda: found if (found := plugin.state()) and found.excluded else None, "what is left out"
    )
    assert [(each.id, each.reason) for each in state.excluded] == [("d1", "the console of the node")]
    async with dialled(node.sockets()[0]) as client:
        await client.Allocate(asking_for("d0"))
    assert len(plugin.lines("device excluded")) == 1


@pytest.mark.parametrize("where", ["devices", "watch"])
async def test_a_process_that_cannot_go_on(node: Node, kubelet: FakeKubelet, where: str) -> None:
    """The process exits with a code of its own, and its last report gives the reason."""
    hopeless = "raise NeedsRestart('the driver was exchanged')"
    watch = f"def watch(self, changed):\n        while not Path('go').exists(): time.sleep(0.01)\n        {hopeless}\n"
    breakable = Breakable(node, watch if where == "watch" else "")
    await kubelet.wait_for(STUB, 2)
    (node.directory / "go").touch()
    if where == "devices":
        breakable.say_once(f"exec({hopeless!r})")
    assert await breakable.plugin.exited() == Exit.NEEDS_RESTART
    state = breakable.plugin.state()
    assert state is not None
    assert state.reason == "the driver was exchanged"
    assert not any(device.healthy for device in state.resources[0].devices)
    (node.directory / "go").unlink()
    breakable.start()
    await kubelet.wait_for(STUB, 2)


async def test_a_variable_names_the_configuration(node: Node, kubelet: FakeKubelet) -> None:
    """A plugin may define a variable that names its configuration file if no flag does."""
    (node.directory / "other.yaml").write_text("resources: [{name: example.com/stub, devices: 7}]")
    target = node.write_plugin("from plugins.stub import Stub\nclass P(Stub):\n    config_env = 'STUB_FILE'\n")
    plugin = node.start_plugin(target, env={"STUB_FILE": str(node.directory / "other.yaml")})
    await kubelet.wait_for(STUB, 7)
    await plugin.stop()
    node.start_plugin(target, env={"STUB_FILE": "/nowhere"}, config="resources: [{name: example.com/stub, devices: 2}]")
    await kubelet.wait_for(STUB, 2)
