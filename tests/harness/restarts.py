"""Kubelets that restart and crash at random moments, and how the plugins of a node react.

A long run, with the device manager of a real kubelet, which `make test-kubelet` builds:

    python -m tests.harness.restarts --kubelet 1.36 --count 10000
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence

from benchmarks.restarts import kubelet_restarts
from tests.harness.kubelet_option import FAKE, KUBELETS, choose


def main(words: Sequence[str] | None = None) -> None:
    """Run from the command line, and exit with 1 if a resource was lost or registered twice with one kubelet."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.restarts", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="restarts and crashes of the kubelet")
    parser.add_argument("--kubelet", choices=KUBELETS, default=FAKE, help="the kubelet that restarts")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="default: a random seed")  # noqa: S311 - not a secret
    options = parser.parse_args(words)
    choose(options.kubelet)
    rows = asyncio.run(kubelet_restarts(options.count, options.seed))
    sys.stdout.write(f"kubelet: {options.kubelet}, {options.count} restarts and crashes, seed {options.seed}\n")
    sys.stdout.writelines(f"{row.figure}: {row.value:g} {row.unit}\n" for row in rows)
    if any(row.value for row in rows if row.unit == "resources"):
        sys.exit(1)


if __name__ == "__main__":
    main()
