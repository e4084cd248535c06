"""Builds of the program in tests/dra, one for each version of Kubernetes, kept in build/dra.

    python -m tests.harness.drabuild 1.36 1.37          builds those that are missing
    python -m tests.harness.drabuild --lock v1.36.3     chooses the modules of a version, after a change of version

A build is named by its version and a digest of its sources.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.harness.goprogram import GoProgram, minor_version
from tests.harness.project import PROJECT

SOURCES = PROJECT / "tests/dra"
_PROGRAM = GoProgram("dra", "dphub.test/dra", SOURCES, PROJECT / "build/dra")
_INTERFACES = {"1.36": "1_36", "1.37": "1_37"}
"""By version, the file version_*.go with its interfaces, which is also a build tag."""

VERSIONS = tuple(_INTERFACES)
"""The versions with which a plugin can use dynamic resource allocation, oldest first."""

# Without optimization, compilation takes half the time, and the tests seldom wait for the kubelet's code.
_FLAGS = ("-ldflags=-s -w", "-gcflags=all=-N -l -dwarf=false")


def binary(version: str) -> Path:
    """Return the path of a version's program, which may not exist."""
    return _PROGRAM.binary(version, _sources(version))


def build(version: str) -> None:
    """Build a version's program, and delete older builds of it."""
    _PROGRAM.build(version, binary(version), [*_FLAGS, f"-tags=dra_{_INTERFACES[version]}"])


def main() -> None:
    """Build what is missing, or lock a release."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.drabuild")
    parser.add_argument("--lock", metavar="RELEASE")
    parser.add_argument("versions", nargs="*", type=_version, metavar="VERSION")
    options = parser.parse_args()
    if options.lock:
        _PROGRAM.lock(options.lock, _sources(minor_version(options.lock)))
        return
    for version in options.versions:
        if not binary(version).exists():
            began = time.monotonic()
            sys.stdout.write(f"building the DRA manager of kubelet {version}, which takes minutes\n")
            sys.stdout.flush()
            build(version)
            sys.stdout.write(f"built in {time.monotonic() - began:.0f} s\n")


def _version(text: str) -> str:
    if text not in VERSIONS:
        raise argparse.ArgumentTypeError(f"no DRA manager {text}: expected one of {', '.join(VERSIONS)}")
    return text


def _sources(version: str) -> list[Path]:
    others = {f"version_{name}.go" for name in _INTERFACES.values()} - {f"version_{_INTERFACES[version]}.go"}
    return sorted(path for path in SOURCES.glob("*.go") if path.name not in others)


if __name__ == "__main__":
    main()
