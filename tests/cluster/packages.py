"""Debian packages for a node, unpacked in build/cluster: installing them would start services on this machine."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.cluster.build import BUILDS

PACKAGES = ("busybox-static", "containerd", "containernetworking-plugins", "runc")
FILES = BUILDS / "debian"
"""The files of the packages, with the paths that they would have below a node's root directory."""
NETWORK_PLUGINS = FILES / "usr/lib/cni"
SMALL_IMAGE = "docker.io/library/small:test"
"""An image with a shell, which waits forever; it is also the sandbox image, which holds the namespaces of each pod."""
SMALL_ARCHIVE = BUILDS / "small.tar"

_TOOLS = {"ip": "iproute2", "openssl": "openssl", "unshare": "util-linux"}
"""Programs that are installed if they are missing, and their packages."""
_COMMANDS = ("sh", "sleep", "ls", "cat", "true")


def search_path() -> str:
    """Return the value of PATH with which the node's programs find each other."""
    places = [os.fspath(FILES / place) for place in ("usr/bin", "usr/sbin", "bin", "sbin")]
    return os.pathsep.join([*places, os.environ["PATH"], "/usr/sbin", "/sbin"])


def fetch() -> None:
    """Fetch the packages if they are missing, and make the small image."""
    missing = [package for program, package in _TOOLS.items() if not shutil.which(program, path=search_path())]
    if missing or not FILES.exists():
        _run("apt-get", "update", "-qq")
    if missing:
        _run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing)
    if not FILES.exists():
        with tempfile.TemporaryDirectory(dir=BUILDS) as name:
            scratch = Path(name)
            # Otherwise apt downloads as a user without permission to write to this directory.
            _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *PACKAGES, directory=scratch)
            for package in scratch.glob("*.deb"):
                _run("dpkg-deb", "--extract", os.fspath(package), os.fspath(scratch / "files"))
            (scratch / "files").rename(FILES)
    if not SMALL_ARCHIVE.exists():
        _write_small_image()


def _write_small_image() -> None:
    """Write an image with a single file, busybox, without a tool for images."""
    program = next(path for path in (FILES / "bin/busybox", FILES / "usr/bin/busybox") if path.exists())
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(program, "bin/busybox")
        for command in _COMMANDS:
            link = tarfile.TarInfo(f"bin/{command}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    configuration = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "infinity"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [SMALL_IMAGE], "Layers": ["layer.tar"]}]
    part = SMALL_ARCHIVE.with_suffix(".part")
    with tarfile.open(part, "w") as archive:
        _add(archive, "layer.tar", layer.getvalue())
        _add(archive, "config.json", json.dumps(configuration).encode())
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    part.rename(SMALL_ARCHIVE)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def _run(*command: str, directory: Path | None = None) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if code := subprocess.run(command, cwd=directory, env=environment, check=False).returncode:
        sys.exit(f"{command[0]} failed with exit code {code}; its error is above")
