"""Clients on the network that try to harm the hub through its port, tested in this process."""

import asyncio
import json
import os
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.base.log import LogFormat, LogLevel, configure
from hub.base.paths import RunDir
from hub.base.webheaders import NOT_A_PAGE
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus
from hub.status.reader import Reader
from hub.supervisor.http import server
from hub.testing.waiting import wait_until

SILENCE = 0.3
"""Seconds after which the server closes connections in these tests."""

LARGE = 32 << 20
"""Bytes of a response that fits in no buffer of the kernel."""

IN_THE_KERNEL = 10 << 10
"""Bytes of a reason: a response with it fits in a buffer of the kernel, but not into the window of a slow client."""

SERVICE = "device-plugin-hub.monitoring.svc"
"""A name of the hub that is configured."""

DETAIL = "the fan is loud"
"""A string that is in the status."""

Answer = tuple[int, str]


@pytest.fixture
def log(directory: Path) -> Iterator[Path]:
    """Keep the log of this process in a file, at its most detailed level."""
    path = directory / "log"
    configure(LogLevel.DEBUG, LogFormat.JSON, keep=path)
    yield path
    configure()


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@asynccontextmanager
async def _port(directory: Path, size: int = 0) -> AsyncIterator[int]:
    """Serve the status of a node, of at least this size; yield the port."""
    run_dir = RunDir(directory)
    reason = f"{DETAIL} {'x' * size}"
    device = DeviceStatus(id="device-1", healthy=False, reason=reason)
    resource = ResourceStatus(
        name="example.com/a", socket="", registration=RegistrationStatus.REGISTERED, since=0, devices=(device,)
    )
    hub = HubReport("1", 1, 0.0, "dphub", "", "", "")
    run_dir.hub_report.write_bytes(_encoded(InstanceReport(hub, (ProcessReport("stub", RunState.RUNNING, pid=1),))))
    run_dir.report("stub").write_bytes(_encoded(PluginReport("stub", pid=1, resources=(resource,))))
    listening: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(
        server.serve_web("127.0.0.1:0", Reader(run_dir), lambda address, _: listening.put_nowait(address), [SERVICE])
    )
    try:
        yield int((await listening.get()).rpartition(":")[2])
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def _encoded(value: object) -> bytes:
    import msgspec  # noqa: PLC0415 - used here only

    return msgspec.json.encode(value)


async def _ask(port: int, request: bytes, *, ends: bool = False) -> Answer:
    """Send these bytes, and perhaps the end of the stream; return the status code and all of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if ends:
            writer.write_eof()
        answer = (await reader.read()).decode("latin-1")
    except ConnectionResetError:
        answer = ""
    finally:
        writer.close()
    return int(answer.split(" ", 2)[1]) if answer else 0, answer


def _get(path: str, host: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


_FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


def _hostile(rng: random.Random) -> bytes:
    """Make a request that the server rejects, with control codes in it where it accepts them."""
    junk = bytes(rng.choice(b"\x1b\x9b[2Jm%\xe2\x80\xaeab") for _ in range(rng.randrange(1, 900)))
    body = b"%ff=" + junk
    return rng.choice(
        [
            b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15000\r\n\r\n" + bytes(15_000),
            b"POST /status HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n%b" % (_FORM, len(body), body),
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=" + junk + b"\r\n\r\n",
            b"GET /" + junk + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: " + junk + b"\r\n\r\n",
            junk + b"\r\n\r\n",
            _get("/status", f"localhost:{'9' * 5000}"),
            _get("/nowhere", "localhost"),
            _get("/status", "evil.example"),
        ]
    )


async def test_clients_cannot_write_the_log(directory: Path, log: Path) -> None:
    """Whatever clients send, and at every log level, the log gets one line a minute with their number."""
    seed = random.randrange(2**32)  # noqa: S311 - not a secret
    rng = random.Random(seed)  # noqa: S311 - not a secret
    async with _port(directory) as port:
        for _ in range(200):
            await _ask(port, _hostile(rng), ends=True)
    lines = [line for line in _lines(log) if line.get("library") != "asyncio"]
    assert [line["event"] for line in lines] == ["http requests rejected"], (seed, lines[:5])
    assert "\x1b" not in str(lines)


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:9880", 200),
        ("10.1.2.3:9880", 200),
        ("[::1]:9880", 200),
        ("[fd00::7]", 200),
        ("localhost:9880", 200),
        ("LOCALHOST.", 200),
        (os.uname().nodename, 200),
        (f"{SERVICE}:80", 200),
        ("evil.example", 421),
        ("evil.example:9880", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("0x7f.1", 421),
    ],
)
async def test_a_foreign_host_name_is_rejected(directory: Path, host: str, code: int) -> None:
    """A web page whose name leads to the hub cannot read the status through a user's browser."""
    async with _port(directory) as port:
        for path in ("/status", "/metrics", "/readyz", "/healthz", "/", "/nowhere"):
            found, answer = await _ask(port, _get(path, host))
            assert found == (404 if path == "/nowhere" and code == 200 else code), (path, answer[:300])
            assert code == 200 or DETAIL not in answer


async def test_a_client_that_names_no_host_is_rejected(directory: Path) -> None:
    """This holds even with HTTP/1.0, which allows that."""
    async with _port(directory) as port:
        assert (await _ask(port, b"GET /status HTTP/1.0\r\n\r\n"))[0] == 421
        assert (await _ask(port, b"GET /status HTTP/1.1\r\n\r\n"))[0] == 400
        assert (await _ask(port, b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n"))[0] == 200


async def test_a_request_that_no_page_can_send_needs_no_name(directory: Path) -> None:
    """Through the API server's proxy, a request names that server; no page can set headers that begin with Sec-."""
    assert NOT_A_PAGE.startswith("Sec-")
    async with _port(directory) as port:
        for path in ("/status", "/history"):
            request = f"GET {path} HTTP/1.0\r\nHost: api.example\r\n"
            assert (await _ask(port, f"{request}\r\n".encode()))[0] == 421
            assert (await _ask(port, f"{request}{NOT_A_PAGE}: 1\r\n\r\n".encode()))[0] == 200


@pytest.mark.parametrize("size", [IN_THE_KERNEL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("sent", [b"", b"GET / HT", _get("/status", "localhost")], ids=["nothing", "half", "unread"])
async def test_a_client_that_stops_is_disconnected(
    directory: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes, size: int
) -> None:
    """It is disconnected after the limit, whether it sends nothing or half a request, or never reads the response."""
    monkeypatch.setattr(server, "CONNECTION_SECONDS", SILENCE)
    async with _port(directory, size) as port:
        with await _connected(port, sent):
            await wait_until(lambda: _unsent(port), "the server to accept the connection")
            await wait_until(lambda: not _unsent(port), "the server to drop the connection")


async def test_a_client_that_is_slow_gets_the_whole_answer(directory: Path) -> None:
    """It gets the response even if the server finished long ago, and has other clients in the meantime."""
    async with _port(directory, IN_THE_KERNEL) as port:
        with await _connected(port, _get("/status", "localhost")) as client:
            # The server's end has sent everything (4: FIN-WAIT-1), but the client has not read it.
            await wait_until(lambda: _unsent(port, "04"), "the end of the response")
            for _ in range(3):
                assert (await _ask(port, _get("/healthz", "localhost")))[0] == 200
            reader, writer = await asyncio.open_connection(sock=client)
            answer = await reader.read()
            writer.close()
        head, body = answer.split(b"\r\n\r\n", 1)
        assert f"Content-Length: {len(body)}".encode() in head
        assert len(body) > IN_THE_KERNEL


async def test_unread_answers_take_little_memory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their total size is limited, to one response at least: the oldest clients that do not read are disconnected."""
    monkeypatch.setattr(server, "UNSENT_BYTES", LARGE // 2)
    async with _port(directory, LARGE) as port:
        await _leave_unread(port, 3)


async def test_what_clients_have_read_takes_no_memory(directory: Path) -> None:
    """A client that reads nearly all of its response leaves only the rest in memory."""
    async with _port(directory, LARGE) as port:
        # What is kept between requests does not count.
        _, answer = await _ask(port, _get("/status", "localhost"))
        tracemalloc.start()
        try:
            with await _connected(port, _get("/status", "localhost"), window=1 << 16) as client:
                await _receive(client, len(answer) - (1 << 20))
                held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held < LARGE // 4


async def _receive(client: socket.socket, size: int) -> None:
    """Read this many bytes."""
    while size > 0:
        received = len(await asyncio.get_running_loop().sock_recv(client, 1 << 16))
        assert received
        size -= received


@pytest.mark.parametrize("size", [IN_THE_KERNEL, LARGE], ids=["small", "large"])
async def test_unread_answers_take_few_connections(directory: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The limit includes finished responses that the kernel still holds: if there are too many, the oldest is lost."""
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    async with _port(directory, size) as port:
        await _leave_unread(port, 3)


async def _leave_unread(port: int, count: int) -> None:
    """Request the status this many times without reading a response; only the last connection remains, nearly sent."""
    with ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(client := await _connected(port, _get("/status", "localhost")))
            assert await asyncio.get_running_loop().sock_recv(client, 1)
        await wait_until(lambda: len(_unsent(port)) == 1, "the server to drop the older connections")
        assert max(_unsent(port)) <= 2 * server.SEND_BUFFER_BYTES


async def test_a_client_that_sends_byte_by_byte_is_disconnected(directory: Path) -> None:
    """Each byte wakes the event loop, and the budget covers only connections and requests."""
    async with _port(directory) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = 0
        while not reader.at_eof() and reader.exception() is None and sent <= server.READS:
            writer.write(b"x")
            sent += 1
            # The server reads this byte before the next one is sent.
            await asyncio.sleep(0.001)
        writer.close()
    assert sent <= server.READS


async def _connected(port: int, sent: bytes, window: int = 1) -> socket.socket:
    """Connect with a window that, by default, takes next to nothing of a response, and send these bytes."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.settimeout(0)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    client.send(sent)
    return client


def _unsent(port: int, state: str = "") -> list[int]:
    """Return how much the kernel holds for each of the server's connections, open or closed, or those in a state."""
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    # Leaves out those that listen (0A), and those that have ended (06: TIME-WAIT).
    ours = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] not in ("0A", "06")]
    return [int(row[4].partition(":")[0], 16) for row in ours if state in row[3]]
