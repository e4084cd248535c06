"""While a plugin does not know the state of its devices, none of them is healthy, and the reason is reported."""

import re

import pytest

from hub.model.plugin import RegistrationStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.node import Node, replace

SCRIPTED = """
import asyncio
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 0.05
    scan_timeout = TIMEOUT
    def devices(self):
        order = Path("order").read_text() if Path("order").exists() else ""
        exec(order)
        return [Device("d0"), Device("d1", unhealthy="burnt")]
"""


class ScriptedScans:
    """A plugin each of whose scans first runs the code in a file."""

    def __init__(self, node: Node, order: str = "", timeout: float = 30) -> None:
        self._file = node.directory / "order"
        self.order(order)
        self.plugin: PluginProcess = node.start_plugin(node.write_plugin(SCRIPTED.replace("TIMEOUT", str(timeout))))

    def order(self, code: str) -> None:
        """Set what every scan runs from now on."""
        replace(self._file, code)

    async def reasons(self, reason: str) -> None:
        """Wait until the healthy device is unhealthy for this reason."""
        state = await self.plugin.resource_until(lambda state: state.devices[0].reason == reason)
        assert state.devices[1].reason == "burnt"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("raise RuntimeError('driver is gone')", "RuntimeError: driver is gone"),
        ("raise SystemExit('enough')", "SystemExit: enough"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise StopIteration", "StopIteration"),
        ("raise RuntimeError('\\udcff')", "RuntimeError: \\udcff"),
    ],
)
async def test_a_failed_scan_makes_the_devices_unhealthy(
    node: Node, kubelet: FakeKubelet, order: str, words: str
) -> None:
    """The error is their reason, a device's own reason stays, and the next successful scan ends it."""
    scripted = ScriptedScans(node)
    await kubelet.wait_for(STUB, 1)
    scripted.order(order)
    await kubelet.wait_for(STUB, 0)
    failed = f"devices() failed at {node.directory}/thirdparty.py:13: "
    await scripted.reasons(f"{failed}{words}")
    scripted.order("raise OSError('and now the bus')")
    await scripted.reasons(f"{failed}OSError: and now the bus")
    scripted.order("")
    await kubelet.wait_for(STUB, 1)
    assert len(kubelet.registrations) == 1
    assert [len(update.devices) for update in kubelet.lists(STUB)] == [2, 2, 2]
    reasons = [line["reason"] for line in scripted.plugin.lines("scan result changed")]
    assert reasons == [
        f"{failed}{words}",
        f"{failed}OSError: and now the bus",
        "no problems",
    ]


async def test_a_scan_that_fails_from_the_start_is_served(node: Node, kubelet: FakeKubelet) -> None:
    """The declared resource is registered without devices, with the reason, and devices appear once they are found."""
    scripted = ScriptedScans(node, "raise RuntimeError('not yet')")
    await kubelet.wait_for(STUB, 0)
    state = await scripted.plugin.registered()
    assert state.reason == f"devices() failed at {node.directory}/thirdparty.py:13: RuntimeError: not yet"
    scripted.order("")
    await kubelet.wait_for(STUB, 1)


async def test_a_hanging_scan_makes_the_devices_unhealthy(node: Node, kubelet: FakeKubelet) -> None:
    """The devices are unhealthy after the scan's limit; it is not started twice, and they recover when it returns."""
    scripted = ScriptedScans(node, timeout=0.2)
    await kubelet.wait_for(STUB, 1)
    scripted.order("while not Path('free').exists(): time.sleep(0.01)")
    await kubelet.wait_for(STUB, 0)
    await scripted.reasons(f"devices() did not return within 0.2 s; it is at {node.directory}/thirdparty.py:13")
    scripted.order("")
    scripted.plugin.hup()
    (node.directory / "free").touch()
    await kubelet.wait_for(STUB, 1)


async def test_a_failed_watch_makes_the_devices_unhealthy(node: Node, kubelet: FakeKubelet) -> None:
    """Changes would be missed, so no device is healthy until the watch works again; it is started again."""
    target = node.write_plugin("""
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 3600.0
    def devices(self):
        return [Device("d0")]
    def watch(self, changed):
        while not Path("fail").exists():
            time.sleep(0.01)
        Path("fail").unlink()
        raise StopIteration("event queue overflow")
""")
    (node.directory / "fail").touch()
    place = f"{node.directory}/thirdparty.py:15"
    plugin = node.start_plugin(target)
    await kubelet.wait_for(STUB, 0)
    await kubelet.wait_for(STUB, 1)
    reason = f"watch() failed at {place}: StopIteration: event queue overflow"
    assert reason in {line.get("reason") for line in plugin.lines()}
    (node.directory / "fail").touch()
    await kubelet.wait_for(STUB, 0)
    state = plugin.resource()
    assert state is not None
    assert state.registration is RegistrationStatus.REGISTERED


async def test_a_node_without_watches_keeps_its_devices(node: Node, kubelet: FakeKubelet) -> None:
    """The kernel has few watches, which any pod may use up: then scans find changes, and the log names the setting."""
    target = node.write_plugin("""
import errno
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 0.05
    def devices(self):
        return [Device("d0"), *([Device("d1")] if Path("more").exists() else [])]
    def watch(self, changed):
        raise OSError(errno.EMFILE, "Too many open files")
""")
    plugin = node.start_plugin(target)
    await kubelet.wait_for(STUB, 1)
    (line,) = await wait_until(lambda: plugin.lines("changes not watched"), "the warning")
    assert ("Too many open files" in line["reason"], "max_user_instances" in line["hint"]) == (True, True)
    (node.directory / "more").touch()
    await kubelet.wait_for(STUB, 2)


async def test_a_watch_may_end(node: Node, kubelet: FakeKubelet) -> None:
    """A plugin whose watch returns has nothing to watch, which is not a failure."""
    target = node.write_plugin("""
class P(Plugin):
    resource = "example.com/stub"
    scan_interval = 0.05
    def devices(self):
        return [Device("d0")]
    def watch(self, changed):
        Path("watched").write_text(Path("watched").read_text() + "." if Path("watched").exists() else ".")
""")
    await node.start_plugin(target).registered()
    await kubelet.wait_for(STUB, 1)
    assert await wait_until((node.directory / "watched").read_text, "a watch") == "."


async def test_thousands_of_devices_fail_in_one_line(node: Node, kubelet: FakeKubelet) -> None:
    """One reason is one line, however many devices have it."""
    plugin = node.start_plugin(config=f"resources: [{{name: {STUB}, devices: 2000}}]")
    await kubelet.wait_for(STUB, 2000)
    node.faults("scan: no driver")
    await kubelet.wait_for(STUB, 0)
    node.faults("")
    await kubelet.wait_for(STUB, 2000)
    (fallen,), (risen,) = plugin.lines("devices unhealthy"), plugin.lines("devices recovered")
    assert re.fullmatch(r"devices\(\) failed at \S+/stub/plugin.py:\d+: RuntimeError: no driver", fallen["reason"])
    assert fallen["devices"].endswith("stub-15 and 1984 more")
    assert risen["devices"] == fallen["devices"]
    assert len(plugin.log) < 10_000
