"""Hubs that come and go at random on one node while pods are admitted, and the admissions that fail.

A long run, with several nodes in parallel:

    python -m tests.harness.upgrades --count 300 --nodes 2 --kubelet 1.36

Up to three hubs run at once, the time between changes is up to nine seconds, any of the hubs may exit, including the
middle one or the newest, and some hubs never become ready. One hub that can serve always stays.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.harness.kubelet_option import FAKE, KUBELETS, choose
from tests.harness.upgrade_node import CONFIGS, DEVICES, Admissions, Hub, UpgradeNode, Way, upgrade_node

MAX_HUBS = 3

FREEZE = 3.0
"""The maximum number of seconds for which a hub is frozen."""


@dataclass
class Run:
    """Random changes on one node.

    Attributes:
        ends: How many hubs have stopped.
        events: The changes, with the seconds since the start.
    """

    seed: str
    ways: Sequence[Way] = (Way.TERM,)
    interval: float = 9.0
    ends: int = 0
    events: list[tuple[float, str]] = field(default_factory=list)
    begin: float = 0
    admissions: Admissions | None = None

    async def run(self, count: int, *, distinguishes_sockets: bool) -> None:
        """Stop this many hubs, and check that the exit of the last one is noticed."""
        dice = random.Random(self.seed)  # noqa: S311 - not a secret
        async with upgrade_node(distinguishes_sockets=distinguishes_sockets) as node:
            self.begin = time.monotonic()
            self.admissions = Admissions(node.kubelet)
            with self.admissions.running():
                while self.ends < count:
                    await self._change(node, dice)
                    await asyncio.sleep(dice.uniform(0, self.interval))
                survivor = node.serving[-1]
                for hub in list(node.hubs):
                    if hub is not survivor:
                        self._end(node, hub, Way.TERM)
                await node.ended()
                others = (when for name, when in node.served_at.items() if name != survivor.name)
                await node.owned_by(survivor, since=max(others, default=0))
            await node.allocatable(DEVICES)
            self._end(node, survivor, Way.TERM)
            await node.allocatable(0)
            await node.ended()

    async def _change(self, node: UpgradeNode, dice: random.Random) -> None:
        serving = node.serving
        may_end = [hub for hub in node.hubs if any(other is not hub for other in serving)]
        if len(node.hubs) < MAX_HUBS and (not may_end or dice.random() < 0.5):
            config = dice.choice(list(CONFIGS)) if dice.random() < 0.25 else "serving"
            hub = await node.start(config)
            self._note(f"{hub.name} started ({config})")
        else:
            self._end(node, dice.choice(may_end), dice.choice(self.ways), dice.uniform(0, FREEZE))

    def _end(self, node: UpgradeNode, hub: Hub, way: Way, freeze: float = 0) -> None:
        place = f"{node.hubs.index(hub) + 1} of {len(node.hubs)}"
        self._note(f"{hub.name} ended by {way}, {place}")
        node.end(hub, way, freeze)
        self.ends += 1

    def _note(self, what: str) -> None:
        self.events.append((time.monotonic() - self.begin, what))

    def report(self) -> list[str]:
        """Return a line for each gap, with the changes before it."""
        lines = []
        for failure in self.admissions.failures if self.admissions else ():
            at = failure.begin - self.begin
            before = "; ".join(f"{when - at:+.2f} s: {what}" for when, what in self.events if at - 25 < when <= at)
            lines.append(
                f"seed {self.seed}, after {at:.2f} s: {failure.count} admissions failed in {failure.seconds:.3f} s"
                f" ({failure.reason}); before: {before}"
            )
        return lines


async def _repeat(runs: Sequence[Run], number: int, *, distinguishes_sockets: bool) -> list[str]:
    """Do all runs in parallel; return a line for each run that failed."""
    shares = [number // len(runs) + (place < number % len(runs)) for place in range(len(runs))]
    results = await asyncio.gather(
        *(run.run(share, distinguishes_sockets=distinguishes_sockets) for run, share in zip(runs, shares, strict=True)),
        return_exceptions=True,
    )
    lost = []
    for run, result in zip(runs, results, strict=True):
        if isinstance(result, BaseException):
            events = "; ".join(f"{when:.2f} s: {what}" for when, what in run.events[-8:])
            lost.append(f"seed {run.seed}: {result!r}; before: {events}")
    return lost


def summary(runs: Sequence[Run], lost: Sequence[str]) -> str:
    """Return the counts, and a line for each gap."""
    admissions = [run.admissions for run in runs if run.admissions]
    gaps = sorted(failure.seconds for each in admissions for failure in each.failures)
    failed = sum(failure.count for each in admissions for failure in each.failures)
    total, longest = sum(each.total for each in admissions), max((each.longest for each in admissions), default=0)
    hubs = f"{sum(run.ends for run in runs)} hubs exited, {len(lost)} runs lost"
    lines = [f"{hubs}, {failed} of {total} admissions failed, the longest took {longest:.3f} s"]
    if gaps:
        lines.append(f"{len(gaps)} gaps: median {median(gaps):.3f} s, worst {gaps[-1]:.3f} s")
    return "\n".join([*lines, *(line for run in runs for line in run.report()), *lost])


def main(words: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.upgrades", description=__doc__)
    parser.add_argument("--count", type=int, default=30, help="total number of hubs that exit, across all nodes")
    parser.add_argument("--nodes", type=int, default=1, help="nodes in parallel")
    parser.add_argument("--interval", type=float, default=9.0, help="maximum seconds between changes")
    parser.add_argument("--ways", nargs="+", choices=[way.name for way in Way], default=["TERM"], help="how hubs exit")
    parser.add_argument("--kubelet", choices=KUBELETS, default=FAKE, help="the kubelet of the nodes")
    parser.add_argument(
        "--since-1.37", dest="since", action="store_true", help="use a fake kubelet that distinguishes sockets"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="default: a random seed")  # noqa: S311 - not a secret
    options = parser.parse_args(words)
    choose(options.kubelet)
    ways = [Way[name] for name in options.ways]
    runs = [Run(f"{options.seed} {number}", ways, options.interval) for number in range(options.nodes)]
    lost = asyncio.run(_repeat(runs, options.count, distinguishes_sockets=options.since))
    text = summary(runs, lost)
    sys.stdout.write(f"{text}\n")
    if lost or (ways == [Way.TERM] and any(run.report() for run in runs)):
        sys.exit(1)


if __name__ == "__main__":
    main()
