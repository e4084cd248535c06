"""`python -m benchmarks`: measure everything, print a table, write JSON.

The exit code is 1 if a figure exceeds its budget, or if its ratio to the floor exceeds the maximum.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console

from benchmarks.admission import admit, allocate
from benchmarks.calls import allocate_while_resets_hang, long_list
from benchmarks.day import day
from benchmarks.fleet import fleet
from benchmarks.flood import flood
from benchmarks.footprint import footprint, gpu_footprint
from benchmarks.gpu import gpu_and_ib, gpu_events, gpu_faults, gpu_preference, gpu_starts
from benchmarks.ib import ib_changes, ib_starts
from benchmarks.load import load
from benchmarks.operate import commands, scrapes
from benchmarks.resets import resets
from benchmarks.restarts import kubelet_restarts
from benchmarks.results import Result, Results, print_results, read_results, write_results
from benchmarks.rows import Row
from benchmarks.starts import cold_starts, kill_anything, plugin_kills
from benchmarks.upgrades import upgrades


@click.command()
@click.option("--only", help="Run only the benchmarks whose names contain this string.")
@click.option("--scale", default=1.0, show_default=True, help="Multiply the usual number of samples by this.")
@click.option("--seed", type=int, default=lambda: secrets.randbelow(2**32), help="Seed for the random timing.")
@click.option(
    "--json",
    "path",
    type=click.Path(path_type=Path),
    default=Path("build/benchmarks.json"),
    show_default=True,
    help="Where to keep the results. The results of the last run in this file are printed next to the new ones.",
)
def main(only: str | None, scale: float, seed: int, path: Path) -> None:
    """Measure the hub and compare it with its budgets."""
    # Without compiled modules, each process would need time and memory to compile them again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def samples(usual: int) -> int:
        return max(2, round(usual * scale))

    benchmarks: dict[str, Callable[[], Awaitable[list[Row]]]] = {
        "restarts": lambda: kubelet_restarts(samples(1000), seed, with_floor=True),
        "cold-starts": lambda: cold_starts(samples(20)),
        "plugin-kills": lambda: plugin_kills(samples(30)),
        "kill-anything": lambda: kill_anything(samples(200), seed),
        "upgrades": lambda: upgrades(samples(100), seed),
        "allocate": lambda: allocate(samples(5000)),
        "admission": lambda: admit(samples(2000)),
        "resets": lambda: resets(samples(200)),
        "allocate-while-resets-hang": lambda: allocate_while_resets_hang(samples(5000)),
        "long-list": lambda: long_list(samples(30)),
        "footprint": lambda: footprint(30 * scale),
        "flood": lambda: flood(60 * scale),
        "load": lambda: load(60 * scale),
        "day": lambda: day(scale, seed),
        "scrapes": lambda: scrapes(samples(30)),
        "commands": lambda: commands(samples(20)),
        "fleet": lambda: fleet(samples(10)),
        "gpu-starts": lambda: gpu_starts(samples(20)),
        "gpu-events": lambda: gpu_events(samples(200)),
        "gpu-footprint": lambda: gpu_footprint(30 * scale),
        "gpu-preference": lambda: gpu_preference(samples(1600), seed),
        "gpu-and-ib": lambda: gpu_and_ib(samples(200), seed),
        "ib-starts": lambda: ib_starts(samples(10)),
        "ib-changes": lambda: ib_changes(samples(20)),
        "gpu-faults": lambda: gpu_faults(samples(1000), seed),
    }
    console = Console(stderr=True)
    before, now = _read(path, console), Results()
    for name, benchmark in benchmarks.items():
        if not only or only in name:
            console.print(f"{name} (seed {seed}) ...")
            now[name] = Result(seed, scale, asyncio.run(_run(benchmark)))
            # Written after each benchmark, so that earlier results are kept if a later benchmark fails.
            write_results(path, before | now)
    print_results(now, before)
    sys.exit(not all(row.within for result in now.values() for row in result.rows))


def _read(path: Path, console: Console) -> Results:
    try:
        return read_results(path)
    except msgspec.DecodeError as error:
        console.print(f"{path}: not results of this version, so there is no comparison: {error}")
        return {}


async def _run(benchmark: Callable[[], Awaitable[list[Row]]]) -> list[Row]:
    return await benchmark()


if __name__ == "__main__":
    main()
