"""What the hub answers when it cannot read what it has written itself."""

import asyncio
from pathlib import Path

import pytest

from hub.base.paths import RunDir
from hub.status.reader import Reader
from hub.supervisor.http.server import serve_socket
from hub.testing.waiting import wait_until


@pytest.mark.parametrize("path", ["/status", "/readyz", "/metrics"])
async def test_an_unreadable_report(directory: Path, path: str) -> None:
    """The answer is 503 with the reason, not an internal error."""
    run_dir = RunDir(directory)
    run_dir.hub_report.write_bytes(b"nonsense")
    serving = asyncio.create_task(serve_socket(directory / "http", Reader(run_dir)))
    try:
        await wait_until((directory / "http").exists, "the socket")
        reader, writer = await asyncio.open_unix_connection(directory / "http")
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, _, text = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        serving.cancel()
    assert head.split()[1] == b"503"
    assert b"dphub.json is not what this version of dphub writes" in text
