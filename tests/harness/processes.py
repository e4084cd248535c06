"""Processes that a test starts, and how it finds them, including indirect descendants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from hub.testing.waiting import WAIT_SECONDS


@asynccontextmanager
async def started(*command: str | Path, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:  # noqa: ANN401 - what asyncio takes
    """Start a process, and kill it at the end of the block if it is still running."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    """Wait for the exit of a process that was asked to stop, and return its exit code."""
    async with asyncio.timeout(WAIT_SECONDS):
        return await process.wait()


def marked(variable: str, value: str) -> list[int]:
    """Return the running processes that inherited this variable; zombies have no environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{variable}={value}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found
