"""Compare the fake kubelet with real ones, by random scripts.

python -m tests.differential --kubelet 1.36 --count 2000 --seed 1
"""

import argparse
import asyncio
import random
import sys
import time

from tests.differential.comparison import compare
from tests.harness.kubeletbuild import VERSIONS


def main() -> int:
    """Run scripts; print each difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--kubelet", choices=VERSIONS, default=VERSIONS[-1])
    parser.add_argument("--count", type=int, default=2000, help="number of scripts")
    parser.add_argument("--seed", type=int, help="seed of the first script; each one after it has the next")
    parser.add_argument("--differences", type=int, default=10, help="end after this many differences")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)  # noqa: S311 - no secret
    return asyncio.run(_run(options.kubelet, seed, options.count, options.differences))


async def _run(version: str, first: int, count: int, most: int) -> int:
    began, found, done = time.monotonic(), 0, 0
    for seed in range(first, first + count):
        done += 1
        if difference := await compare(seed, version):
            found += 1
            sys.stdout.write(f"{difference}\n\n")
            sys.stdout.flush()
            if found == most:
                break
    minutes = (time.monotonic() - began) / 60
    sys.stdout.write(
        f"kubelet {version}: {done} scripts from seed {first} in {minutes:.1f} min, {found} with differences\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
