"""`python -m benchmarks`: measure everything, print a table, write JSON. The exit code is 1 if a budget is exceeded."""

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.calls import allocate, allocate_while_resets_hang, long_list
from benchmarks.flood import flood
from benchmarks.footprint import footprint
from benchmarks.gpu import gpu_and_ib, gpu_events, gpu_faults, gpu_footprint, gpu_preference, gpu_starts
from benchmarks.ib import ib_changes, ib_starts
from benchmarks.operate import commands, scrapes
from benchmarks.resets import resets
from benchmarks.restarts import kubelet_restarts
from benchmarks.rows import Row
from benchmarks.starts import cold_starts, kill_anything, plugin_kills
from benchmarks.upgrades import upgrades


@click.command()
@click.option("--only", help="Run the benchmarks whose name contains this.")
@click.option("--scale", default=1.0, show_default=True, help="Multiply the usual number of samples by this.")
@click.option("--seed", type=int, default=lambda: secrets.randbelow(2**32), help="Seed for the random moments.")
@click.option("--json", "path", type=click.Path(path_type=Path), default=Path("build/benchmarks.json"))
def main(only: str | None, scale: float, seed: int, path: Path) -> None:
    """Measure the hub against its budgets."""

    def samples(usual: int) -> int:
        return max(2, round(usual * scale))

    benchmarks: dict[str, Callable[[], Awaitable[list[Row]]]] = {
        "restarts": lambda: kubelet_restarts(samples(1000), seed),
        "cold-starts": lambda: cold_starts(samples(20)),
        "plugin-kills": lambda: plugin_kills(samples(30)),
        "kill-anything": lambda: kill_anything(samples(200), seed),
        "upgrades": lambda: upgrades(samples(100), seed),
        "allocate": lambda: allocate(samples(5000)),
        "resets": lambda: resets(samples(200)),
        "allocate-while-resets-hang": lambda: allocate_while_resets_hang(samples(5000)),
        "long-list": lambda: long_list(samples(30)),
        "footprint": lambda: footprint(20 * scale),
        "flood": lambda: flood(60 * scale),
        "scrapes": lambda: scrapes(samples(30)),
        "commands": lambda: commands(samples(20)),
        "gpu-starts": lambda: gpu_starts(samples(20)),
        "gpu-events": lambda: gpu_events(samples(200)),
        "gpu-footprint": lambda: gpu_footprint(20 * scale),
        "gpu-preference": lambda: gpu_preference(samples(1600), seed),
        "gpu-and-ib": lambda: gpu_and_ib(samples(200), seed),
        "ib-starts": lambda: ib_starts(samples(10)),
        "ib-changes": lambda: ib_changes(samples(20)),
        "gpu-faults": lambda: gpu_faults(samples(1000), seed),
    }
    console = Console(stderr=True)
    rows: list[Row] = []
    for name, benchmark in benchmarks.items():
        if not only or only in name:
            console.print(f"{name} (seed {seed}) ...")
            rows += asyncio.run(_run(benchmark))
    _print(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"seed": seed, "rows": rows}), indent=1))
    sys.exit(not all(row.within for row in rows))


async def _run(benchmark: Callable[[], Awaitable[list[Row]]]) -> list[Row]:
    return await benchmark()


def _print(rows: list[Row]) -> None:
    table = Table("what", "figure", "value", "budget", "samples", "")
    for row in rows:
        budget = "" if row.budget is None else f"{row.budget:g} {row.unit}"
        verdict = "" if row.budget is None else "ok" if row.within else "OVER"
        table.add_row(row.what, row.figure, f"{row.value:.3g} {row.unit}", budget, str(row.samples), verdict)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
