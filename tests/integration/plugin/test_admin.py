"""What an administrator requests from a plugin process directly, and what a plugin reports incorrectly."""

import asyncio
import socket
from collections import defaultdict

import psutil

from hub.base.jsonfile import read_file
from hub.cli.adminclient import send
from hub.model.admin import Cordon, Reset, Response, Uncordon
from hub.model.heartbeat import HeartbeatReport
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.node import Node


async def _ask(plugin: PluginProcess, request: Cordon | Uncordon | Reset) -> Response:
    return await asyncio.to_thread(send, plugin.run_dir.admin_socket(plugin.name), request)


async def test_nonsense_on_the_socket(node: Node, kubelet: FakeKubelet) -> None:
    """The response says what is wrong, and the plugin keeps working; a client that sends nothing does no harm."""
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    path = str(node.run_dir.admin_socket("stub"))

    def say(text: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").readline()

    for text in (b"", b"{}\n", b"[]\n", b'{"type":"cordon"}\n', b"\xff\xfe\n", b"x" * 100_000 + b"\n"):
        assert b"unrecognized request" in await asyncio.to_thread(say, text), text
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(path)
    assert (await _ask(plugin, Cordon("stub-7"))).message == "there is no device stub-7"
    assert await plugin.stop() == 0
    silent.close()


async def test_a_share_that_is_not_advertised_any_more(node: Node, kubelet: FakeKubelet) -> None:
    """A container still has it, so its physical device is not reset; after a restart, any device may be that one."""
    code = (
        "import os\n"
        "from hub import Device\n"
        "from plugins.stub import Stub\n"
        "class P(Stub):\n"
        "    def devices(self):\n"
        "        names = ['new'] if os.path.exists('changed') else ['old']\n"
        "        return [Device(name, resource='example.com/stub', physical='card') for name in names]\n"
    )
    target = node.write_plugin(code)
    plugin = node.start_plugin(target, config="{reset: true}")
    await kubelet.wait_for(STUB, 1)
    await kubelet.admit("trainer", {STUB: 1})
    guess = "default/trainer/main may be using it: it is using old, which was removed"
    for restart, known in ((False, "default/trainer/main is using it"), (True, guess)):
        (node.directory / "changed").touch()
        if restart:
            await plugin.stop()
            plugin = node.start_plugin(target, config="{reset: true}")
        else:
            plugin.hup()
        await plugin.resource_until(lambda state: [device.id for device in state.devices] == ["new"])
        answer = await _ask(plugin, Reset("card"))
        assert (answer.ok, answer.message) == (False, f"card was not reset: {known}")


async def test_a_cordon_that_cannot_be_kept(node: Node, kubelet: FakeKubelet) -> None:
    """The cordon applies, and the response says that a restart will forget it."""
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    _fill_disk(plugin)
    answer = await _ask(plugin, Cordon(f"{STUB} stub-1"))
    assert not answer.ok
    assert "is cordoned (1 device of example.com/stub); the change lasts only until the plugin" in answer.message
    await kubelet.wait_for(STUB, 3)


async def test_invalid_metrics_affect_nothing_else(node: Node, kubelet: FakeKubelet) -> None:
    """The plugin keeps serving, its process is still measured, and the log says once what is wrong."""
    code = (
        "from hub import Metric, Sample\n"
        "from plugins.stub import Stub\n"
        "class P(Stub):\n"
        "    def metrics(self):\n"
        "        return [Metric('dphub_odd', 'odd', [Sample(float('nan'))])]\n"
    )
    plugin = node.start_plugin(node.write_plugin(code), env={"DPHUB_WATCHDOG": "0.3"})
    await kubelet.wait_for(STUB, 4)
    line = await plugin.logged("plugin metrics invalid")
    assert "dphub_odd" in line["reason"]
    path = node.run_dir.heartbeat("stub")

    def measured() -> bool:
        heartbeat = read_file(path, HeartbeatReport)
        return bool(
            heartbeat
            and any(metric.name == "dphub_rpc_duration_seconds" and metric.samples for metric in heartbeat.metrics)
        )

    await wait_until(measured, "figures of the process")
    assert len(plugin.lines("plugin metrics invalid")) == 1


async def test_a_heartbeat_on_a_full_disk(node: Node, kubelet: FakeKubelet) -> None:
    """Even if nothing can be written, the time of the heartbeat file shows that the process is running."""
    plugin = node.start_plugin(env={"DPHUB_WATCHDOG": "0.3"})
    await kubelet.wait_for(STUB, 4)
    path = node.run_dir.heartbeat("stub")
    _fill_disk(plugin)
    # Writing replaces the file with one that has a different inode, whose time is then set once more.
    signs = defaultdict[int, set[int]](set)

    def lives() -> bool:
        found = path.stat()
        signs[found.st_ino].add(found.st_mtime_ns)
        return len(signs[found.st_ino]) > 3

    await wait_until(lives, "heartbeats that only set the file's time")


def _fill_disk(plugin: PluginProcess) -> None:
    """Keep the plugin's process from writing anything more into files."""
    psutil.Process(plugin.pid).rlimit(psutil.RLIMIT_FSIZE, (0, 0))
