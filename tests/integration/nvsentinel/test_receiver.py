"""The socket for NVSentinel's events, while hubs come and go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from hub.base.changecount import ChangeCounter
from hub.base.instances import ServingLock
from hub.base.paths import RunDir
from hub.nvsentinel import receiver
from hub.nvsentinel.bridge import COMPONENT
from hub.nvsentinel.receiver import Receiver
from hub.status.view import View
from hub.testing.waiting import wait_until
from tests.simulators.nvsentinel import event, request, send


@asynccontextmanager
async def _process(directory: Path, name: str, taken: list[str]) -> AsyncIterator[None]:
    """Run the receiver of a hub of this name, which records what it receives."""
    run_dir = RunDir(directory, name)
    lock = ServingLock(run_dir, COMPONENT)
    lock.acquire()
    view = View(run_dir, COMPONENT, ChangeCounter())
    work = Receiver(directory / "nvsentinel.sock", name, lambda _: taken.append(name), view.is_active)
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        lock.release()


async def test_the_newest_hub_receives(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During an upgrade, the new hub's process takes over the socket; when it exits, the old hub's takes it back."""
    monkeypatch.setattr(receiver, "CHECK_SECONDS", 0.05)
    path = directory / "nvsentinel.sock"
    taken: list[str] = []

    async def received_by(name: str) -> None:
        async def sent() -> bool:
            taken.clear()
            try:
                await send(path, request(event("A")))
            except grpc.aio.AioRpcError as error:
                # A stopping server refuses a call that has just arrived, and NVSentinel sends it again.
                if error.code() not in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}:
                    raise
            return taken == [name]

        while not await sent():
            pass

    async with asyncio.timeout(60), _process(directory, "old", taken):
        await wait_until(path.is_socket, "the socket")
        await received_by("old")
        async with _process(directory, "new", taken):
            await received_by("new")
        await received_by("old")
    assert _names(directory) == ["serving"]


def _names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


@pytest.mark.parametrize("what", ["file", "link", "directory"])
async def test_something_else_in_its_place(directory: Path, what: str) -> None:
    """Anything else there is replaced, and a link to a file elsewhere is not followed."""
    path, elsewhere = directory / "nvsentinel.sock", directory / "elsewhere"
    elsewhere.write_text("mine")
    match what:
        case "file":
            path.write_text("x")
        case "link":
            path.symlink_to(elsewhere)
        case _:
            (path / "inside").mkdir(parents=True)
    taken: list[str] = []
    async with asyncio.timeout(60), _process(directory, "hub", taken):
        await wait_until(path.is_socket, "the socket")
        await send(path, request(event("A")))
    assert (taken, elsewhere.read_text()) == (["hub"], "mine")
