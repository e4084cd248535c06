"""What the hub returns of what it and its plugins have written."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from hub.base.paths import RunDir
from hub.model.history import Allocation, AllocationHistory, NodeHistory
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import ConfigFile, PluginReport
from hub.status.reader import Reader
from hub.supervisor.http.server import serve_socket
from hub.testing.waiting import wait_until


async def test_the_status_has_no_digest_of_a_configuration(directory: Path) -> None:
    """It contains the path of a plugin's file, and no digest, by which guesses of a password in it could be tested."""
    run_dir = RunDir(directory)
    hub = HubReport("1", 1, 0, "dphub", "", "", "")
    report = InstanceReport(hub, (ProcessReport("stub", RunState.RUNNING, 1),))
    run_dir.hub_report.write_bytes(msgspec.json.encode(report))
    config = ConfigFile("/etc/dphub/stub.yaml", "5ec2e7")
    run_dir.report("stub").write_bytes(msgspec.json.encode(PluginReport("stub", 1, config=config)))
    _, text = await _get(run_dir, "/status")
    (plugin,) = msgspec.json.decode(text)["plugins"]
    assert plugin["report"]["config"] == {"path": config.path, "digest": ""}
    assert config.digest.encode() not in text


async def _get(run_dir: RunDir, path: str) -> tuple[bytes, bytes]:
    """Return the status code and the text of the response on the hub's socket."""
    socket = run_dir.path / "http"
    serving = asyncio.create_task(serve_socket(socket, Reader(run_dir)))
    try:
        await wait_until(socket.exists, "the socket")
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, _, text = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        serving.cancel()
    return head.split()[1], text


@pytest.mark.parametrize("path", ["/status", "/history", "/readyz", "/metrics"])
async def test_an_unreadable_report(directory: Path, path: str) -> None:
    """The response is 503 with the reason, not an internal error."""
    run_dir = RunDir(directory)
    run_dir.hub_report.write_bytes(b"nonsense")
    code, text = await _get(run_dir, path)
    assert code == b"503"
    assert b"dphub.json is not what this version of dphub writes" in text


async def test_the_history(directory: Path) -> None:
    """The response contains all allocations of each plugin; an unreadable file does not affect other plugins."""
    run_dir = RunDir(directory)
    processes = tuple(ProcessReport(name, RunState.RUNNING, 1) for name in ("gpu", "ib", "stub"))
    report = InstanceReport(HubReport("1", 1, 1, "dphub", "", "", ""), processes)
    run_dir.hub_report.write_bytes(msgspec.json.encode(report))
    allocation = Allocation("nvidia.com/gpu", "GPU-1", "team/train/main", 1)
    run_dir.history("gpu").parent.mkdir()
    run_dir.history("gpu").write_bytes(msgspec.json.encode(AllocationHistory((allocation,))))
    run_dir.history("ib").write_bytes(b"nonsense")
    code, text = await _get(run_dir, "/history")
    history = msgspec.json.decode(text, type=NodeHistory)
    assert (code, history.plugins) == (b"200", {"gpu": (allocation,), "stub": ()})
    assert history.unreadable.keys() == {"ib"}
