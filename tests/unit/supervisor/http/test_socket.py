"""The socket of the kubelet's probes, in a directory into which every plugin can write."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.paths import RunDir
from hub.base.sockets import is_served
from hub.status.reader import Reader
from hub.supervisor.http import server
from hub.supervisor.http.server import serve_socket
from hub.testing.waiting import wait_until


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("garbage"),
    "a pipe": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a directory": lambda path: (path / "in the way").mkdir(parents=True),
    "a link to another socket": lambda path: path.symlink_to("other"),
}


@pytest.mark.parametrize("replace", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
async def test_what_is_in_the_place_of_the_socket_is_replaced(
    directory: Path, monkeypatch: pytest.MonkeyPatch, replace: Callable[[Path], object]
) -> None:
    """If it were not, all probes would fail, and the kubelet would restart the hub and all plugins again and again."""
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    path, reader = directory / "http", Reader(RunDir(directory))
    other = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), directory / "other")
    serving = asyncio.create_task(serve_socket(path, reader))
    try:
        for _ in range(2):
            await wait_until(lambda: is_served(path), "the socket")
            replace(directory / "scratch")
            if (directory / "scratch").is_dir():
                path.unlink()
            # In one step, except for a directory: the path is never empty.
            (directory / "scratch").rename(path)
            await wait_until(lambda: path.is_socket() and not path.is_symlink() and is_served(path), "the next socket")
        assert path.stat().st_mode & 0o777 == 0o600
        assert (directory / "other").is_socket()
        assert not serving.done()
        serving.cancel()
        # When the hub starts, it finds what an earlier process has left.
        await asyncio.wait([serving])
        path.unlink()
        replace(path)
        serving = asyncio.create_task(serve_socket(path, reader))
        await wait_until(lambda: path.is_socket() and not path.is_symlink() and is_served(path), "the first socket")
    finally:
        serving.cancel()
        other.close()


async def test_a_socket_that_is_replaced_is_closed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it were not, each replacement would use a file descriptor."""
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    path = directory / "http"
    serving = asyncio.create_task(serve_socket(path, Reader(RunDir(directory))))
    try:
        await wait_until(lambda: is_served(path), "the socket")
        before = _open_files()
        for _ in range(10):
            path.unlink()
            await wait_until(lambda: is_served(path), "the next socket")
        assert _open_files() < before + 5
    finally:
        serving.cancel()
