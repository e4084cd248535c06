"""The health of devices between a real hub and NVSentinel's API, over real sockets."""

import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from hub.testing import Node, wait_until
from tests.harness.node import replace
from tests.simulators.nvsentinel import Connector, event, request, send

STUB = "example.com/GPU"
NODE = "node-1"
CONFIG = """
[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub --config stub.yaml
[watcher:nvsentinel]
cmd = python -m hub.nvsentinel --send {directory}/theirs.sock --receive {directory}/ours.sock
"""
STUB_YAML = f"resources: [{{name: {STUB}, devices: 2}}]\n"


class SentinelNode(Node):
    """A node with a hub, the stub and the process for NVSentinel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.theirs, self.ours = directory / "theirs.sock", directory / "ours.sock"
        (directory / "circus.ini").write_text(CONFIG.format(directory=directory))
        (directory / "stub.yaml").write_text(STUB_YAML)
        super().__init__(directory, directory / "circus.ini", {"DPHUB_NODE_NAME": NODE})

    def faults(self, text: str) -> None:
        """Set the stub's faults; an empty text removes them."""
        replace(self.run_dir.path / "stub-faults.yaml", text)

    async def device(self, name: str, reason: str) -> None:
        """Wait until a device is unhealthy for this reason, or healthy if there is none."""
        await self.wait(lambda: self._reason(name) == reason, f"{name}: {reason or 'healthy'}")

    def _reason(self, name: str) -> str | None:
        path = self.run_dir.report("stub")
        report = json.loads(path.read_text()) if path.exists() else {}
        devices = [device for resource in report.get("resources", ()) for device in resource["devices"]]
        return next((each.get("reason", "") for each in devices if each["id"] == name), None)

    async def wait(self, find: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - whatever it finds
        """Wait until something is found, and return it."""
        try:
            return await wait_until(find, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; log:\n{self.log.read_text()[-4000:]}") from None

    def pid(self) -> int:
        """Return the id of the process for NVSentinel; 0 before it has started."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        found = [line for line in lines if line["event"] == "plugin started" and line["plugin"] == "nvsentinel"]
        return int(found[-1]["pid"]) if found else 0


@pytest.fixture
async def node(directory: Path) -> AsyncIterator[SentinelNode]:
    """Run a node."""
    async with SentinelNode(directory) as node:
        await node.start_hub()
        await node.kubelet.wait_for(STUB, 2, timeout=120)
        yield node


async def test_what_nvsentinel_reports(node: SentinelNode) -> None:
    """By either method, a device is unhealthy, with NVSentinel's message as the reason, until its healthy event."""
    await node.wait(node.ours.is_socket, "the socket")
    about = [("GPU_UUID", "GPU-1")]
    await send(node.ours, request(event("GpuMemWatch", about, message="row 7 is bad", nodeName=NODE)))
    await node.device("GPU-1", "reported by nvsentinel/GpuMemWatch: row 7 is bad")
    await node.kubelet.wait_for(STUB, 1)
    os.kill(node.pid(), signal.SIGKILL)
    before = node.pid()
    await node.wait(lambda: node.pid() != before, "the next process")
    await send(node.ours, request(event("GpuMemWatch", about, isHealthy=True)), "HealthEventOccuredV1")
    await node.device("GPU-1", "")
    await node.kubelet.wait_for(STUB, 2)


async def test_a_malformed_request(node: SentinelNode) -> None:
    """The request is rejected, and the next one is carried out."""
    await node.wait(node.ours.is_socket, "the socket")
    with pytest.raises(grpc.aio.AioRpcError, match="expected a message of NVSentinel's API"):
        await send(node.ours, b"\xff")
    with pytest.raises(grpc.aio.AioRpcError, match="larger than max"):
        await send(node.ours, b"x" * (2 << 20))
    assert node.ours.stat().st_mode & 0o777 == 0o600
    await send(node.ours, request(event("A", [("GPU_UUID", "GPU-0")], message="bad")))
    await node.device("GPU-0", "reported by nvsentinel/A: bad")


async def test_what_is_reported_to_nvsentinel(node: SentinelNode) -> None:
    """All devices are reported after each connect, then each change, but nothing that NVSentinel reported itself."""
    about = {number: f"{STUB} GPU-{number}" for number in range(2)}
    async with Connector(node.theirs) as connector:
        await node.wait(lambda: all(map(connector.last, about.values())), "both devices")
        assert all(each.isHealthy for each in connector.events)
        node.faults("unhealthy: {GPU-0: the fan is loud}\n")
        found = await node.wait(lambda: _unhealthy(connector, about[0]), "the fault")
        assert (found.message, found.processingStrategy, found.recommendedAction) == ("the fan is loud", 2, 0)
        node.faults("")
        await node.wait(lambda: _healthy(connector, about[0]), "the recovery")
        await send(node.ours, request(event("A", [("GPU_UUID", "GPU-1")])))
        await node.device("GPU-1", "reported by nvsentinel/A: A")
        node.faults("unhealthy: {GPU-0: the fan is loud}\n")
        await node.wait(lambda: _unhealthy(connector, about[0]), "the second fault")
    node.faults("")
    await node.device("GPU-0", "")
    async with Connector(node.theirs, "HealthEventOccuredV1") as connector:
        # What happened while disconnected is reported; this server has the method under its earlier name.
        await node.wait(lambda: _healthy(connector, about[0]), "the recovery")
        assert connector.last(about[1]) is None


async def test_a_connector_that_refuses_events(node: SentinelNode) -> None:
    """The log says so, and the events are sent again until it accepts them."""
    async with Connector(node.theirs) as connector:
        connector.refuses = True
        await node.wait(lambda: "PERMISSION_DENIED: no" in node.log.read_text(), "the log")
        connector.refuses = False
        await node.wait(lambda: connector.last(f"{STUB} GPU-0"), "the events")


def _healthy(connector: Connector, name: str) -> bool:
    found = connector.last(name)
    return bool(found and found.isHealthy)


def _unhealthy(connector: Connector, name: str) -> Any:  # noqa: ANN401 - a message
    found = connector.last(name)
    return found if found and not found.isHealthy else None
