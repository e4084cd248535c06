"""What the hub answers about what it and its plugins have written."""

import asyncio
from pathlib import Path

import pytest
from msgspec.json import decode, encode

from hub.base.paths import RunDir
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import ConfigFile, PluginReport
from hub.status.reader import Reader
from hub.supervisor.http.server import serve_socket
from hub.testing.waiting import wait_until


@pytest.mark.parametrize("path", ["/status", "/readyz", "/metrics"])
async def test_an_unreadable_report(directory: Path, path: str) -> None:
    """The answer is 503 with the reason, not an internal error."""
    RunDir(directory).hub_report.write_bytes(b"nonsense")
    head, text = await _get(directory, path)
    assert head.split()[1] == b"503"
    assert b"dphub.json is not what this version of dphub writes" in text


async def test_the_status_has_no_digest_of_a_configuration(directory: Path) -> None:
    """It has the path of a plugin's file, and no digest, by which guesses of a password in it could be tested."""
    run_dir = RunDir(directory)
    hub = HubReport("1", 1, 0, "dphub", "", "", "")
    run_dir.hub_report.write_bytes(encode(InstanceReport(hub, (ProcessReport("stub", RunState.RUNNING, 1),))))
    config = ConfigFile("/etc/dphub/stub.yaml", "5ec2e7")
    run_dir.report("stub").write_bytes(encode(PluginReport("stub", 1, config=config)))
    _, text = await _get(directory, "/status")
    (plugin,) = decode(text)["plugins"]
    assert plugin["report"]["config"] == {"path": config.path, "digest": ""}
    assert config.digest.encode() not in text


async def _get(directory: Path, path: str) -> tuple[bytes, bytes]:
    """Return the header and the body of a response."""
    serving = asyncio.create_task(serve_socket(directory / "http", Reader(RunDir(directory))))
    try:
        await wait_until((directory / "http").exists, "the socket")
        reader, writer = await asyncio.open_unix_connection(directory / "http")
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, _, text = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        serving.cancel()
    return head, text
