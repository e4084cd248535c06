"""Compare the fake kubelet with real ones, using random scripts.

python -m tests.differential --kubelet 1.36 --count 2000 --seed 1

If a plugin is killed during a call, more than one outcome is correct, depending on what the kubelet sees first. So
a script that differs is repeated, and it counts as different if no repetition is equal.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.differential.comparison import Difference, compare
from tests.harness.kubeletbuild import VERSIONS

_REPETITIONS = 4
"""How often a script that differs is repeated."""

Compare = Callable[[int, str], Awaitable[Difference | None]]
"""A function that runs the script of a seed on the fake kubelet and on a real one of a version."""


def run(program: str, description: str | None, versions: Sequence[str], compare: Compare) -> int:
    """Run scripts as the command line says; print each difference."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--kubelet", choices=versions, default=versions[-1])
    parser.add_argument("--count", type=int, default=2000, help="number of scripts")
    parser.add_argument("--seed", type=int, help="seed of the first script; each one after it has the next")
    parser.add_argument("--differences", type=int, default=10, help="stop after this many differences")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)  # noqa: S311 - not a secret
    return asyncio.run(_run(compare, options.kubelet, seed, options.count, options.differences))


async def _run(compare: Compare, version: str, first: int, count: int, limit: int) -> int:
    began, found, varying, done = time.monotonic(), 0, 0, 0
    for seed in range(first, first + count):
        done += 1
        if difference := await compare(seed, version):
            equal = [await compare(seed, version) for _ in range(_REPETITIONS)].count(None)
            found, varying = found + (not equal), varying + bool(equal)
            sys.stdout.write(f"{difference}\nequal in {equal} of {_REPETITIONS} repetitions\n\n")
            sys.stdout.flush()
            if found == limit:
                break
    minutes = (time.monotonic() - began) / 60
    sys.stdout.write(
        f"kubelet {version}: {done} scripts from seed {first} in {minutes:.1f} min, {found} with differences, "
        f"{varying} that varied\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(run("python -m tests.differential", __doc__, VERSIONS, compare))
