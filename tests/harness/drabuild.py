"""Builds of the program in tests/dra, one for each Kubernetes version, kept in build/dra.

    python -m tests.harness.drabuild 1.36 1.37          builds those that are missing
    python -m tests.harness.drabuild --lock v1.36.3     chooses the modules of a version, after a change of version

A build is named by its version and a digest of its sources.
"""

from tests.harness.goprogram import GoProgram, KubeletProgram
from tests.harness.project import PROJECT

_PROGRAM = KubeletProgram(
    GoProgram("dra", "dphub.test/dra", PROJECT / "tests/dra", PROJECT / "build/dra"),
    {"1.36": "1_36", "1.37": "1_37"},
    "DRA manager",
)

VERSIONS = tuple(_PROGRAM.interfaces)
"""The versions with which a plugin can use dynamic resource allocation, oldest first."""

binary = _PROGRAM.binary

if __name__ == "__main__":
    _PROGRAM.main("python -m tests.harness.drabuild")
