"""SIGKILL and SIGSTOP for random processes of a hub's tree, and the time until everything is back.

A long run, with several nodes side by side:

    python -m tests.harness.chaos --count 10000 --nodes 8

The harness plays what restarts a hub on a cluster: the container runtime, when its process has ended, and the liveness
probe, when it does not answer. Everything else has to come back by itself.
"""

import argparse
import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import length_hint
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import psutil

from hub.model.node import Condition
from hub.testing.kubelet import AdmissionError, ContainerStartError
from tests.harness.operated import CONFIG, GPU, HCA, STUB, WATCHDOG, OperatedNode

PATIENT_HUB = """
from hub.supervisor import backoff
backoff.LONGEST_SECONDS = 0.1
from hub.cli.commands.run import run; run()
"""
"""The hub, which restarts a plugin soon however often it was killed."""

RESETTING = """
from hub import ProbePolicy, RecoveryPolicy
from plugins.stub import Stub

class Resetting(Stub):
    probing = ProbePolicy(interval=0.2, max_interval=1, startup_delay=0)
    recovery = RecoveryPolicy(max_recoveries=1_000_000)
"""
"""The stub. A device whose resets were killed three times in a row is soon reset again, however often that happens."""

FILES = {
    "gpu.yaml": "dphub: {health: {interval: 5, stable_for: 0, driver_timeout: 20}}",
    "stub.yaml": "{reset: true, reset_timeout: 8, resources: [{numa: [0, 1]}]}",
    "resetting.py": RESETTING,
}

PROBE_PERIOD, PROBE_TIMEOUT, PROBE_FAILURES = 0.5, 2.0, 3
"""Of the liveness probe; it begins when the hub says where it listens."""

CHECK_INTERVAL = 0.03
"""Seconds between two looks at a node."""

LIMIT = 120.0
"""Seconds after which what has not come back is lost."""


class Blow(NamedTuple):
    """A signal that a process got, and the seconds until all resources were back with all devices."""

    node: int
    signal: str
    process: str
    seconds: float
    moment: float
    """Seconds since the start of the run."""


class ChaosNode(OperatedNode):
    """A node on which processes are killed and stopped.

    Args:
        directory: Holds everything.
        watchdog: Its limit in seconds, in which a plugin must be able to start on a busy machine.
    """

    def __init__(self, directory: Path, watchdog: float) -> None:
        config = CONFIG.replace("plugins.stub:Stub", "{directory}/resetting.py:Resetting")
        super().__init__(directory, config, gpus="pair", files=FILES, watchdog=watchdog)
        self.hub_command = (sys.executable, "-c", PATIENT_HUB)
        self.wanted = {GPU: len(self.gpus.gpus), HCA: len(self.hcas.names), STUB: 4}
        self.restarts = 0

    def is_whole(self, without: psutil.Process | None = None) -> bool:
        """Return whether every plugin is registered and every device can be allocated.

        Args:
            without: A process that must have ended, and been replaced where it was the hub or a plugin.
        """
        found = {resource: each.allocatable for resource, each in self.kubelet.capacity().items()}
        if found != self.wanted or (without and not _is_over(without)) or (status := self.status()) is None:
            return False
        pids = {status.hub.report.pid, *(plugin.process.pid for plugin in status.plugins)}
        registered = all(plugin.condition is Condition.REGISTERED for plugin in status.plugins)
        counts = {each.name: each.allocatable for plugin in status.plugins for each in plugin.report.resources}
        is_replaced = without is None or without.pid not in pids
        return registered and is_replaced and counts == self.wanted

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Return the processes of the tree, each with its name; none while the hub has just started."""
        status = self.status()
        if status is None:
            return []
        plugins = {plugin.process.pid: plugin.name for plugin in status.plugins}
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            hub = psutil.Process(status.hub.report.pid)
            found.append(("hub", hub))
            for process in hub.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append((plugins.get(process.pid) or _part_of_reset(process), process))
        return found

    async def keep_hub_running(self) -> None:
        """Start a hub when the last one has ended, and kill one that does not answer the liveness probe."""
        while True:
            assert self.hub
            failures = 0
            while self.hub.returncode is None and failures < PROBE_FAILURES:
                failures = 0 if await self._is_live() else failures + 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.hub.wait(), PROBE_PERIOD)
            if self.hub.returncode is None:
                self.hub.kill()
                await self.hub.wait()
            self.restarts += 1
            await self.start_hub()

    async def _is_live(self) -> bool:
        instance = self._reader.instance()
        if not instance or not instance.hub.http or not self.hub or instance.hub.pid != self.hub.pid:
            return True
        host, _, port = instance.hub.http.rpartition(":")
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except OSError:  # a timeout is one
            return False

    async def keep_resetting(self) -> None:
        """Admit pods with a device that is reset before the container starts; some fail while a plugin is away.

        The resets take long, so that there is one to hit, and its processes are not started all the time.
        """
        self.stub_faults(reset={"*": {"seconds": 5}})
        while True:
            with contextlib.suppress(AdmissionError, ContainerStartError):
                await self.kubelet.admit("pod", {STUB: 1})
            with contextlib.suppress(LookupError):
                await self.kubelet.remove("pod")
            await asyncio.sleep(0.05)


def _part_of_reset(process: psutil.Process) -> str:
    parent = process.parent()
    return "worker" if parent and "hub.reset" in parent.cmdline() else "guard"


class Chaos:
    """One run.

    Args:
        seed: Decides which process gets which signal, and when.
        watchdog: The limit of the watchdog for plugins, in seconds.

    Attributes:
        blows: The signals after which everything came back.
        lost: What did not come back, with the seed.
    """

    def __init__(self, seed: int, watchdog: float = WATCHDOG) -> None:
        self.seed = seed
        self._watchdog = watchdog
        self._starting = asyncio.Semaphore(2)
        self.blows: list[Blow] = []
        self.lost: list[str] = []
        self.hub_restarts = 0
        self._begin = time.monotonic()

    async def run(self, count: int, nodes: int) -> None:
        """Send so many signals on so many nodes side by side."""
        shares = [count // nodes + (number < count % nodes) for number in range(nodes)]
        async with asyncio.TaskGroup() as group:
            for number, share in enumerate(shares):
                group.create_task(self._run_node(number, share))

    async def _run_node(self, number: int, count: int) -> None:
        dice = random.Random(f"{self.seed} {number}")  # noqa: S311 - no secret
        rest = iter(range(count))
        while length_hint(rest):
            try:
                await self._strike_often(number, dice, rest)
            except* Exception as group:  # noqa: BLE001 - the rest goes to a new node
                self.lost += [f"seed {self.seed}, node {number}: {error}" for error in group.exceptions]

    async def _strike_often(self, number: int, dice: random.Random, rest: Iterator[int]) -> None:
        """Send a signal for each item of `rest` on a new node, as long as everything comes back."""
        directory = Path(tempfile.mkdtemp(prefix="ch", dir="/tmp"))
        try:
            async with ChaosNode(directory, self._watchdog) as node:
                await self._start(node, rest)
                async with asyncio.TaskGroup() as group:
                    work = [group.create_task(each) for each in (node.keep_hub_running(), node.keep_resetting())]
                    for _ in rest:
                        self.blows.append(await self._strike(number, node, dice))
                    for task in work:
                        task.cancel()
                self.hub_restarts += node.restarts
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    async def _start(self, node: ChaosNode, rest: Iterator[int]) -> None:
        """Start a hub; few at a time, so that each gets the processor time to start within the watchdog's limit."""
        async with self._starting:
            await node.start_hub()
            try:
                await _until_whole(node)
            except TimeoutError:
                next(rest, None)
                raise

    async def _strike(self, number: int, node: ChaosNode, dice: random.Random) -> Blow:
        while True:
            await asyncio.sleep(dice.uniform(0, 0.5))
            blow = dice.choice([signal.SIGKILL, signal.SIGSTOP])
            name, process = dice.choice(node.processes() or [("", None)])
            with contextlib.suppress(psutil.NoSuchProcess):
                if process:
                    process.send_signal(blow)
                    break
        begin = time.monotonic()
        try:
            await _until_whole(node, process)
        except TimeoutError as error:
            raise AssertionError(f"{blow.name} of {name}: {error}") from None
        now = time.monotonic()
        return Blow(number, blow.name, name, now - begin, now - self._begin)

    def summary(self) -> str:
        """Return the counts and times by process and signal, and the worst of all."""
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for blow in self.blows:
            groups[f"{blow.signal} {blow.process}"].append(blow.seconds)
        lines = [
            f"seed {self.seed}: {len(self.blows)} signals, {self.hub_restarts} restarts of hubs, {len(self.lost)} lost"
        ]
        for kind, times in sorted(groups.items()):
            late = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
            lines.append(
                f"{kind:20} {len(times):6}  median {median(times):.2f} s, p99 {late:.2f} s, worst {max(times):.2f} s"
            )
        worst = sorted(self.blows, key=lambda blow: blow.seconds)[-5:]
        lines += [f"worst: {blow}" for blow in reversed(worst)]
        return "\n".join([*lines, *self.lost])


async def _until_whole(node: ChaosNode, without: psutil.Process | None = None) -> None:
    """Wait until a node is whole; see `ChaosNode.is_whole`.

    Raises:
        TimeoutError: it is not, after `LIMIT`; the text describes it.
    """
    end = time.monotonic() + LIMIT
    while not node.is_whole(without):
        if time.monotonic() > end:
            problems = (status := node.status()) and status.problems
            text = f"problems: {problems}; kubelet: {node.kubelet.capacity()}; log:\n{node.log.read_text()[-4000:]}"
            raise TimeoutError(f"not whole after {LIMIT:g} s; {text}")
        # The status is too expensive to be read all the time.
        await asyncio.sleep(CHECK_INTERVAL)


def _is_over(process: psutil.Process) -> bool:
    """Return whether a process has ended; one that was stopped may not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def _report(chaos: Chaos, count: int) -> None:
    while True:
        await asyncio.sleep(30)
        took = time.monotonic() - chaos._begin
        sys.stdout.write(f"{len(chaos.blows)} of {count} after {took:.0f} s, {len(chaos.lost)} lost\n")
        sys.stdout.flush()


async def _main(options: argparse.Namespace) -> None:
    chaos = Chaos(options.seed, options.watchdog)
    reporting = asyncio.create_task(_report(chaos, options.count))
    try:
        await chaos.run(options.count, options.nodes)
    finally:
        reporting.cancel()
        sys.stdout.write(f"{chaos.summary()}\n")
    if chaos.lost:
        sys.exit(1)


def main(words: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.chaos", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="signals, on all nodes together")
    parser.add_argument("--nodes", type=int, default=2, help="nodes side by side")
    parser.add_argument(
        "--watchdog", type=float, default=WATCHDOG, help="seconds, with which a stopped plugin is found"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="by default a random one")  # noqa: S311 - no secret
    asyncio.run(_main(parser.parse_args(words)))


if __name__ == "__main__":
    main()
