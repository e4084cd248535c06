"""Build the container image where no registry is at hand: `python -m scripts.image`, and with --test test it as well.

A base is made of Debian's packages, for which any other image with Python may stand in (--base). The image is built on
it as container/Containerfile says, and unpacked as a node unpacks what it has pulled. All of that is in build/image,
the storage of images included, so that nobody's own images are touched.

It needs root, as the namespaces in which the tests run the image do, and asks sudo for it. Debian's tools that are
missing are installed first. pip's settings and certificates hold inside the build as they do outside.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub._version import __version__

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "image"
STORAGE = WORK / "storage"
PULLED = WORK / "pulled"
"""The image as a registry would hand it out: a manifest, a configuration, compressed layers."""
ROOT_FILES = WORK / "rootfs"
"""The image as a node would unpack it."""
NAME = f"localhost/device-plugin-hub:{__version__}"

TOOLS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "runc": "runc"}
"""Programs, and the packages of Debian that they are in."""

SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
"""pip's settings that also hold inside a build; what names a local file has no meaning there."""
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

DEBIAN = [
    "--variant=minbase",
    "--include=python3",
    # Without it a tool that mends old installations is drawn in, and 50 MB of Perl with it.
    "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
    # As the slim images of Debian do.
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
]


class CommandFailed(Exception):
    """A program failed; the text is what it said."""


def install_tools() -> None:
    """Install what is missing, as scripts/setup.sh does."""
    missing = [package for program, package in TOOLS.items() if not shutil.which(program)]
    if not missing:
        return
    print(f"image: installing {', '.join(missing)}", file=sys.stderr)
    _run("apt-get", "update", "-qq")
    # On Ubuntu the keys of Debian's archive are missing as well.
    packages = [*missing, "debian-archive-keyring"]
    _run(
        "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages
    )


def debian_base(suite: str) -> str:
    """The name of an image with Debian and Python, made if there is none."""
    name = f"localhost/device-plugin-hub-base:{suite}"
    if _says("buildah", *_storage(), "images", "--quiet", "--filter", f"reference={name}"):
        return name
    print(f"image: making a base of Debian's packages ({suite})", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        files = Path(scratch, "root")
        _run("mmdebstrap", "--mode=root", *DEBIAN, suite, str(files))
        # These are the container runtime's affair, and were made for this machine.
        for path in (*(files / "dev").iterdir(), files / "etc/hostname", files / "etc/resolv.conf"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        container = _says("buildah", *_storage(), "from", "scratch")
        _run("buildah", *_storage(), "add", "--quiet", container, str(files), "/")
        _run("buildah", *_storage(), "commit", "--quiet", "--rm", container, name)
    return name


def build(base: str) -> None:
    """Build the image on a base."""
    print(f"image: building {NAME} on {base}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as secrets:
        _run(
            *("buildah", *_storage(), "build", "--isolation=chroot", "--layers"),
            # The format that knows health checks.
            "--format=docker",
            *(f"--build-arg=BASE={base}", f"--build-arg=VERSION={__version__}"),
            *_pip_secrets(Path(secrets)),
            *("--file=container/Containerfile", "--ignorefile=container/Containerfile.dockerignore"),
            *(f"--tag={NAME}", "."),
        )


def unpack() -> None:
    """Lay the image out as a registry has it, and as a node unpacks it."""
    for old in (PULLED, ROOT_FILES):
        if old.exists():
            shutil.rmtree(old)
    _run("buildah", *_storage(), "push", "--quiet", "--compression-format=gzip", NAME, f"dir:{PULLED}")
    ROOT_FILES.mkdir()
    for layer in manifest()["layers"]:
        archive = PULLED / layer["digest"].removeprefix("sha256:")
        _run(
            *("tar", "--extract", f"--file={archive}", f"--directory={ROOT_FILES}"),
            *("--numeric-owner", "--xattrs", "--xattrs-include=*"),
        )


def manifest() -> dict[str, Any]:
    """What the image consists of."""
    read: dict[str, Any] = json.loads((PULLED / "manifest.json").read_bytes())
    return read


def configuration() -> dict[str, Any]:
    """What the image says about itself: its environment, its command, its labels."""
    read: dict[str, Any] = json.loads((PULLED / manifest()["config"]["digest"].removeprefix("sha256:")).read_bytes())
    return read


def _pip_secrets(directory: Path) -> list[str]:
    """Flags that hand this user's pip settings and certificates in, without a trace in the image."""
    listed = _says(sys.executable, "-m", "pip", "config", "list")
    given: dict[str, str] = {}
    # Variables come first in the list, and go before files.
    for line in reversed(listed.splitlines()):
        key, _, value = line.partition("=")
        given[key.rpartition(".")[2]] = ast.literal_eval(value)
    reachable = {
        name: " ".join(v for v in given.get(name, "").split() if not v.startswith("file:")) for name in SETTINGS
    }
    lines = ["[global]", *(f"{name} = {value}" for name, value in reachable.items() if value)]
    flags = [f"--secret=id=pip.conf,src={directory}/pip.conf"]
    candidates = [given.get("cert"), *(os.environ.get(name) for name in CERTIFICATES)]
    certificates = next((path for path in candidates if path and Path(path).is_file()), None)
    if certificates:
        lines.append("cert = /run/secrets/ca-certificates")
        flags.append(f"--secret=id=ca-certificates,src={certificates}")
    Path(directory, "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return flags


def _storage() -> list[str]:
    return ["--root", str(STORAGE), "--runroot", str(WORK / "runroot")]


def _run(*command: str) -> None:
    """Run a program; what it says is only of interest if it fails.

    Raises:
        CommandFailed: it did.
    """
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{done.stdout}\nimage: failed with exit code {done.returncode}: {' '.join(command)}")


def _says(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _test(arguments: Sequence[str]) -> int:
    # In a mount namespace of its own, so that nothing stays mounted whatever happens.
    command = ["unshare", "--mount", sys.executable, "-m", "pytest", "tests/image", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Build, and test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="build on this image, pulled if need be, and not on one made here")
    parser.add_argument(
        "--suite", default="bookworm", help="the release of Debian that a base is made of (%(default)s)"
    )
    parser.add_argument("--test", action="store_true", help="test the image; further arguments go to pytest")
    arguments, further = parser.parse_known_args()
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            print("image: needs root, and there is no sudo", file=sys.stderr)
            return 1
        os.execv(sudo, [sudo, "--preserve-env", sys.executable, "-m", "scripts.image", *sys.argv[1:]])  # noqa: S606
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        install_tools()
        build(arguments.base or debian_base(arguments.suite))
        unpack()
    except CommandFailed as error:
        print(error, file=sys.stderr)
        return 1
    return _test(further) if arguments.test else 0


if __name__ == "__main__":
    sys.exit(main())
