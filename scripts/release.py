"""Check whether this checkout can be released: `make release-check`.

The version is written by hand only in hub/_version.py; the tests of the manifests compare all other places with it.
This script checks the rest: the changelog, the metadata, the state of the checkout, the packages built from it, and the
bill of materials of its image, which it leaves in build/ for the release.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hub._version import __version__
from scripts import lock
from scripts.sbom import write_bill

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "pyproject.toml"
CHANGELOG = ROOT / "CHANGELOG.md"
BILL = ROOT / "build" / f"device-plugin-hub-{__version__}.cdx.json"
"""The image's bill of materials, for publication with the release."""

NEEDED = [
    *("hub/circus.ini", "hub/py.typed", "hub/supervisor/http/page/index.html"),
    *("hub/supervisor/http/page/main.js", "hub/supervisor/http/page/style.css"),
    *(f"plugins/{name}/plugin.py" for name in ("amd", "generic", "gpu", "ib", "intel", "stub")),
]
"""Files that an installation needs, and that are easily left out of a package."""

LICENCE = "LICENSE"
"""The licence text, which every package must contain."""

URLS = ("Source", "Issues")
"""Addresses that users of a package look for in its metadata."""

_HEADING = re.compile(r"^## (\S+) \((.+)\)$", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def changelog_problems(text: str, version: str) -> Iterator[str]:
    """Yield the reasons why a changelog does not match a version, whose entry must come first."""
    if not _VERSION.fullmatch(version):
        yield f"hub/_version.py says {version}, expected three numbers such as 1.2.3"
    latest = _HEADING.search(text)
    if latest is None:
        yield "CHANGELOG.md has no heading such as `## 1.2.3 (2026-01-31)`"
        return
    if latest[1] != version:
        yield f"CHANGELOG.md begins with {latest[1]}, but hub/_version.py says {version}"
    if not _DATE.fullmatch(latest[2]):
        yield f'CHANGELOG.md gives "{latest[2]}" as the date of {latest[1]}, expected the release date'
    if not text[latest.end() :].partition("\n## ")[0].strip():
        yield f"CHANGELOG.md has nothing about {latest[1]}"


def metadata_problems(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the `[project]` table of pyproject.toml lacks: a checkout does not contain the project's addresses."""
    given = project.get("urls", {})
    for name in URLS:
        if not str(given.get(name, "")).startswith("https://"):
            yield f'pyproject.toml has no "{name}" in [project.urls], expected an address that begins with https://'


def checkout_problems(version: str) -> Iterator[str]:
    """Yield the reasons why the checkout cannot be released."""
    if changed := _git("status", "--porcelain"):
        yield f"the checkout has uncommitted changes:\n{changed}"
    if _git("tag", "--list", f"v{version}"):
        yield f"the tag v{version} already exists; bump the version in hub/_version.py"


def package_problems(directory: Path) -> Iterator[str]:
    """Build the checkout's packages in a directory, and yield what is wrong with them."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        inside = set(packed.namelist())
    if not any(name.endswith(f".dist-info/licenses/{LICENCE}") for name in inside):
        yield f"{wheel.name} lacks {LICENCE}"
    (source,) = directory.glob("*.tar.gz")
    with tarfile.open(source) as unpacked:
        if f"{source.name.removesuffix('.tar.gz')}/{LICENCE}" not in unpacked.getnames():
            yield f"{source.name} lacks {LICENCE}"
    for missing in sorted(set(NEEDED) - inside):
        yield f"{wheel.name} lacks {missing}"
    for stray in sorted(name for name in inside if name.startswith(("tests/", "benchmarks/", "scripts/"))):
        yield f"{wheel.name} contains {stray}, which users do not need"


def bill_problems(bill: Mapping[str, Any], locked: Mapping[str, str]) -> Iterator[str]:
    """Yield the locked packages that a bill of materials lacks, or lists without a hash."""
    listed = {(component["name"], component["version"]): component for component in bill["components"]}
    for name, version in locked.items():
        sources = listed.get((name, version), {}).get("externalReferences", [])
        if not any(source.get("hashes") for source in sources):
            yield f"the bill of materials lacks {name} {version} or its hashes"


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Print the problems that prevent a release."""
    changelog = CHANGELOG.read_text(encoding="utf-8")
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    problems = [
        *changelog_problems(changelog, __version__),
        *metadata_problems(project),
        *checkout_problems(__version__),
    ]
    with tempfile.TemporaryDirectory() as directory:
        problems += package_problems(Path(directory))
    BILL.parent.mkdir(exist_ok=True)
    problems += bill_problems(write_bill(BILL), lock.pins(lock.RUNTIME.read_text(encoding="utf-8")))
    for problem in problems:
        print(f"release: {problem}", file=sys.stderr)
    if not problems:
        print(f"{__version__} can be released: git tag v{__version__}; publish {BILL.relative_to(ROOT)} with it")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
