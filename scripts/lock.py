"""Lock the packages of the container image: `python -m scripts.lock`; with --check, check that the lock is up to date.

uv resolves the packages once for every Python version and architecture; pip resolves them only for its own. The result
is reduced to the wheels that an image can use: CPython on Linux. A package without a wheel for one of the versions and
architectures below is reported here, before an image is built for that target.

--check queries no index. The lock is out of date if pyproject.toml has changed, never because of a new release.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "container" / "requirements.txt"
BUILD = ROOT / "container" / "requirements-build.txt"

PYTHONS = [(3, 11), (3, 12), (3, 13), (3, 14), (3, 15)]
MACHINES = ["x86_64", "aarch64"]
GLIBC = 36
"""The newest glibc 2.x that a wheel may require: Debian 12's."""

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_DIGEST = re.compile(r"^# pyproject\.toml: sha256:([0-9a-f]{64})$", re.MULTILINE)


class NoWheelError(Exception):
    """A package cannot be installed everywhere; the text names the package and the target."""


@dataclass(frozen=True)
class Target:
    """A Python version and an architecture for which the image may be built."""

    python: tuple[int, int]
    machine: str

    def __str__(self) -> str:
        return f"CPython {self.python[0]}.{self.python[1]} on {self.machine}"

    def markers(self) -> dict[str, str]:
        """Return the values of environment markers on this target."""
        version = f"{self.python[0]}.{self.python[1]}"
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{version}.0",
            "python_version": version,
            "sys_platform": "linux",
        }

    def tags(self) -> frozenset[Tag]:
        """Return the tags of the wheels that run on this target."""
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in range(GLIBC, 4, -1)]
        platforms += [f"manylinux{old}_{self.machine}" for old in ("2014", "2010", "1")]
        interpreter = f"cp{self.python[0]}{self.python[1]}"
        native = cpython_tags(self.python, [interpreter], platforms)
        return frozenset([*native, *compatible_tags(self.python, interpreter, platforms)])


TARGETS = [Target(python, machine) for python in PYTHONS for machine in MACHINES]


def lock(requirements: Sequence[str]) -> str:
    """Return the text of a lock for these requirements and all their dependencies."""
    return "".join(line for package in _resolve(requirements) for line in pinned(package))


def pinned(package: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of one resolved package; none if no target needs it.

    Raises:
        NoWheelError: a target needs the package, which has no wheel for that target.
    """
    name, version = package["name"], package["version"]
    marker = package.get("marker")
    needing = [target for target in TARGETS if not marker or Marker(marker).evaluate(target.markers())]
    if not needing:
        return
    digests: set[str] = set()
    for target in needing:
        found = {wheel["hashes"]["sha256"] for wheel in package["wheels"] if _tags(wheel) & target.tags()}
        if not found:
            raise NoWheelError(f"{name} {version} has no wheel for {target}")
        digests |= found
    condition = f" ; {marker}" if len(needing) < len(TARGETS) else ""
    yield f"{name}=={version}{condition} \\\n"
    yield " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(digests)) + "\n"


def _tags(wheel: Mapping[str, Any]) -> frozenset[Tag]:
    return parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]


def _resolve(requirements: Sequence[str]) -> list[dict[str, Any]]:
    oldest = ".".join(map(str, PYTHONS[0]))
    resolved = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-config"),
            *("--universal", f"--python-version={oldest}", "--only-binary=:all:"),
            *("--format=pylock.toml", "--no-header"),
        ],
        input="\n".join(requirements),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    packages: list[dict[str, Any]] = tomllib.loads(resolved.stdout)["packages"]
    return packages


def wanted(pyproject: str) -> dict[Path, list[str]]:
    """Return the requirements in pyproject.toml, by lock."""
    project = tomllib.loads(pyproject)
    return {RUNTIME: project["project"]["dependencies"], BUILD: project["build-system"]["requires"]}


def digest(requirements: Sequence[str]) -> str:
    """Return a digest that identifies a list of requirements."""
    return hashlib.sha256(json.dumps(sorted(requirements)).encode()).hexdigest()


def pins(text: str) -> dict[str, str]:
    """Return the versions in a lock by canonical name."""
    return {canonicalize_name(name): version for name, version in _PIN.findall(text)}


def drift(requirements: Sequence[str], text: str) -> list[str]:
    """Return the differences between a lock and the requirements."""
    locked = pins(text)
    found = []
    for requirement in map(Requirement, requirements):
        version = locked.get(canonicalize_name(requirement.name))
        if version is None:
            found.append(f"{requirement.name} is not in it")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(f"it has {requirement.name} {version}, but {requirement} is required")
    made_of = _DIGEST.search(text)
    if not found and (made_of is None or made_of[1] != digest(requirements)):
        found.append("it was generated for other requirements")
    return found


def _header(requirements: Sequence[str], what: str) -> str:
    oldest, newest = (".".join(map(str, python)) for python in (PYTHONS[0], PYTHONS[-1]))
    return (
        f"# {what}, generated by `python -m scripts.lock`.\n"
        f"# Wheels for CPython {oldest} to {newest} on Linux (glibc 2.{GLIBC} or older), {' and '.join(MACHINES)}.\n"
        f"# pyproject.toml: sha256:{digest(requirements)}\n"
    )


def _check(lists: Mapping[Path, Sequence[str]]) -> int:
    wrong = [
        f"{path}: {difference}; run `python -m scripts.lock`"
        for path, requirements in lists.items()
        for difference in drift(requirements, path.read_text(encoding="utf-8"))
    ]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    """Write the locks, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference; needs no network")
    lists = wanted((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if parser.parse_args().check:
        return _check(lists)
    about = {RUNTIME: "Packages in the image", BUILD: "Packages that build the project's wheel for the image"}
    try:
        texts = {path: _header(needs, about[path]) + lock(needs) for path, needs in lists.items()}
    except NoWheelError as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"lock: uv failed with exit code {error.returncode}", file=sys.stderr)
        return 1
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
