"""The build of the program in tests/nodetools, kept in build/nodetools.

    python -m tests.harness.nodetoolsbuild

A build is named by the year of its modules and a digest of its sources.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.harness.goprogram import GoProgram
from tests.harness.project import PROJECT

_VERSION = "2026"
"""The modules in tests/nodetools/versions."""

_PROGRAM = GoProgram("nodetools", "dphub.test/nodetools", PROJECT / "tests/nodetools", PROJECT / "build/nodetools")
_FLAGS = ("-ldflags=-s -w", "-gcflags=all=-N -l -dwarf=false")


def binary() -> Path:
    """Return the path of the program, which may not exist."""
    return _PROGRAM.binary(_VERSION, _sources())


def build() -> None:
    """Build the program if it is missing."""
    if not binary().exists():
        sys.stdout.write("building the parsers of node-problem-detector and Node Feature Discovery\n")
        sys.stdout.flush()
        _PROGRAM.build(_VERSION, binary(), _FLAGS)


def _sources() -> Sequence[Path]:
    return sorted(_PROGRAM.directory.glob("*.go"))


if __name__ == "__main__":
    build()
