"""Cause faults, and report what they have broken."""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from hub.base.log import LogFormat, LogLevel, configure
from hub.plugin.dra import released
from hub.testing.waiting import wait_until
from tests.harness.claimfaults.killing import killable
from tests.harness.claimfaults.processes import process_faults
from tests.harness.claimfaults.world import World
from tests.harness.files import remove_tree

PODS = 4
SETTLE_SECONDS = 30.0


class Result(NamedTuple):
    """The result of a run."""

    faults: int
    pods: int
    runs: int
    """How many pods have got their devices."""
    broken: Sequence[str]
    """What should not have happened."""


async def cause(count: int, seed: int, *, upgrades: bool = False) -> Result:
    """Cause this many faults, let everything settle, and return what has happened."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    directory = Path(tempfile.mkdtemp(prefix="dpclaims", dir="/tmp"))
    try:
        with patch.multiple(released, KILL_TIMEOUT=0.005, _OTHER_SECONDS=0.005), killable(rng):
            return await _run(World(directory, rng, upgrades=upgrades), count)
    finally:
        remove_tree(directory)


async def _run(world: World, count: int) -> Result:
    keepers = [asyncio.ensure_future(work) for work in (world.keep_driver(), world.keep_component())]
    pods = [asyncio.ensure_future(world.run_pods(number)) for number in range(PODS)]
    faults = asyncio.ensure_future(world.cause_faults(count))
    await asyncio.wait([*keepers, faults, *pods], return_when=asyncio.FIRST_COMPLETED)
    world.is_over = True
    world.hardware.fails = 0
    done, pending = await asyncio.wait(pods, timeout=SETTLE_SECONDS)
    broken = [f"a pod is stuck: {task}" for task in pending]
    broken += [repr(error) for task in done if (error := task.exception())]
    with suppress(AssertionError):
        # The result contains what is left after that.
        await wait_until(lambda: not world.left(), "nothing left", SETTLE_SECONDS)
    left = world.left()
    for task in (*keepers, faults, *pods):
        task.cancel()
    outcomes = await asyncio.gather(*keepers, faults, return_exceptions=True)
    broken += [repr(each) for each in outcomes if isinstance(each, Exception)]
    if world.driver:
        await world.driver.process.kill()
    return Result(world.faults, world.pods, world.runs, [*world.hardware.faults, *broken, *left])


async def cause_in_processes(count: int, seed: int) -> Result:
    """Cause this many faults in real processes, let everything settle, and return what has happened."""
    logs = StringIO()
    with redirect_stdout(logs):
        async with process_faults(random.Random(seed)) as faults:  # noqa: S311 - not a secret
            pods = [asyncio.ensure_future(faults.run_pods(number)) for number in range(PODS)]
            await faults.cause(count)
            faults.is_over = True
            done, pending = await asyncio.wait(pods, timeout=SETTLE_SECONDS)
            broken = [f"a pod is stuck: {task}" for task in pending]
            broken += [repr(error) for task in done if (error := task.exception())]
            for task in pending:
                task.cancel()
            broken += [*faults.hardware.faults, *await faults.settle()]
    if broken:
        sys.stdout.write(logs.getvalue())
    return Result(faults.faults, faults.pods, faults.runs, broken)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.claimfaults", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="the number of faults")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="seed of the faults")  # noqa: S311 - as above
    parser.add_argument("--processes", action="store_true", help="with real processes and a kubelet")
    parser.add_argument("--upgrades", action="store_true", help="also replace drivers while they are still running")
    options = parser.parse_args()
    configure(LogLevel.ERROR, LogFormat.AUTO)
    sys.stdout.write(f"seed {options.seed}\n")
    if options.processes:
        result = asyncio.run(cause_in_processes(options.count, options.seed))
    else:
        result = asyncio.run(cause(options.count, options.seed, upgrades=options.upgrades))
    sys.stdout.write(f"{result.faults} faults, {result.pods} pods, {result.runs} of them with devices\n")
    for line in result.broken:
        sys.stdout.write(f"{line}\n")
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
