"""Servers on unix sockets whose files may be replaced or removed while the servers run."""

import socket
from pathlib import Path

from hub.testing.kubelet.server import UnixServer


async def test_a_server_that_stops_leaves_the_socket_of_another_one(tmp_path: Path) -> None:
    """It may belong to a kubelet which started in the same directory in the meantime."""
    path = tmp_path / "kubelet.sock"
    server = UnixServer(path, lambda _: None)
    await server.start()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        await server.stop(clean=True)
        assert path.is_socket()


async def test_a_server_that_stops_removes_its_socket_if_that_is_still_there(tmp_path: Path) -> None:
    """A clean end leaves nothing behind; a socket that is already gone is not an error."""
    path = tmp_path / "kubelet.sock"
    for is_removed in (False, True):
        server = UnixServer(path, lambda _: None)
        await server.start()
        if is_removed:
            path.unlink()
        await server.stop(clean=True)
        assert not path.exists()
