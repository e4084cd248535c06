"""Fuzz for a given time, or consume one input again; `make fuzz` runs this."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import msgspec

from tests.fuzz.engine import Finding, Fuzzer, Outcome
from tests.fuzz.registry import TARGETS
from tests.fuzz.target import Target

DIRECTORY = Path("build/fuzz")
"""Where failing inputs are stored."""


def main() -> int:
    """Run what the command line specifies; the exit code is 1 if there was a finding."""
    asked = _arguments().parse_args()
    if asked.replay:
        return _replay(asked.replay)
    names = asked.target or list(TARGETS)
    weights = {name: TARGETS[name].inputs for name in names}
    seed = asked.seed if asked.seed is not None else time.time_ns() % 2**32
    print(f"seed {seed}", flush=True)
    inputs = dict.fromkeys(names, asked.inputs)
    if asked.total:
        inputs = {name: ceil(asked.total * weight / sum(weights.values())) for name, weight in weights.items()}
    outcomes = [_fuzz(name, seed, inputs[name], asked.minutes * 60 / len(names)) for name in names]
    if asked.json:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcomes), indent=1))
    total = sum(outcome.inputs for outcome in outcomes)
    found = sum(len(outcome.findings) for outcome in outcomes)
    print(f"{'all':20} {total:9} inputs {sum(outcome.seconds for outcome in outcomes):7.0f} s, {found} findings")
    return bool(found)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1, help="in total, for all targets")
    parser.add_argument("--inputs", type=int, help="for each target, instead of a time")
    parser.add_argument("--total", type=int, help="total number of inputs for all targets; fast targets get more")
    parser.add_argument("--target", action="append", choices=TARGETS, help="by default all; can be repeated")
    parser.add_argument("--seed", type=int, help="default: a new seed for each run")
    parser.add_argument("--json", type=Path, help="a file for the outcome")
    parser.add_argument("--replay", type=Path, help="the file of a finding")
    return parser


def _fuzz(name: str, seed: int, inputs: int | None, seconds: float) -> Outcome:
    with opened(name) as target:
        outcome = Fuzzer(name, target, seed).run(inputs, None if inputs else seconds)
    print(f"{_line(outcome)}, {len(outcome.findings)} findings", flush=True)
    for number, finding in enumerate(outcome.findings):
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        path = DIRECTORY / f"{name}-{seed}-{number}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(finding), indent=1))
        print(
            f"    {outcome.times[finding.problem]} x {finding.problem}\n    python -m tests.fuzz --replay {path}",
            flush=True,
        )
    return outcome


def _line(outcome: Outcome) -> str:
    rate = outcome.inputs / outcome.cpu
    spent = f"{outcome.seconds:6.0f} s, {outcome.cpu:5.0f} s of CPU time"
    return f"{outcome.target:22} {outcome.inputs:8} inputs in {spent} ({rate:5.0f} a second)"


def _replay(path: Path) -> int:
    finding = msgspec.json.decode(path.read_bytes(), type=Finding)
    with opened(finding.target) as target:
        again = Fuzzer(finding.target, target, 0).replay(finding.pieces)
    print(again.trace if again else "no problem")
    return bool(again)


@contextmanager
def opened(name: str) -> Iterator[Target]:
    """Create a target in its own directory, and close it at the end of the block."""
    # The path of a socket must be short.
    directory = Path(tempfile.mkdtemp(prefix="fz", dir="/tmp"))
    try:
        target = TARGETS[name](directory)
        try:
            yield target
        finally:
            target.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
