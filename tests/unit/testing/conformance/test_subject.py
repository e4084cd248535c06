"""What a plugin under test can make the check do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import grpc.aio
import pytest

from hub.base.errors import ConfigError
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire import v1beta1_pb2_grpc as rpc
from hub.testing.conformance import restarts
from hub.testing.conformance.allocation import allocate_answers
from hub.testing.conformance.calls import answer_of, connected
from hub.testing.conformance.limits import Limits
from hub.testing.conformance.lists import watched
from hub.testing.conformance.robustness import RULES, socket_deleted, socket_replaced, survives_garbage
from hub.testing.conformance.rule import NotApplicable, Rule
from hub.testing.conformance.streams import stream_stays_open
from hub.testing.conformance.subject import Subject
from hub.testing.kubelet import FakeKubelet, Registered

RESOURCE = "example.com/model"


class _Registers(Subject):
    """A plugin that has registered with this endpoint."""

    def __init__(self, plugin_dir: Path, endpoint: str) -> None:
        limits = Limits(quick=0.1, answer=0.1, back=0.1, settle=0.1)
        super().__init__(kubelet=FakeKubelet(plugin_dir), resource=RESOURCE, limits=limits)
        self.endpoint = endpoint

    async def registered(self) -> Registered:
        return Registered(RESOURCE, self.endpoint, 1, 0.0, "")


@pytest.mark.parametrize("endpoint", ["../other.sock", "/run/other.sock", "a/../../other.sock", "..", ".", ""])
async def test_an_endpoint_outside_the_plugin_directory(tmp_path: Path, endpoint: str) -> None:
    """Rules delete and replace the socket, so none gets a path that the plugin has chosen."""
    async with _Registers(tmp_path / "device-plugins", endpoint) as subject:
        with pytest.raises(NotApplicable, match="endpoint-name"):
            await subject.socket()


@pytest.mark.parametrize("disturbance", [socket_deleted, socket_replaced], ids=lambda rule: rule.name)
async def test_rules_change_nothing_outside_the_plugin_directory(tmp_path: Path, disturbance: Rule) -> None:
    """Not even the rules that delete or replace what the plugin has registered do so."""
    other = tmp_path / "other.sock"
    other.write_text("of another program")
    async with _Registers(tmp_path / "device-plugins", "../other.sock") as subject:
        with pytest.raises(NotApplicable, match="endpoint-name"):
            await anext(disturbance.check(subject))
    assert other.read_text() == "of another program"


async def test_an_endpoint_in_the_plugin_directory(tmp_path: Path) -> None:
    """It is accepted, as it is by the kubelet."""
    async with _Registers(tmp_path / "device-plugins", "model.sock") as subject:
        path = await subject.socket()
        assert (path.parent.resolve(), path.name) == (tmp_path / "device-plugins", "model.sock")


class _Endless(rpc.DevicePluginServicer):
    async def ListAndWatch(self, *_: object) -> AsyncIterator[wire.ListAndWatchResponse]:
        response = wire.ListAndWatchResponse(devices=[wire.Device()] * 100_000)
        while True:
            yield response

    async def GetPreferredAllocation(self, *_: object) -> wire.PreferredAllocationResponse:
        chosen = wire.ContainerPreferredAllocationResponse(deviceIDs=["x" * (1 << 20)] * 9)
        return wire.PreferredAllocationResponse(container_responses=[chosen])


@pytest.fixture
async def endless(directory: Path) -> AsyncIterator[Path]:
    """Create a plugin whose response is 9 MiB, and whose lists never end."""
    server = grpc.aio.server()
    rpc.add_DevicePluginServicer_to_server(_Endless(), server)
    server.add_insecure_port(f"unix:{directory}/endless.sock")
    await server.start()
    yield directory / "endless.sock"
    await server.stop(None)


async def test_an_answer_has_a_size(endless: Path) -> None:
    """A larger one is an error, and is not kept in memory."""
    async with connected(endless) as stub:
        answer = await answer_of(stub.GetPreferredAllocation(wire.PreferredAllocationRequest(), timeout=30))
    assert (answer.code, answer.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)


@pytest.mark.parametrize("rule", [allocate_answers, survives_garbage], ids=lambda rule: rule.name)
async def test_a_link_to_the_socket_of_another_plugin(directory: Path, rule: Rule) -> None:
    """The check sends nothing there: it would allocate, and reset, devices that containers use."""
    received: list[object] = []
    serve = asyncio.start_unix_server(lambda *_: received.append(1), directory / "other.sock")
    plugin_dir = directory / "device-plugins"
    plugin_dir.mkdir()
    (plugin_dir / "model.sock").symlink_to(directory / "other.sock")
    async with await serve, _Registers(plugin_dir, "model.sock") as subject:
        with suppress(NotApplicable):
            async for _ in rule.check(subject):
                pass
    assert not received


_DISTURBING = (*RULES, *restarts.RULES, allocate_answers)


@pytest.mark.fake_kubelet("a real kubelet follows a link")
@pytest.mark.parametrize("rule", _DISTURBING, ids=lambda rule: rule.name)
async def test_a_link_in_place_of_the_plugin_directory(directory: Path, rule: Rule) -> None:
    """A plugin in a container can put it there: the check sends nothing to its target, and changes nothing there."""
    received: list[object] = []
    other, plugin_dir = directory / "other", directory / "device-plugins"
    other.mkdir()
    names = {"model.sock", "kubelet.sock"}
    async with AsyncExitStack() as stack:
        for name in names:
            serve = asyncio.start_unix_server(lambda *_: received.append(1), other / name)
            await stack.enter_async_context(await serve)
        subject = await stack.enter_async_context(_Registers(plugin_dir, "model.sock"))
        plugin_dir.rename(directory / "old")
        plugin_dir.symlink_to(other)
        with suppress(NotApplicable, ConfigError):
            async for _ in rule.check(subject):
                pass
        assert {path.name for path in other.iterdir()} == names
    assert not received


async def test_lists_without_end_are_reported(endless: Path) -> None:
    """The check reads no more of them than it can keep in memory."""
    async with Subject(socket=endless, limits=Limits(watch=60.0)) as subject:
        findings = [finding async for finding in stream_stays_open.check(subject)]
        listing = await subject.once(watched)
    assert len(listing.lists) < 20
    assert [finding for finding in findings if "because it received" in finding] == findings
    assert len(findings) == 1
