"""Measure a node under load: very many devices that change all the time, many streams, and readers of its pages."""

import asyncio
import statistics
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from itertools import accumulate, cycle, islice
from pathlib import Path

import grpc.aio
import msgspec

from benchmarks.admission import Target
from benchmarks.calls import MANY
from benchmarks.kernel import proportional_size, tree
from benchmarks.nodes import LIMIT, NAMES, node_of_three
from benchmarks.rows import Row, times
from hub.cli.probe import ask
from hub.kubelet.channel import CHANNEL_OPTIONS
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.node import Node

RATE = 1000
"""Changes a second, across all plugins."""

STREAMS = 64
"""Streams across all plugins, in addition to those of the kubelet."""

STEP = 0.1
"""Seconds between changes, each of many devices."""

MAX_GROWTH = 8.0
"""MB by which the memory of all processes may differ between the second and the last quarter of the time."""


async def load(seconds: float, *, devices: int = MANY, rate: int = RATE, streams: int = STREAMS) -> list[Row]:
    """Change devices for a while; each second, read `/metrics` and `/status`.

    Args:
        seconds: How long to change devices.
        devices: How many devices there are, across all plugins.
        rate: How many of them change in a second.
        streams: How many clients follow a plugin's list.
    """
    each = -(-devices // len(NAMES))
    async with node_of_three(each) as node, _followed(node, streams) as lists:
        changes = Changes(Path(node.log.parent), each, max(1, round(rate * STEP / len(NAMES))))
        pages = Pages(node)
        took = await _while_reading(pages, changes, seconds)
        for stream in lists:
            await stream.until(changes.unhealthy(stream.name))
        latencies = [stream.latencies(changes) for stream in lists]
        missed = sum(stream.missed(changes) for stream in lists)
    what = f"{devices} devices, {streams} streams, {rate} changes a second"
    late = [max(stream[number] for stream in latencies) for number in range(len(changes.times))]
    return [
        Row(what, "changes", changes.total * len(NAMES) / took, "a second", None, len(changes.times)),
        Row(what, "changes that a stream missed", missed, "", 0, changes.total * streams),
        Row(f"{what}: memory of all processes", "growth", pages.growth, "MB", MAX_GROWTH, len(pages.sizes)),
        *times(f"{what}: change to last stream", late, {"median": None, "worst": None}),
        *times(f"{what}: /metrics", pages.metrics, {"median": None, "worst": None}),
        *times(f"{what}: /status", pages.status, {"median": None, "worst": None}),
    ]


class Changes:
    """Changes the health of devices in turn, so that each keeps its new health until all others have changed too.

    Args:
        root: The directory with the fault files of the plugins.
        devices: The devices of each plugin.
        step: How many of them change at a time.

    Attributes:
        times: When each step was made.
    """

    def __init__(self, root: Path, devices: int, step: int) -> None:
        self._root = root
        self._devices = devices
        self.step = min(step, devices)
        self.times: list[float] = []

    @property
    def total(self) -> int:
        """How many changes were made in each plugin."""
        return self.step * len(self.times)

    async def make(self, seconds: float) -> None:
        """Change devices every `STEP`, for this many seconds and at least once."""
        begin = time.monotonic()
        while not self.times or time.monotonic() < begin + seconds:
            self.times.append(time.monotonic())
            for name in NAMES:
                self._write(name)
            await asyncio.sleep(max(0.0, begin + STEP * len(self.times) - time.monotonic()))

    def unhealthy(self, name: str) -> frozenset[str]:
        """Return the devices of a plugin that are unhealthy after the last step."""
        laps, rest = divmod(self.total, self._devices)
        numbers = range(rest) if laps % 2 == 0 else range(rest, self._devices)
        return frozenset(f"{name}-{n}" for n in numbers)

    def _write(self, name: str) -> None:
        scratch = self._root / f"{name}.faults.new"
        scratch.write_bytes(msgspec.json.encode({"unhealthy": dict.fromkeys(self.unhealthy(name), "benchmark")}))
        scratch.replace(self._root / f"{name}.faults.json")


class Pages:
    """Reads the hub's pages, and the memory of all processes.

    Attributes:
        metrics: The seconds that each scrape took.
        status: The seconds that each query of the status took.
        sizes: The proportional set size of all processes, in MB.
    """

    def __init__(self, node: Node) -> None:
        self._socket = str(node.run_dir.http_socket)
        self._pids = tree(node)
        self.metrics: list[float] = []
        self.status: list[float] = []
        self.sizes: list[float] = []

    async def read(self) -> None:
        """Read everything once."""
        for path, took in (("/metrics", self.metrics), ("/status", self.status)):
            begin = time.monotonic()
            # If there is no response, the time until the timeout counts.
            with suppress(TimeoutError):
                await asyncio.to_thread(ask, self._socket, path)
            took.append(time.monotonic() - begin)
        self.sizes.append(sum(proportional_size(pid) for pid in self._pids) / 1e6)

    @property
    def growth(self) -> float:
        """How much larger the memory is in the last quarter of the time than in the second one."""
        quarter = max(1, len(self.sizes) // 4)
        return statistics.median(self.sizes[-quarter:]) - statistics.median(
            self.sizes[quarter:][:quarter] or self.sizes
        )


class FollowedList:
    """The list of a plugin, as one client sees it.

    Args:
        name: The name of the plugin.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._unhealthy: frozenset[str] = frozenset()
        self._seen: list[tuple[float, int]] = []
        self._arrived = asyncio.Event()

    async def follow(self, socket: Path) -> None:
        """Follow the list until cancelled."""
        async with grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS) as channel:
            # The messages are decoded below, with a cache: most streams get the same message.
            call = channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch", wire.Empty.SerializeToString, bytes)
            async for message in call(wire.Empty()):
                self._receive(message)

    def _receive(self, message: bytes) -> None:
        unhealthy = _unhealthy(message)
        self._seen.append((time.monotonic(), len(unhealthy ^ self._unhealthy)))
        self._unhealthy = unhealthy
        self._arrived.set()

    async def until(self, unhealthy: frozenset[str]) -> None:
        """Wait for a list in which these devices are unhealthy, and no others.

        Raises:
            TimeoutError: no such list arrived.
        """
        async with asyncio.timeout(LIMIT):
            while not self._seen or self._unhealthy != unhealthy:
                self._arrived.clear()
                await self._arrived.wait()

    def latencies(self, changes: Changes) -> list[float]:
        """Return how many seconds after each step the list contained its changes."""
        totals = list(accumulate(count for _, count in self._seen))
        wanted = (min(changes.step * (n + 1), totals[-1]) for n in range(len(changes.times)))
        arrivals = [self._seen[bisect_left(totals, total)][0] for total in wanted]
        return [arrival - made for arrival, made in zip(arrivals, changes.times, strict=True)]

    def missed(self, changes: Changes) -> int:
        """Return by how many the changes seen in the lists differ from the changes made."""
        return abs(changes.total - sum(count for _, count in self._seen))


async def _while_reading(pages: Pages, changes: Changes, seconds: float) -> float:
    """Make the changes while the pages are read once a second; return how many seconds that took."""
    begin = time.monotonic()
    changing = asyncio.create_task(changes.make(seconds))
    while not pages.sizes or not changing.done():
        await pages.read()
        await asyncio.wait([changing], timeout=max(0.0, begin + len(pages.sizes) - time.monotonic()))
    await changing
    return time.monotonic() - begin


# Cached, because all streams of a plugin get the same message.
@lru_cache(maxsize=2 * len(NAMES))
def _unhealthy(message: bytes) -> frozenset[str]:
    devices = wire.ListAndWatchResponse.FromString(message).devices
    return frozenset(device.ID for device in devices if device.health != "Healthy")


@asynccontextmanager
async def _followed(node: Node, streams: int) -> AsyncIterator[list[FollowedList]]:
    """Follow the lists of the plugins in turn, until the block ends; each stream has already received a list."""
    sockets = {name: Target.of(node.kubelet, node.plugin_dir, f"example.com/{name}").socket for name in NAMES}
    lists = [FollowedList(name) for name in islice(cycle(NAMES), streams)]
    tasks = [asyncio.create_task(each.follow(sockets[each.name])) for each in lists]
    try:
        for each in lists:
            await each.until(frozenset())
        yield lists
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
