"""Builds of the program in tests/kubelet, one for each Kubernetes version, kept in build/kubelet.

    python -m tests.harness.kubeletbuild 1.36 1.37          builds those that are missing
    python -m tests.harness.kubeletbuild --lock v1.36.3     chooses the modules of a version, after a change of version

A build is named by its version and a digest of its sources.
"""

from tests.harness.goprogram import GoProgram, KubeletProgram
from tests.harness.project import PROJECT

_PROGRAM = KubeletProgram(
    GoProgram("kubelet", "dphub.test/kubelet", PROJECT / "tests/kubelet", PROJECT / "build/kubelet"),
    {"1.34": "1_34", "1.35": "1_35", "1.36": "1_35", "1.37": "1_37"},
    "device manager",
)

VERSIONS = tuple(_PROGRAM.interfaces)
"""The supported versions, oldest first."""

binary = _PROGRAM.binary

if __name__ == "__main__":
    _PROGRAM.main("python -m tests.harness.kubeletbuild")
