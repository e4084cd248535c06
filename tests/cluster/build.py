"""Builds of the program in tests/cluster/programs, one for each Kubernetes version, kept in build/cluster.

    python -m tests.cluster.build                   builds it if it is missing, which takes a long time
    python -m tests.cluster.build --lock v1.36.3    chooses the modules of a version, after a change of version

A build is named by its version and a digest of its sources.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.harness.goprogram import GoProgram
from tests.harness.project import PROJECT

SOURCES = PROJECT / "tests/cluster/programs"
BUILDS = PROJECT / "build/cluster"
_PROGRAM = GoProgram("kubernetes", "dphub.test/cluster", SOURCES, BUILDS)
VERSION = "1.36"
"""The version of Kubernetes that the cluster runs."""
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
"""The names under which the program is started."""


def binary(version: str = VERSION) -> Path:
    """Return the path of a version's program, which may not exist."""
    return _PROGRAM.binary(version, [SOURCES / "main.go"])


def build(version: str = VERSION) -> None:
    """Build a version's program, and delete older builds of it."""
    link = " ".join(["-s", "-w", *_version_variables(version)])
    _PROGRAM.build(version, binary(version), [f"-ldflags={link}"])


def build_if_missing() -> None:
    """Build the program if its sources have changed since the last build, and report that this takes a long time."""
    if binary().exists():
        return
    began = time.monotonic()
    sys.stdout.write(f"building Kubernetes {VERSION}, which takes a long time\n")
    sys.stdout.flush()
    build()
    sys.stdout.write(f"built in {time.monotonic() - began:.0f} s\n")


def main() -> None:
    """Build what is missing, or lock a release."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build")
    parser.add_argument("--lock", metavar="RELEASE")
    options = parser.parse_args()
    if options.lock:
        _PROGRAM.lock(options.lock, [SOURCES / "main.go"])
    else:
        build_if_missing()


def _version_variables(version: str) -> Iterator[str]:
    """Yield the linker flags that set the version which the programs report; Helm compares it with the chart's."""
    release = _PROGRAM.locked_release(version)
    major, minor = version.split(".")
    for name, value in (("gitVersion", release), ("gitMajor", major), ("gitMinor", minor)):
        yield f"-X=k8s.io/component-base/version.{name}={value}"


if __name__ == "__main__":
    main()
