"""SIGKILL and SIGSTOP for random processes in a hub's tree, and the time until everything is back.

A long run, with several nodes in parallel:

    python -m tests.harness.chaos --count 10000 --nodes 8

The harness does what restarts a hub on a cluster: it acts as the container runtime when the hub's process has exited,
and as the liveness probe when the hub does not answer. Everything else has to recover on its own.
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

from tests.harness.chaos_node import ChaosNode
from tests.harness.operated import WATCHDOG

CHECK_INTERVAL = 0.03
"""Seconds between checks of a node."""

LIMIT = 120.0
"""Seconds after which a resource that is not back counts as lost."""


class SentSignal(NamedTuple):
    """A signal that a process got, and the seconds until all resources were back with all devices."""

    node: int
    signal: str
    process: str
    seconds: float
    moment: float
    """Seconds since the start of the run."""


class Chaos:
    """One run.

    Args:
        seed: The seed, which decides which process gets which signal, and when.
        watchdog: The limit of the watchdog for plugins, in seconds.

    Attributes:
        sent: The signals after which everything came back.
        lost: The failures to recover, with the seed.
    """

    def __init__(self, seed: int, watchdog: float = WATCHDOG) -> None:
        self.seed = seed
        self._watchdog = watchdog
        self._starting = asyncio.Semaphore(2)
        self.sent: list[SentSignal] = []
        self.lost: list[str] = []
        self.hub_restarts = 0
        self._begin = time.monotonic()

    async def run(self, count: int, nodes: int) -> None:
        """Send this number of signals, on several nodes in parallel."""
        shares = [count // nodes + (number < count % nodes) for number in range(nodes)]
        async with asyncio.TaskGroup() as group:
            for number, share in enumerate(shares):
                group.create_task(self._run_node(number, share))

    async def _run_node(self, number: int, count: int) -> None:
        dice = random.Random(f"{self.seed} {number}")  # noqa: S311 - not a secret
        rest = iter(range(count))
        while length_hint(rest):
            try:
                await self._signal_often(number, dice, rest)
            except* Exception as group:  # noqa: BLE001 - a new node gets the other signals
                self.lost += [f"seed {self.seed}, node {number}: {error}" for error in group.exceptions]
                # The error is printed at once, since a long run may be stopped before its summary.
                sys.stdout.write(f"{self.lost[-1]}\n")
                sys.stdout.flush()

    async def _signal_often(self, number: int, dice: random.Random, rest: Iterator[int]) -> None:
        """Send a signal for each item of `rest` on a new node, as long as everything comes back."""
        directory = Path(tempfile.mkdtemp(prefix="ch", dir="/tmp"))
        try:
            async with ChaosNode(directory, self._watchdog) as node:
                await self._start(node, rest)
                async with asyncio.TaskGroup() as group:
                    work = [group.create_task(each) for each in (node.keep_hub_running(), node.keep_resetting())]
                    for _ in rest:
                        self.sent.append(await self._signal(number, node, dice))
                    for task in work:
                        task.cancel()
                self.hub_restarts += node.restarts
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    async def _start(self, node: ChaosNode, rest: Iterator[int]) -> None:
        """Start a hub; few nodes do so at a time, so that each gets enough CPU time to meet the watchdog's limit."""
        async with self._starting:
            await node.start_hub()
            try:
                await _until_allocatable(node)
            except TimeoutError:
                next(rest, None)
                raise

    async def _signal(self, number: int, node: ChaosNode, dice: random.Random) -> SentSignal:
        while True:
            await asyncio.sleep(dice.uniform(0, 0.5))
            each = dice.choice([signal.SIGKILL, signal.SIGSTOP])
            name, process = dice.choice(node.processes() or [("", None)])
            with contextlib.suppress(psutil.NoSuchProcess):
                if process:
                    process.send_signal(each)
                    break
        begin = time.monotonic()
        try:
            await _until_allocatable(node, process)
        except TimeoutError as error:
            raise AssertionError(f"{each.name} of {name}: {error}") from None
        now = time.monotonic()
        return SentSignal(number, each.name, name, now - begin, now - self._begin)

    def summary(self) -> str:
        """Return the counts and times by process and signal, and the longest times."""
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for each in self.sent:
            groups[f"{each.signal} {each.process}"].append(each.seconds)
        lines = [
            f"seed {self.seed}: {len(self.sent)} signals, {self.hub_restarts} restarts of hubs, {len(self.lost)} lost"
        ]
        for kind, times in sorted(groups.items()):
            late = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
            lines.append(
                f"{kind:20} {len(times):6}  median {median(times):.2f} s, p99 {late:.2f} s, worst {max(times):.2f} s"
            )
        worst = sorted(self.sent, key=lambda each: each.seconds)[-5:]
        lines += [f"worst: {each}" for each in reversed(worst)]
        return "\n".join([*lines, *self.lost])


async def _until_allocatable(node: ChaosNode, without: psutil.Process | None = None) -> None:
    """Wait until all devices of a node are allocatable; see `ChaosNode.all_allocatable`.

    Raises:
        TimeoutError: they are not after `LIMIT`; the message describes the node.
    """
    end = time.monotonic() + LIMIT
    while not node.all_allocatable(without):
        if time.monotonic() > end:
            problems = (status := node.status()) and status.problems
            text = f"problems: {problems}; kubelet: {node.kubelet.capacity()}; log:\n{node.log.read_text()[-4000:]}"
            raise TimeoutError(f"not recovered after {LIMIT:g} s; {text}")
        # The status is too expensive to be read without pauses.
        await asyncio.sleep(CHECK_INTERVAL)


async def _report(chaos: Chaos, count: int) -> None:
    while True:
        await asyncio.sleep(30)
        took = time.monotonic() - chaos._begin
        sys.stdout.write(f"{len(chaos.sent)} of {count} after {took:.0f} s, {len(chaos.lost)} lost\n")
        sys.stdout.flush()


async def _main(options: argparse.Namespace) -> None:
    chaos = Chaos(options.seed, options.watchdog)
    reporting = asyncio.create_task(_report(chaos, options.count))
    if running := asyncio.current_task():
        # With this handler, a run that is stopped early leaves no process behind, and prints its results so far.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        await chaos.run(options.count, options.nodes)
    except asyncio.CancelledError:
        sys.exit("ended early by SIGTERM")
    finally:
        reporting.cancel()
        sys.stdout.write(f"{chaos.summary()}\n")
    if chaos.lost:
        sys.exit(1)


def main(words: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.chaos", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="total number of signals, across all nodes")
    parser.add_argument("--nodes", type=int, default=2, help="nodes in parallel")
    parser.add_argument(
        "--watchdog",
        type=float,
        default=WATCHDOG,
        help="seconds after which a frozen plugin is killed",
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="default: a random seed")  # noqa: S311 - not a secret
    asyncio.run(_main(parser.parse_args(words)))


if __name__ == "__main__":
    main()
