"""A node on which hubs come and go while pods are admitted."""

import asyncio
import json
import shutil
import signal
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path

import psutil

from hub.base.instances import now, running_hubs
from hub.base.ownerfile import OwnerFile
from hub.base.sockets import is_served
from hub.testing.kubelet import AdmissionError, ContainerStartError, FakeKubelet
from hub.testing.node import Node
from hub.testing.waiting import wait_until

RESOURCE = "example.com/red"
DEVICES = 4
LIMIT = 60.0
"""Seconds after which an event that a test waits for counts as missing."""

EXIT_LIMIT = 30.0
"""Seconds within which a hub has to exit: as many as a pod gets for its termination by default."""

_LINES = 60
"""How many lines of the hubs' log a failed run prints."""

PAUSE = 0.01
"""Seconds between admissions."""

_STUB = "[watcher:red]\ncmd = python -m hub.plugin plugins.stub:Stub --config {directory}/red.json\n"
_HANGING = """
import time
from plugins.stub import Stub

class Hanging(Stub):
    def devices(self):
        time.sleep(1000)
        return super().devices()
"""
CONFIGS = {
    "serving": _STUB,
    "stopped": f"{_STUB}autostart = False\n",
    "crashing": "[watcher:red]\ncmd = python -m hub.plugin {directory}/missing.py:Missing\n",
    "hanging": "[watcher:red]\ncmd = python -m hub.plugin {directory}/hanging.py:Hanging\n",
}
"""The text of circus.ini, by the fate of the plugin in it."""


class Way(StrEnum):
    """How a hub is stopped."""

    TERM = "SIGTERM"
    KILL = "SIGKILL"
    FREEZE = "SIGSTOP, SIGCONT, SIGTERM"


@dataclass
class Hub:
    """A hub on the node."""

    name: str
    process: Process
    can_serve: bool


@dataclass
class Failure:
    """A run of consecutive failed admissions."""

    begin: float
    reason: str
    count: int = 1
    seconds: float = 0
    """Seconds from the first failure until an admission succeeded."""


@dataclass
class Admissions:
    """Pods that are admitted one after another."""

    kubelet: FakeKubelet
    total: int = 0
    longest: float = 0
    """Seconds that the slowest admission took."""
    failures: list[Failure] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Admit and remove pods until the block ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()

    async def _run(self) -> None:
        failure: Failure | None = None
        for number in count():
            begin = time.monotonic()
            reason = await self._admit(f"pod-{number}")
            end = time.monotonic()
            self.total += 1
            self.longest = max(self.longest, end - begin)
            if reason and failure:
                failure.count += 1
            elif reason:
                failure = Failure(begin, reason)
                self.failures.append(failure)
            elif failure:
                failure.seconds = end - failure.begin
                failure = None
            await asyncio.sleep(PAUSE)

    async def _admit(self, name: str) -> str:
        try:
            await self.kubelet.remove(await self.kubelet.admit(name, {RESOURCE: 1}))
        except AdmissionError as error:
            return str(error)
        except ContainerStartError as error:
            await self.kubelet.remove(error.pod)
            return str(error)
        return ""


class UpgradeNode(Node):
    """A node with many hubs, each with one plugin.

    Args:
        directory: The directory for all files.
        kubelet: The node's kubelet.
    """

    def __init__(self, directory: Path, kubelet: FakeKubelet) -> None:
        (directory / "hanging.py").write_text(_HANGING)
        settings = {"resources": [{"name": RESOURCE, "devices": DEVICES}], "faults": str(directory / "faults.json")}
        (directory / "red.json").write_text(json.dumps(settings))
        for name, text in CONFIGS.items():
            (directory / f"{name}.ini").write_text(text.format(directory=directory))
        super().__init__(directory, kubelet=kubelet)
        self.hubs: list[Hub] = []
        """The hubs that have not been asked to stop, the oldest first."""
        self.ending: list[asyncio.Task[None]] = []
        self.served_at: dict[str, int] = {}
        """When the socket of each hub was last seen, by the clock of `instances.now`."""
        self._numbers = count()

    @property
    def serving(self) -> list[Hub]:
        """The hubs that can serve and that the other hubs know."""
        known = {hub.name for hub in running_hubs(self.run_dir)}
        return [hub for hub in self.hubs if hub.can_serve and hub.name in known]

    async def start(self, config: str = "serving") -> Hub:
        """Start another hub, with the configuration of this name."""
        self._config = self.directory / f"{config}.ini"
        name = f"hub-{next(self._numbers)}"
        await self.start_hub(name)
        assert self.hub
        self.hubs.append(Hub(name, self.hub, config == "serving"))
        return self.hubs[-1]

    def end(self, hub: Hub, way: Way, freeze: float = 0) -> None:
        """Stop a hub, without waiting until it has exited."""
        self.hubs.remove(hub)
        self.ending.append(asyncio.create_task(self._end(hub, way, freeze)))

    async def _end(self, hub: Hub, way: Way, freeze: float) -> None:
        if way is Way.KILL:
            hub.process.kill()
        elif way is Way.FREEZE:
            tree = _tree(hub.process)
            _send(tree, signal.SIGSTOP)
            await asyncio.sleep(freeze)
            _send(tree, signal.SIGCONT)
        if way is not Way.KILL:
            hub.process.terminate()
        try:
            await asyncio.wait_for(hub.process.wait(), EXIT_LIMIT)
        except TimeoutError:
            left = [f"{each.pid} {each.status()} {' '.join(each.cmdline()[-5:])}" for each in _tree(hub.process)]
            raise AssertionError(
                f"{hub.name} has not exited after {EXIT_LIMIT:g} s: {left}; {self._last_lines()}"
            ) from None

    def _last_lines(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-_LINES:])

    async def owned_by(self, hub: Hub, since: int = 0) -> None:
        """Wait until a hub is the last to have registered the resource, after `since`, a time of `instances.now`."""
        file = OwnerFile(self.run_dir.owner(RESOURCE), "")

        def is_owner() -> bool:
            owner = file.read()
            return owner.hub == hub.name and owner.since > since

        await wait_until(is_owner, f"{hub.name} to have the resource")

    async def ended(self) -> None:
        """Wait until all hubs that were asked to stop have exited."""
        await asyncio.gather(*self.ending)

    async def watch_sockets(self) -> None:
        """Keep `served_at` up to date until cancelled."""
        while True:
            for path in self.plugin_dir.glob("hub-*-*.sock"):
                if is_served(path):
                    self.served_at["-".join(path.name.split("-")[:2])] = now()
            await asyncio.sleep(0.05)

    async def allocatable(self, number: int) -> None:
        """Wait until this number of devices is allocatable."""
        await self.kubelet.wait_until(
            lambda kubelet: RESOURCE in kubelet.capacity() and kubelet.capacity()[RESOURCE].allocatable == number,
            LIMIT,
            f"{number} devices",
        )


def _tree(process: Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        hub = psutil.Process(process.pid)
        return [hub, *hub.children(recursive=True)]
    return []


def _send(tree: Sequence[psutil.Process], signum: int) -> None:
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signum)


@asynccontextmanager
async def upgrade_node(*, distinguishes_sockets: bool = False) -> AsyncIterator[UpgradeNode]:
    """Run a node with one hub that serves."""
    directory = Path(tempfile.mkdtemp(prefix="up", dir="/tmp"))
    try:
        kubelet = FakeKubelet(directory / "device-plugins", distinguishes_sockets=distinguishes_sockets)
        async with UpgradeNode(directory, kubelet) as node:
            await node.start()
            await node.allocatable(DEVICES)
            watching = asyncio.create_task(node.watch_sockets())
            yield node
            watching.cancel()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
