"""Build the container image without a registry: `python -m scripts.image`; with --test, also test it.

The script creates a base from Debian's packages; --base names another image with Python instead. It builds the image
on this base with container/Containerfile, and unpacks it as a node unpacks a pulled image. Everything is in
build/image, including the storage of images, so that your own images are not touched; --archive writes a file of your
choice, which nodes can import.

It needs root, as do the namespaces in which the tests run the image, and uses sudo to get it. It first installs missing
tools from Debian. pip's settings and certificates apply inside the build, too.
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
"""The image as a registry would serve it: a manifest, a configuration, compressed layers."""
ROOT_FILES = WORK / "rootfs"
"""The image as a node would unpack it."""
NAME = f"localhost/device-plugin-hub:{__version__}"
NODE_NAME = f"device-plugin-hub:{__version__}"
"""The image's name in the manifests, which nodes look for."""

TOOLS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "runc": "runc"}
"""Programs, and the Debian packages that contain them."""

SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
"""pip's settings that also apply inside a build; a setting that names a local file has no meaning there."""
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

DEBIAN = [
    "--variant=minbase",
    "--include=python3",
    # Without it, the base contains a tool that converts old installations, and 50 MB of Perl with it.
    "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
    # Debian's slim images exclude the same paths.
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
]


class CommandFailed(Exception):
    """A program failed; the text is its output."""


def install_tools() -> None:
    """Install missing tools, as scripts/setup.sh does."""
    missing = [package for program, package in TOOLS.items() if not shutil.which(program)]
    if not missing:
        return
    print(f"image: installing {', '.join(missing)}", file=sys.stderr)
    _run("apt-get", "update", "-qq")
    # On Ubuntu, the keys of Debian's archive are missing, too.
    packages = [*missing, "debian-archive-keyring"]
    _run(
        "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages
    )


def debian_base(suite: str) -> str:
    """Return the name of an image with Debian and Python; create it if it does not exist."""
    name = f"localhost/device-plugin-hub-base:{suite}"
    if _output_of("buildah", *_storage(), "images", "--quiet", "--filter", f"reference={name}"):
        return name
    print(f"image: creating a base from Debian's packages ({suite})", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        files = Path(scratch, "root")
        _run("mmdebstrap", "--mode=root", *DEBIAN, suite, str(files))
        # The container runtime creates these; the ones here were created for this machine.
        for path in (*(files / "dev").iterdir(), files / "etc/hostname", files / "etc/resolv.conf"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        container = _output_of("buildah", *_storage(), "from", "scratch")
        _run("buildah", *_storage(), "add", "--quiet", container, str(files), "/")
        _run("buildah", *_storage(), "commit", "--quiet", "--rm", container, name)
    return name


def build(base: str) -> None:
    """Build the image on a base."""
    print(f"image: building {NAME} on {base}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as secrets:
        _run(
            *("buildah", *_storage(), "build", "--isolation=chroot", "--layers"),
            # Only this format has health checks.
            "--format=docker",
            *(f"--build-arg=BASE={base}", f"--build-arg=VERSION={__version__}"),
            *_pip_secrets(Path(secrets)),
            *("--file=container/Containerfile", "--ignorefile=container/Containerfile.dockerignore"),
            *(f"--tag={NAME}", "."),
        )


def unpack() -> None:
    """Store the image as a registry does, and unpack it as a node does."""
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


def write_archive(path: Path) -> None:
    """Write the image to a file that container runtimes import under the name in the manifests."""
    # buildah does not replace an image in an archive.
    path.unlink(missing_ok=True)
    _run("buildah", *_storage(), "push", "--quiet", NAME, f"docker-archive:{path}:{NODE_NAME}")


def manifest() -> dict[str, Any]:
    """Return the image's manifest: its layers and its configuration."""
    read: dict[str, Any] = json.loads((PULLED / "manifest.json").read_bytes())
    return read


def configuration() -> dict[str, Any]:
    """Return the image's configuration: its environment, its command, its labels."""
    read: dict[str, Any] = json.loads((PULLED / manifest()["config"]["digest"].removeprefix("sha256:")).read_bytes())
    return read


def _pip_secrets(directory: Path) -> list[str]:
    """Return flags that pass this user's pip settings and certificates, and leave no trace in the image."""
    listed = _output_of(sys.executable, "-m", "pip", "config", "list")
    given: dict[str, str] = {}
    # Variables come first in the list, and override files.
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
    """Run a program; show its output only if it fails.

    Raises:
        CommandFailed: the program failed.
    """
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{done.stdout}\nimage: failed with exit code {done.returncode}: {' '.join(command)}")


def _output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _test(arguments: Sequence[str]) -> int:
    # In a separate mount namespace, so that nothing stays mounted even after a crash.
    command = ["unshare", "--mount", sys.executable, "-m", "pytest", "tests/image", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Build the image, and test it if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="build on this image, pulled if necessary, instead of one created here")
    parser.add_argument("--suite", default="bookworm", help="create the base from this release of Debian (%(default)s)")
    parser.add_argument("--archive", type=Path, metavar="FILE", help="also write it to a file that nodes can import")
    parser.add_argument("--test", action="store_true", help="test the image; further arguments go to pytest")
    arguments, further = parser.parse_known_args()
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            print("image: root is needed, and sudo is not installed: run it as root", file=sys.stderr)
            return 1
        os.execv(sudo, [sudo, "--preserve-env", sys.executable, "-m", "scripts.image", *sys.argv[1:]])  # noqa: S606
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        install_tools()
        build(arguments.base or debian_base(arguments.suite))
        unpack()
        if arguments.archive:
            write_archive(arguments.archive.absolute())
    except CommandFailed as error:
        print(error, file=sys.stderr)
        return 1
    return _test(further) if arguments.test else 0


if __name__ == "__main__":
    sys.exit(main())
