"""The stub does what its configuration says, and misbehaves as its fault file says."""

import asyncio
import signal
import time

import grpc
import pytest

from hub.testing.kubelet import AdmissionError, FakeKubelet
from hub.testing.plugin import STUB
from tests.harness.node import Node, asking_for, dialled

EVERYTHING = """
resources:
  - name: example.com/plain
    devices: 1
  - name: example.com/full
    devices: 5
    numa: [0, 1]
    nodes:
      - {host_path: /dev/zero, container_path: "/dev/full{n}", permissions: r}
      - {host_path: /dev/null, container_path: /dev/shared, permissions: rwm}
    env: {FULL: "{id}", NUMBER: "{n}", FIXED: always}
  - name: example.com/bare
    devices: 2
    nodes: []
    env: {}
  - name: example.com/none
    devices: 0
"""


async def test_without_configuration(node: Node, kubelet: FakeKubelet) -> None:
    """It serves four devices of example.com/stub, each with /dev/null under its number and its id in a variable."""
    node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    assert [(device.id, device.numa) for device in kubelet.devices(STUB)] == [(f"stub-{n}", ()) for n in range(4)]
    response = (await kubelet.admit("trainer", {STUB: 4})).containers["main"].response
    assert sorted(response.envs["STUB_DEVICES"].split(",")) == [f"stub-{n}" for n in range(4)]
    files = [(node.host_path, node.container_path, node.permissions) for node in response.devices]
    assert sorted(files) == [("/dev/null", f"/dev/stub{n}", "rw") for n in range(4)]


async def test_every_setting(node: Node, kubelet: FakeKubelet) -> None:
    """Resources, numbers of devices, NUMA nodes, device files and variables match the configuration."""
    node.start_plugin(config=EVERYTHING)
    for name, count in {"plain": 1, "full": 5, "bare": 2, "none": 0}.items():
        await kubelet.wait_for(f"example.com/{name}", count)
    assert [device.numa for device in kubelet.devices("example.com/full")] == [(0,), (1,), (0,), (1,), (0,)]
    pod = await kubelet.admit("trainer", {"example.com/full": 5, "example.com/bare": 1})
    response = pod.containers["main"].response
    ids = [f"full-{n}" for n in range(5)]
    assert {key: sorted(value.split(",")) for key, value in response.envs.items()} == {
        "FULL": ids,
        "NUMBER": ["0", "1", "2", "3", "4"],
        "FIXED": ["always"],
    }
    assert sorted((node.container_path, node.host_path, node.permissions) for node in response.devices) == [
        *((f"/dev/full{n}", "/dev/zero", "r") for n in range(5)),
        ("/dev/shared", "/dev/null", "rwm"),
    ]


async def test_it_prefers_devices_that_are_close(node: Node, kubelet: FakeKubelet) -> None:
    """The devices are on as few NUMA nodes as possible."""
    node.start_plugin(config=f"resources: [{{name: {STUB}, devices: 8, numa: [0, 1]}}]")
    await kubelet.wait_for(STUB, 8)
    held = (await kubelet.admit("trainer", {STUB: 4})).containers["main"].allocations[STUB].devices
    assert len({device.numa for device in held}) == 1


async def test_health_is_switched(node: Node, kubelet: FakeKubelet) -> None:
    """The fault file makes devices unhealthy at once, with the reason in the status; without it, they are healthy."""
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    node.faults("unhealthy: {stub-1: fell off the bus, stub-3: too hot}")
    await kubelet.wait_for(STUB, 2)
    state = await plugin.resource_until(lambda state: bool(state.devices[1].reason))
    assert [device.reason for device in state.devices] == ["", "fell off the bus", "", "too hot"]
    node.faults_file.write_text("unhealthy: {stub-1: fell off the bus}")
    await kubelet.wait_for(STUB, 3)
    node.faults_file.unlink()
    await kubelet.wait_for(STUB, 4)


async def test_the_number_of_devices_is_switched(node: Node, kubelet: FakeKubelet) -> None:
    """The number can be raised, lowered and set to zero."""
    node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    for count in (7, 1, 0, 4):
        node.faults(f"devices: {{{STUB}: {count}}}")
        await kubelet.wait_for(STUB, count)


async def test_a_failing_scan(node: Node, kubelet: FakeKubelet) -> None:
    """All devices are unhealthy as long as the scan fails."""
    node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    node.faults("scan: driver is gone")
    await kubelet.wait_for(STUB, 0)
    node.faults("")
    await kubelet.wait_for(STUB, 4)


async def test_allocate_fails_or_is_slow(node: Node, kubelet: FakeKubelet) -> None:
    """The call fails with the requested text, or is answered after the requested time."""
    node.faults("allocate: {fail: out of luck}")
    node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    with pytest.raises(AdmissionError, match="RuntimeError: out of luck"):
        await kubelet.admit("trainer", {STUB: 1})
    node.faults("allocate: {delay: 0.25}\nunhealthy: {stub-3: seen}")
    await kubelet.wait_for(STUB, 3)
    begin = time.monotonic()
    await kubelet.admit("trainer", {STUB: 1})
    assert time.monotonic() - begin >= 0.25


async def test_allocate_hangs(node: Node, kubelet: FakeKubelet) -> None:
    """The method never returns; the process answers after its limit."""
    node.faults("allocate: {hang: true}")
    node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    async with dialled(node.sockets()[0]) as client:
        call = client.Allocate(asking_for("stub-0"))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("fault", ["fail: no idea", "hang: true"])
async def test_prefer_fails_or_hangs(node: Node, kubelet: FakeKubelet, fault: str) -> None:
    """The pod is admitted even then."""
    node.faults(f"prefer: {{{fault}}}")
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    await kubelet.admit("trainer", {STUB: 2})
    assert len(plugin.lines("preference ignored")) == 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [("{}", 1), ("{exit: 7}", 7), ("{signal: 9}", -signal.SIGKILL), ("{signal: 11}", -signal.SIGSEGV)],
)
async def test_it_crashes(node: Node, kubelet: FakeKubelet, fault: str, status: int) -> None:
    """The stub exits with the requested code or signal, and its devices disappear with it."""
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    node.faults(f"crash: {fault}")
    assert await plugin.exited() == status
    await kubelet.wait_for(STUB, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("unhealthy: [stub-1]", "unhealthy: expected a mapping, got a list"),
        ("unhelthy: {}", 'unknown key "unhelthy"'),
        ("allocate: {delay: long}", "allocate.delay: expected a number, got text"),
        ("allocate: {delay: -1}", "allocate.delay: expected a number that is at least 0"),
        ("devices: {example.com/stub: -1}", "devices[...]: expected a whole number that is at least 0"),
        ("a: 1\na: 2\n", 'line 2: duplicate key "a"'),
        ("scan: [\n", "line 2: invalid YAML: "),
    ],
)
async def test_a_bad_fault_file(node: Node, kubelet: FakeKubelet, text: str, problem: str) -> None:
    """The devices are unhealthy, the reason gives the location of the mistake, and fixing the file ends that."""
    plugin = node.start_plugin()
    await kubelet.wait_for(STUB, 4)
    node.faults(text)
    await kubelet.wait_for(STUB, 0)
    state = await plugin.resource_until(lambda state: not state.devices[0].healthy)
    reason = f"devices() failed: {node.faults_file}: {problem}"
    assert state.devices[0].reason.startswith(reason)
    node.faults("unhealthy: {stub-0: test}")
    await kubelet.wait_for(STUB, 3)


async def test_the_fault_file_may_be_elsewhere(node: Node, kubelet: FakeKubelet) -> None:
    """A directory that does not exist yet is reported and waited for."""
    elsewhere = node.directory / "elsewhere"
    plugin = node.start_plugin(config=f"faults: {elsewhere}/faults.yaml")
    await plugin.resource_until(lambda state: bool(state.devices) and "No such file" in state.devices[0].reason)
    elsewhere.mkdir()
    await kubelet.wait_for(STUB, 4)
    await asyncio.to_thread((elsewhere / "faults.yaml").write_text, "unhealthy: {stub-0: test}")
    await kubelet.wait_for(STUB, 3)
