"""A plugin process stays registered, whatever the kubelet does."""

import asyncio
import socket

import grpc.aio
import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import RegistrationStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.scripted import ScriptedKubelet
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.node import Node, dialled
from tests.integration.plugin.registered import THREE, registered_in


async def test_a_plugin_registers_what_it_serves(node: Node, kubelet: FakeKubelet) -> None:
    """The kubelet gets the name, the version and the socket; the socket is named after the resource."""
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    # A real kubelet may report the registration only after the list.
    await kubelet.wait_until(lambda kubelet: bool(kubelet.registrations))
    (registration,) = kubelet.registrations
    assert (registration.resource, registration.error) == (STUB, "")
    assert [path.name for path in node.sockets()] == [registration.endpoint] == ["dphub-example.com_stub.sock"]
    assert (await plugin.registered()).registrations == 1


async def test_every_resource_has_a_socket_of_its_own(node: Node, kubelet: FakeKubelet) -> None:
    """Several resources of one plugin are registered in parallel, each once."""
    node.start_plugin(config=THREE)
    for name, count in {"example.com/a": 1, "example.com/b": 2, "other.example.org/C_3": 3}.items():
        await kubelet.wait_for(name, count)
    assert len(node.sockets()) == len(kubelet.registrations) == 3


async def test_a_plugin_waits_for_the_kubelet(node: Node) -> None:
    """Without a kubelet, a plugin serves, reports what it is waiting for, and registers when there is one."""
    plugin = node.start_plugin()
    waiting = await plugin.resource_until(lambda state: bool(state.detail))
    assert waiting.registration is RegistrationStatus.WAITING
    assert waiting.detail == f"there is no {node.plugin_dir}/kubelet.sock"
    async with FakeKubelet(node.plugin_dir) as kubelet:
        await kubelet.wait_for(STUB, 4)
        assert registered_in(kubelet, 1) == [STUB]


async def test_a_plugin_waits_for_the_plugin_directory(node: Node) -> None:
    """The plugin waits even for a directory that does not exist yet, and reports that it is missing."""
    node.plugin_dir.rmdir()
    plugin = node.start_plugin()
    waiting = await plugin.resource_until(lambda state: bool(state.detail))
    assert waiting.detail == f"there is no directory {node.plugin_dir}"
    async with FakeKubelet(node.plugin_dir) as kubelet:
        await kubelet.wait_for(STUB, 4)
        assert registered_in(kubelet, 1) == [STUB]


async def test_a_socket_without_a_kubelet_behind_it_is_tried_again(node: Node) -> None:
    """A kubelet.sock that a crashed kubelet has left is reported once as dead, and tried again."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(node.plugin_dir / "kubelet.sock"))
    left.close()
    plugin = node.start_plugin()
    dead = await plugin.resource_until(lambda state: "does not respond yet" in state.detail)
    assert dead.registration is RegistrationStatus.WAITING
    await asyncio.sleep(1.5)  # several attempts
    assert len([line for line in plugin.lines() if "does not respond yet" in line.get("detail", "")]) == 1
    async with FakeKubelet(node.plugin_dir) as kubelet:
        await kubelet.wait_for(STUB, 4)
        assert registered_in(kubelet, 1) == [STUB]


async def test_a_hanging_kubelet_does_not_delay_the_next(node: Node) -> None:
    """A hanging kubelet delays nothing once another one is there."""
    path = node.plugin_dir / "kubelet.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        silent.settimeout(WAIT_SECONDS)
        node.start_plugin()
        connection, _ = await asyncio.to_thread(silent.accept)
        async with FakeKubelet(node.plugin_dir) as kubelet:
            await kubelet.wait_for(STUB, 4)
            assert registered_in(kubelet, 1) == [STUB]
        connection.close()


async def test_a_rejection_is_reported_in_the_kubelets_words(node: Node) -> None:
    """The log and the status show these words, the log only once for all attempts; acceptance ends the problem."""
    async with ScriptedKubelet(node.plugin_dir, "no plugins on Sundays").listening() as odd:
        plugin = node.start_plugin()
        rejected = await plugin.resource_until(lambda state: state.registration is RegistrationStatus.REJECTED)
        assert rejected.detail == "no plugins on Sundays"
        assert rejected.registrations == 0
        await wait_until(lambda: len(odd.requests) > 3, "more attempts")
        (line,) = plugin.lines("rejected")
        assert (line["level"], line["resource"], line["detail"]) == ("warning", STUB, "no plugins on Sundays")
        odd.refusal = ""
    async with FakeKubelet(node.plugin_dir) as kubelet:
        await kubelet.wait_for(STUB, 4)
        assert (await plugin.registered()).detail == ""


async def test_a_rejected_plugin_tries_again_when_asked(node: Node) -> None:
    """SIGHUP makes the plugin try at once, however long the delay has become, and resets the delays."""
    async with ScriptedKubelet(node.plugin_dir, "not now").listening() as odd:
        plugin = node.start_plugin()
        # The pauses double from 0.05 s to 30 s: without the signal, six more attempts take longer than a test waits.
        await wait_until(lambda: len(odd.requests) >= 7, "attempts, and so a pause of more than three seconds")
        odd.requests.clear()
        plugin.hup()
        await wait_until(lambda: len(odd.requests) >= 6, "attempts because of the signal")


async def test_a_registration_without_a_stream_does_not_count(node: Node) -> None:
    """The plugin counts as registered only if the kubelet opens its stream; otherwise, this is reported."""
    async with ScriptedKubelet(node.plugin_dir, "").listening():
        plugin = node.start_plugin()
        state = await plugin.resource_until(lambda state: state.registration is RegistrationStatus.REJECTED)
        assert state.detail == "the kubelet accepted, but did not open its stream"


async def test_the_request_says_what_the_plugin_can_do(node: Node) -> None:
    """The request contains the version, the socket, the resource and the options, as the kubelet's API requires."""
    async with ScriptedKubelet(node.plugin_dir, "").listening() as odd:
        node.start_plugin()
        await wait_until(lambda: odd.requests, "a registration")
    assert odd.requests[0] == wire.RegisterRequest(
        version="v1beta1",
        endpoint="dphub-example.com_stub.sock",
        resource_name=STUB,
        options=wire.DevicePluginOptions(get_preferred_allocation_available=True),
    )


@pytest.mark.kubelets(before="1.37")
async def test_the_kubelet_can_disconnect_a_running_plugin(node: Node, kubelet: FakeKubelet) -> None:
    """A second plugin takes over the name, the first exits, and the kubelet drops the second, which registers again."""
    first = node.start_plugin(instance="old")
    await first.registered()
    second = node.start_plugin(instance="new")
    await second.registered()
    first.kill()
    await kubelet.wait_until(lambda k: len(k.registrations) >= 3, what="the second plugin's second registration")
    await kubelet.wait_for(STUB, 4)
    state = await second.resource_until(lambda state: state.registrations >= 2)
    assert state.registration is RegistrationStatus.REGISTERED
    pod = await kubelet.admit("trainer", {STUB: 4})
    assert len(pod.containers["main"].devices[STUB]) == 4


async def test_two_processes_for_one_socket(node: Node, kubelet: FakeKubelet) -> None:
    """Of two processes with the same resource and hub, the newer one serves; the older one reports that and waits."""
    older = node.start_plugin(name="older")
    await older.registered()
    newer = node.start_plugin(name="newer")
    await newer.registered()
    taken = await older.resource_until(lambda state: state.registration is RegistrationStatus.SOCKET_TAKEN)
    assert taken.detail == f"another process is using {node.plugin_dir}/dphub-example.com_stub.sock"
    settled = len(kubelet.registrations)
    older.hup()
    newer.hup()
    await asyncio.sleep(2.5)  # two checks by each of its sockets
    assert len(kubelet.registrations) == settled
    await kubelet.admit("trainer", {STUB: 1})
    newer.kill()
    await older.registered()
    await kubelet.wait_for(STUB, 4)


async def test_a_deleted_socket_is_made_again(node: Node, kubelet: FakeKubelet) -> None:
    """A plugin whose socket is removed while the kubelet is running notices on its own."""
    plugin = node.start_plugin()
    await plugin.registered()
    node.sockets()[0].unlink()
    await plugin.resource_until(lambda state: state.registrations >= 2)
    await kubelet.wait_for(STUB, 4)
    await kubelet.admit("trainer", {STUB: 1})


async def test_a_stream_before_the_kubelets_is_not_taken_for_it(node: Node) -> None:
    """A client that connects before any kubelet does not count as one: its stream ends, and the kubelet's is new."""
    plugin = node.start_plugin()
    await plugin.resource_until(lambda state: bool(state.detail))
    async with dialled(node.sockets()[0]) as curious:
        # The plugin binds a fresh socket for the kubelet at once, usually after the first list, sometimes before it.
        stream = curious.ListAndWatch(wire.Empty(), timeout=WAIT_SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            _ = [response async for response in stream]
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert plugin.resource().registration is RegistrationStatus.WAITING  # type: ignore[union-attr]
        async with FakeKubelet(node.plugin_dir) as kubelet:
            await kubelet.wait_for(STUB, 4)
            await plugin.registered()


async def test_something_in_place_of_the_socket_is_reported(node: Node, kubelet: FakeKubelet) -> None:
    """A directory in place of the socket is named, and when it is gone the resource is served."""
    obstacle = node.plugin_dir / "dphub-example.com_stub.sock"
    obstacle.mkdir()
    plugin = node.start_plugin()
    state = await plugin.resource_until(lambda state: "not a socket" in state.detail)
    assert state.detail == f"cannot bind {obstacle}: the path exists and is not a socket; remove it"
    obstacle.rmdir()
    plugin.hup()
    await kubelet.wait_for(STUB, 4)


async def test_the_next_process_of_a_killed_plugin_takes_its_socket(node: Node, kubelet: FakeKubelet) -> None:
    """What a crash leaves behind does not prevent that, and nothing accumulates over many crashes."""
    sockets = set()
    for _ in range(4):
        plugin = node.start_plugin()
        await plugin.registered()
        await kubelet.wait_for(STUB, 4)
        plugin.kill()
        await kubelet.wait_for(STUB, 0)
        sockets.update(node.sockets())
    assert len(sockets) == 1
