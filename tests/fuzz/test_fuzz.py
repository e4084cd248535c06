"""Random external input never crashes or hangs a process, or exhausts its memory.

This is a minute of what `make fuzz` does for longer, always with the same inputs. Its length is a number of
inputs, not a time, so a slow machine consumes the same inputs.
"""

from pathlib import Path

import msgspec
import pytest

from tests.fuzz.__main__ import opened
from tests.fuzz.engine import Finding, Fuzzer
from tests.fuzz.registry import TARGETS

SEED = 1

FINDINGS = Path(__file__).parent / "findings"
"""Inputs that once made the code fail, in a directory for each target."""


@pytest.mark.parametrize("name", TARGETS)
def test_inputs(name: str) -> None:
    """Inputs that once made the code fail no longer do, and neither do random ones."""
    with opened(name) as target:
        fuzzer = Fuzzer(name, target, SEED)
        again = {path: fuzzer.replay(_read(path).pieces) for path in sorted((FINDINGS / name).glob("*.json"))}
        outcome = fuzzer.run(target.inputs)
    problems = [f"{path.name}: {finding.problem}\n{finding.trace}" for path, finding in again.items() if finding]
    problems += [f"{finding.problem}\n{finding.pieces}\n{finding.trace}" for finding in outcome.findings]
    assert not problems, "\n\n".join([f"{name}, seed {SEED}:", *problems])


def test_findings_belong_to_targets() -> None:
    """Each finding belongs to a target, so a renamed target does not lose any."""
    found = {path: _read(path).target for path in FINDINGS.glob("*/*.json")}
    assert found
    assert [path for path, target in found.items() if target != path.parent.name or target not in TARGETS] == []


def _read(path: Path) -> Finding:
    return msgspec.json.decode(path.read_bytes(), type=Finding)
