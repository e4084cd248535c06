"""The channels on which all clients call services of this node."""

import asyncio
import re
from pathlib import Path

import grpc.aio
import pytest

from hub.kubelet.channel import CHANNEL_OPTIONS, unix_target

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _SETTINGS, _GOAWAY = 1, 4, 7


def _frame(kind: int, payload: bytes = b"") -> bytes:
    """Return an HTTP/2 frame of the whole connection."""
    return len(payload).to_bytes(3) + bytes([kind, 0]) + bytes(4) + payload


async def test_a_call_that_a_server_did_not_accept_is_not_repeated(directory: Path) -> None:
    """The caller decides whether and when to call again; gRPC's own retries can be endless."""
    calls = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Refuse the first call, as a server does when it shuts down."""
        await reader.readexactly(len(_PREFACE))
        writer.write(_frame(_SETTINGS))
        kind = None
        while kind != _HEADERS:
            length, kind = int.from_bytes(await reader.readexactly(3)), (await reader.readexactly(6))[0]
            await reader.readexactly(length)
        calls.append(kind)
        no_call_was_taken = bytes(8)
        writer.write(_frame(_GOAWAY, no_call_was_taken))
        writer.close()

    socket = directory / "ending.sock"
    async with (
        await asyncio.start_unix_server(serve, socket),
        grpc.aio.insecure_channel(unix_target(socket), options=CHANNEL_OPTIONS) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await channel.unary_unary("/service/Method")(b"", timeout=60)
    assert calls == [_HEADERS]


def test_all_clients_use_these_options() -> None:
    """No client of the hub or a plugin creates a channel of any other kind."""
    root = Path(__file__).parents[3]
    makers = [
        (path.relative_to(root), line)
        for package in ("hub", "plugins")
        for path in (root / package).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "insecure_channel(" in line
    ]
    assert makers
    assert [(path, line) for path, line in makers if "ptions=" not in line and "_OPTIONS" not in line] == []


@pytest.mark.parametrize(
    "name", ["a.sock", "%61.sock", "a.sock?b", "a.sock#b", "a b.sock", "\u00e9.sock", "%2e%2e", "a\udcff"]
)
async def test_a_socket_is_this_file_whatever_its_name_is(directory: Path, name: str) -> None:
    """Clients and servers use the file with exactly this name, not the file that the name would mean in a URI."""
    server = grpc.aio.server()
    server.add_insecure_port(unix_target(directory / name))
    await server.start()
    assert _names(directory) == [name]
    async with grpc.aio.insecure_channel(unix_target(directory / name)) as channel, asyncio.timeout(30):
        await channel.channel_ready()
    await server.stop(None)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_a_path_that_no_file_can_have() -> None:
    """The rest of the path would be cut off."""
    with pytest.raises(ValueError, match="zero byte"):
        unix_target("a.sock\0b")


def test_all_addresses_of_sockets_come_from_one_function() -> None:
    """As a result, no file name is ever read as a URI."""
    root = Path(__file__).parents[3]
    sources = [path for package in ("hub", "plugins") for path in root.glob(f"{package}/**/*.py")]
    found = [
        path.relative_to(root).as_posix() for path in sources if re.search(r"[\"']unix(-abstract)?:", path.read_text())
    ]
    assert found == ["hub/kubelet/channel.py"]
