"""Checks that precede a release."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hub._version import __version__
from hub.supervisor.config.watchers import read_config, shipped_config
from scripts import lock
from scripts.release import CHANGELOG, bill_problems, changelog_problems, metadata_problems, package_problems
from scripts.sbom import write_bill

ABOUT = "\n- Devices are served.\n"


@pytest.mark.parametrize(
    ("text", "version", "problems"),
    [
        (f"## 1.2.3 (2026-01-31)\n{ABOUT}", "1.2.3", []),
        (f"## 1.2.3 (not released yet)\n{ABOUT}", "1.2.3", ['gives "not released yet" as the date of 1.2.3']),
        (f"## 1.2.2 (2026-01-31)\n{ABOUT}", "1.2.3", ["begins with 1.2.2"]),
        (f"## 1.2.3 (2026-01-31)\n\n## 1.2.2 (2026-01-30)\n{ABOUT}", "1.2.3", ["has nothing about 1.2.3"]),
        ("# Changes\n", "1.2.3", ["has no heading"]),
        (f"## 1.2 (2026-01-31)\n{ABOUT}", "1.2", ["expected three numbers"]),
    ],
)
def test_the_changelog_is_that_of_the_version(text: str, version: str, problems: list[str]) -> None:
    """The version's entry must have a heading, a date and some text; each problem is named."""
    found = list(changelog_problems(text, version))
    assert len(found) == len(problems)
    assert all(problem in said for problem, said in zip(problems, found, strict=True))


def test_the_changelog_is_about_this_version() -> None:
    """Its latest heading is this version, whether released or not."""
    wrong = list(changelog_problems(CHANGELOG.read_text(encoding="utf-8"), __version__))
    assert not [problem for problem in wrong if "not released yet" not in problem]


@pytest.mark.parametrize(
    ("urls", "missing"),
    [
        ({}, ["Source", "Issues"]),
        ({"Source": "https://example.com/hub", "Issues": "TODO"}, ["Issues"]),
        ({"Source": "https://example.com/hub", "Issues": "https://example.com/hub/issues"}, []),
    ],
)
def test_a_release_says_where_its_source_is(urls: dict[str, str], missing: list[str]) -> None:
    """Each address that is not known yet is named, and a placeholder does not count as an address."""
    found = list(metadata_problems({"urls": urls}))
    assert len(found) == len(missing)
    assert all(f'has no "{name}" in [project.urls]' in said for name, said in zip(missing, found, strict=True))


def test_the_packages(tmp_path: Path) -> None:
    """The packages can be installed and work: nothing is missing; they include the licence, but not tests and tools."""
    assert list(package_problems(tmp_path)) == []
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", target, wheel], check=True)
    code = "import hub, pathlib, sys; from hub.cli import main; print(pathlib.Path(hub.__file__).parent); main()"
    said = subprocess.run(
        [sys.executable, "-c", code, "check"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin"},
    )
    assert said.stdout.splitlines()[0] == str(target / "hub")
    assert f"ok, {len(read_config(shipped_config()))} plugins" in said.stdout


def test_the_bill_of_materials_lists_every_package_of_the_image(tmp_path: Path) -> None:
    """It gives scanners each locked package with its version and hashes; the same lock produces the same bill."""
    text = lock.RUNTIME.read_text(encoding="utf-8")
    bill = write_bill(tmp_path / "first.json")
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", __version__)
    assert {component["name"]: component["version"] for component in bill["components"]} == lock.pins(text)
    sources = [source for component in bill["components"] for source in component["externalReferences"]]
    hashes = sorted(each["content"] for source in sources for each in source.get("hashes", []))
    assert hashes == sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", text))
    write_bill(tmp_path / "second.json")
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


def test_a_package_that_the_bill_lacks_is_named() -> None:
    """A bill that lists a different version, or lacks a hash, is rejected, too."""
    component = {"name": "click", "version": "8.5.1", "externalReferences": [{"hashes": [{"content": "00"}]}]}
    assert list(bill_problems({"components": [component]}, {"click": "8.5.1"})) == []
    assert len(list(bill_problems({"components": [component]}, {"click": "8.5.2"}))) == 1
    assert len(list(bill_problems({"components": [component | {"externalReferences": []}]}, {"click": "8.5.1"}))) == 1
