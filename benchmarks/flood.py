"""Run the kubelet's probes while clients flood the hub's port.

Run as a program, this module is one of the clients: `flood PORT CONNECTIONS_A_SECOND`. It runs until it is killed, and
prints a line each second: the number of connections that it made in that second.
"""

import asyncio
import os
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from benchmarks.nodes import node_of_three
from benchmarks.rows import Row, times
from hub.base.jsonfile import read_file
from hub.cli import probe
from hub.model.hub import InstanceReport
from hub.testing.node import Node

RATE = 5000
"""Connections a second, across all clients."""

CLIENTS = 2
LIMIT = 1.0
"""Seconds that a probe may take."""

OPEN = 200
"""Connections that each client keeps open, so that the hub sees more than just their end."""

REQUEST = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: end a connection at once, so that its port can be used again."""


async def flood(seconds: float) -> list[Row]:
    """Flood the port for a while; each second, run a liveness and a readiness probe as the manifests do."""
    async with node_of_three() as node:
        report = _report(node)
        pids = [process.pid for process in report.processes]
        # Most of the time of a probe is the start of an interpreter, which depends on the machine.
        usual, _ = await _probes(node, seconds / 4)
        async with _attack(int(report.hub.http.rpartition(":")[2])) as counts:
            took, failed = await _probes(node, seconds)
        changed = sum(pid != process.pid for pid, process in zip(pids, _report(node).processes, strict=True))
    what = f"probes while the port gets {RATE} connections a second"
    return [
        *times("probes of a hub at rest", usual, {"median": None, "worst": None}),
        *times(what, took, {"median": None, "worst": 1000 * LIMIT}),
        Row(what, "failed", failed, "", 0, len(took)),
        Row(what, "plugins restarted", changed, "", 0, len(pids)),
        Row(what, "connections a second", sum(counts) / max(1, len(counts)) * CLIENTS, "", None, len(counts)),
    ]


async def _probes(node: Node, seconds: float) -> tuple[list[float], int]:
    """Run two probes each second; return the seconds that each took, and how many failed."""
    took: list[float] = []
    failed = 0
    end = time.monotonic() + seconds
    while not took or time.monotonic() < end:
        next_round = time.monotonic() + 1
        for path in ("/healthz", "/readyz"):
            begin = time.perf_counter()
            failed += not await _probe(node, path)
            took.append(time.perf_counter() - begin)
        await asyncio.sleep(max(0.0, next_round - time.monotonic()))
    return took, failed


def _report(node: Node) -> InstanceReport:
    report = read_file(node.run_dir.hub_report, InstanceReport)
    if report is None:
        raise RuntimeError("the hub has no report")
    return report


async def _probe(node: Node, path: str) -> bool:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-IS", str(Path(probe.__file__)), path),
        stdout=asyncio.subprocess.DEVNULL,
        env={"DPHUB_RUN_DIR": str(node.run_dir.path), "DPHUB_INSTANCE": node.run_dir.instance},
    )
    return await process.wait() == 0


@asynccontextmanager
async def _attack(port: int) -> AsyncIterator[list[int]]:
    """Flood a port until the block ends; the list then has the number of connections of each client in each second."""
    command = (sys.executable, "-m", "benchmarks.flood", str(port), str(RATE // CLIENTS))
    clients = [
        await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[1])
        for _ in range(CLIENTS)
    ]
    counts: list[int] = []
    try:
        # A client that has printed a line has run for a second.
        for client in clients:
            if client.stdout:
                await client.stdout.readline()
        yield counts
    finally:
        for client in clients:
            client.terminate()
        for client in clients:
            output, _ = await client.communicate()
            counts += map(int, output.split())


def _client(port: int, rate: float) -> None:
    """Open connections at this rate, as far as the CPU allows; each connection sends a request and reads nothing."""
    kept: deque[socket.socket] = deque()
    begin = time.monotonic()
    made = total = printed = 0
    while True:
        now = time.monotonic() - begin
        if int(now) > printed:
            printed = int(now)
            os.write(sys.stdout.fileno(), f"{total - made}\n".encode())
            made = total
        if total > now * rate:
            time.sleep(0.001)
            continue
        total += 1
        client = socket.socket()
        client.setblocking(False)  # noqa: FBT003 - the name of the method says it
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.connect_ex(("127.0.0.1", port))
        with suppress(OSError):
            client.send(REQUEST)
        kept.append(client)
        if len(kept) > OPEN:
            kept.popleft().close()


if __name__ == "__main__":
    _client(int(sys.argv[1]), float(sys.argv[2]))
