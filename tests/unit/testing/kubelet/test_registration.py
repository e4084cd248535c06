"""The fake kubelet accepts and refuses registrations as a real one does."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio
import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.kubelet import Capacity
from hub.testing.kubelet.names import is_extended_resource_name
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedPlugin, device, devices, refuse
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.kubelet import node
from tests.unit.testing.kubelet.registrations import refused


async def test_a_registered_plugin_is_asked_for_its_options_before_the_answer() -> None:
    """Register returns after the kubelet has dialled back; the stream opens afterwards."""
    async with node() as it:
        plugin = await it.plugin(listed=[*devices(3), device("bad", healthy=False)], register=False)
        await plugin.register()
        assert plugin.names() == ["GetDevicePluginOptions"]
        await it.kubelet.wait_for(STUB, allocatable=3)
        assert it.kubelet.capacity() == {STUB: Capacity(4, 3)}
        (call,) = it.kubelet.registrations
        assert (call.resource, call.endpoint, call.start, call.error) == (STUB, plugin.socket, 1, "")
        assert [update.start for update in it.kubelet.lists(STUB)] == [1]


async def test_the_options_of_the_request_are_ignored() -> None:
    """What GetDevicePluginOptions says takes precedence; the plugin of these tests registers with the opposite."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(3), pre_start=True, prefers=False)
        await it.kubelet.admit("pod", {STUB: 1})
        assert plugin.names() == ["GetDevicePluginOptions", "Allocate", "PreStartContainer"]


async def test_another_version_is_refused() -> None:
    """The error uses the kubelet's words, and the plugin is not dialled."""
    async with node() as it:
        plugin = await it.plugin(register=False)
        words = await refused(plugin, version="v2")
        assert words == 'requested API version "v2" is not supported by kubelet. Supported version is ["v1beta1"]'
        assert it.kubelet.registrations[-1].error == words
        assert not plugin.calls


@pytest.mark.parametrize(
    "name",
    [
        "stub",
        "",
        "/stub",
        "example.com/",
        "kubernetes.io/stub",
        "sub.kubernetes.io/stub",
        "requests.example.com/stub",
        "Example.com/stub",
        "example..com/stub",
        "example.com/a/b",
        "example.com/-stub",
        "example.com/stub_",
        "example.com/st ub",
        "example.com/" + "x" * 64,
        "x" * 64 + "." + "y" * 180 + "/stub",
    ],
)
async def test_a_name_that_is_not_an_extended_resource_is_refused(name: str) -> None:
    """It is refused in the kubelet's words."""
    async with node() as it:
        plugin = await it.plugin(name, register=False)
        assert await refused(plugin) == f"the ResourceName {json.dumps(name)} is invalid"
        assert it.kubelet.capacity() == {}


@pytest.mark.parametrize("name", ["example.com/stub", "a/b", "nvidia.com/mig-1g.5gb", "e.com/" + "x" * 63, "e.com/A_b"])
def test_extended_resource_names_are_accepted(name: str) -> None:
    """Upper case and underscores are fine after the slash, up to 63 characters."""
    assert is_extended_resource_name(name)


@pytest.mark.fake_kubelet("the time for dialling is shorter")
async def test_a_plugin_that_does_not_listen_is_refused_after_the_dial_back_time() -> None:
    """A plugin has to serve first, and then register."""
    async with node(dial_back_timeout=0.2) as it:
        plugin = ScriptedPlugin(it.plugin_dir)
        assert await refused(plugin) == "failed to dial device plugin: context deadline exceeded"
        assert it.kubelet.capacity() == {}


async def test_a_plugin_that_listens_late_is_accepted_within_the_dial_back_time() -> None:
    """The kubelet keeps trying."""
    async with node() as it:
        plugin = ScriptedPlugin(it.plugin_dir, listed=devices(1))
        registering = asyncio.create_task(plugin.register())
        await asyncio.wait([registering], timeout=0.1)
        await plugin.serve()
        await registering
        await it.kubelet.wait_for(STUB)
        await plugin.close()


async def test_a_plugin_that_refuses_its_options_is_refused() -> None:
    """The plugin's error is in the kubelet's words."""
    async with node() as it:
        plugin = await it.plugin(register=False)
        plugin.on_options = refuse(grpc.StatusCode.INTERNAL, "no idea")
        words = "failed to get device plugin options: rpc error: code = Internal desc = no idea"
        assert await refused(plugin) == words


@pytest.mark.kubelets(since="1.35")
async def test_a_plugin_that_gives_up_waiting_is_not_registered() -> None:
    """The kubelet abandons the registration."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1), register=False)
        go_on = asyncio.Event()

        async def late(*_: object) -> wire.DevicePluginOptions:
            await go_on.wait()
            return wire.DevicePluginOptions()

        plugin.on_options = late
        registering = asyncio.create_task(plugin.register())
        await plugin.called.wait()
        registering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await registering
        await it.kubelet.wait_until(lambda kubelet: bool(kubelet.registrations), what="the end of the call")
        words = "failed to get device plugin options: rpc error: code = Canceled desc = context canceled"
        assert [call.error for call in it.kubelet.registrations] == [words]
        go_on.set()
        assert it.kubelet.capacity() == {}


async def test_an_idle_client_does_not_block_the_end() -> None:
    """A connection to kubelet.sock that stays idle forever does not keep the kubelet from ending."""
    async with node() as it, asyncio.timeout(WAIT_SECONDS):
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(os.fspath(it.plugin_dir / "kubelet.sock"))
            await it.kubelet.restart()
            await it.plugin(listed=devices(1))


@contextmanager
def _victim(plugin_dir: Path) -> Iterator[socket.socket]:
    """Listen on ../other/victim.sock, and make a link to it in the plugin directory."""
    other = plugin_dir.parent / "other"
    other.mkdir()
    with socket.socket(socket.AF_UNIX) as victim:
        victim.bind(str(other / "victim.sock"))
        victim.listen()
        victim.settimeout(0)
        (plugin_dir / "link.sock").symlink_to(other / "victim.sock")
        yield victim


@pytest.mark.fake_kubelet("a real kubelet dials any endpoint")
@pytest.mark.parametrize("endpoint", ["../other/victim.sock", "link.sock", "..", "link.sock\0"])
async def test_a_socket_elsewhere_is_not_dialled(endpoint: str) -> None:
    """A plugin under test cannot make a check that runs as root call another program."""
    async with node() as it:
        with _victim(it.plugin_dir) as victim:
            plugin = await it.plugin(listed=devices(1), register=False)
            plugin.socket = endpoint
            assert "the endpoint" in await refused(plugin)
            with pytest.raises(BlockingIOError):
                victim.accept()


NAMES_OF_NO_FILE = [
    *("%2e%2e%2fother%2fvictim.sock", "%2F%2F..%2Fother%2Fvictim.sock"),
    *("%6cink.sock", "link.sock?", "link.sock#", "link.sock?x#y"),
]
"""Names that mean other files to a client that reads them as part of a URI."""


@pytest.mark.fake_kubelet("a real kubelet dials any endpoint")
@pytest.mark.parametrize("endpoint", ["late.sock", *NAMES_OF_NO_FILE])
async def test_a_link_to_a_socket_elsewhere_is_not_dialled(endpoint: str) -> None:
    """No name that would mean a different file in a URI leads to it, nor does a link that appears while dialling."""
    async with node(dial_back_timeout=0.5) as it:
        with _victim(it.plugin_dir) as victim:
            plugin = await it.plugin(listed=devices(1), register=False)
            plugin.socket = endpoint
            registering = asyncio.create_task(refused(plugin))
            await asyncio.wait([registering], timeout=0.1)
            (it.plugin_dir / "late.sock").symlink_to(victim.getsockname())
            assert await registering == "failed to dial device plugin: context deadline exceeded"
            with pytest.raises(BlockingIOError):
                victim.accept()


async def test_a_socket_that_is_replaced_while_it_is_dialled() -> None:
    """The plugin is reached on the socket that is there by then, such as after a restart."""
    async with node() as it:
        plugin = ScriptedPlugin(it.plugin_dir, listed=devices(3))
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(it.plugin_dir / plugin.socket))
        registering = asyncio.create_task(plugin.register())
        await asyncio.wait([registering], timeout=0.1)
        (it.plugin_dir / plugin.socket).unlink()
        await plugin.serve()
        await registering
        await it.kubelet.wait_for(STUB, allocatable=3)
        await plugin.close()
