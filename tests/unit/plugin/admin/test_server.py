"""How a plugin responds to a client of its admin socket."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub.model.admin import Response
from hub.plugin.admin.server import AdminServer
from hub.testing.waiting import wait_until

TIMEOUT = 60.0


@pytest.mark.parametrize(
    "request_line",
    [b'{"type": "cordon", "device": "\xff"}', b'{"type": ' + b"[" * 60_000, b"9" * 5000, b"", b"x" * 100_000],
    ids=["not UTF-8", "nested", "long number", "empty", "long"],
)
async def test_a_malformed_request_gets_an_answer(tmp_path: Path, request_line: bytes) -> None:
    """Whatever a client sends, the response says what is wrong, and the next request is served."""
    commands: Any = None
    running = asyncio.create_task(AdminServer(tmp_path / "admin", commands).run())
    async with asyncio.timeout(TIMEOUT):
        await wait_until((tmp_path / "admin").exists, "the socket")
        for _ in range(2):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "admin")
            writer.write(request_line + b"\n")
            response = msgspec.json.decode(await reader.readline(), type=Response)
            assert not response.ok
            assert response.message.startswith("unrecognized request: ")
            writer.close()
    running.cancel()
