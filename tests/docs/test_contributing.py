"""What CONTRIBUTING.md says to a developer is correct."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hub.testing.waiting import WAIT_SECONDS
from tests.docs.pages import ROOT, Page
from tests.docs.terminal import environment, typed

CONTRIBUTING = Page("CONTRIBUTING.md")
EXERCISE = CONTRIBUTING.command("sed -i ")
TESTS = CONTRIBUTING.command(".venv/bin/pytest tests/unit/supervisor/test_backoff.py ")
NOT_TYPED = {
    "make ": "makes a virtual environment and takes minutes; the targets are looked at below",
    "git restore ": "needs the repository of the checkout, which it would change",
    "pre-commit install": "needs pre-commit; tests/deploy/test_project.py has the hooks",
}
"""Commands that are not typed here, and why."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Create a copy of the checkout with the same virtual environment."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "dist", "__pycache__"))
    (copy / ".venv").mkdir()
    (copy / ".venv/bin").symlink_to(Path(sys.executable).parent)
    return copy


def test_the_exercise(checkout: Path) -> None:
    """The change makes two tests of the behavior fail and one of the documentation; without the change, all pass."""
    typed(TESTS, checkout)
    typed(EXERCISE, checkout)
    done = subprocess.run(
        ["bash", "-c", TESTS],
        cwd=checkout,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * WAIT_SECONDS,
    )
    assert done.returncode == 1, done.stdout
    failed = re.findall(r"^FAILED (\S+?)::", done.stdout, re.MULTILINE)
    assert sorted(failed) == ["tests/docs/test_architecture.py", *["tests/unit/supervisor/test_backoff.py"] * 2]


def test_every_command_is_known_to_these_tests() -> None:
    """Each command is typed here or has a reason why it is not, including one that is added later."""
    known = (EXERCISE, TESTS, *NOT_TYPED)
    assert [command for command in CONTRIBUTING.commands if not command.startswith(known)] == []
    assert [text for text in known if not any(command.startswith(text) for command in CONTRIBUTING.commands)] == []


def test_every_make_target_exists() -> None:
    """Each target that a command or the text names exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = [command.removeprefix("make ") for command in CONTRIBUTING.commands if command.startswith("make ")]
    named = {target for command in commands for target in command.split()}
    named |= set(re.findall(r"`make ([a-z-]+)`", CONTRIBUTING.text))
    assert {"test", "lint", "generated"} <= named
    assert named - targets == set()


def test_files_tests_and_modules_that_it_names_exist() -> None:
    """Each path, each test in a file, and each module to be run exists."""
    named = re.findall(r"`([^`\s]+)`", CONTRIBUTING.prose)
    paths = [name for name in named if "/" in name or name.endswith((".md", ".toml"))]
    assert [name for name in paths if not _exists(name.partition("::")[0])] == []
    for path, test in (name.split("::") for name in paths if "::" in name):
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test
    for module in re.findall(r"`\.venv/bin/python -m ([\w.]+)`", CONTRIBUTING.prose):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for script in re.findall(r"`\.venv/bin/python ([\w/.]+)`", CONTRIBUTING.prose):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("cells", CONTRIBUTING.table("to change"), ids=lambda cells: cells[0])
def test_what_a_change_needs_exists(cells: list[str]) -> None:
    """Each file, class, function and constant that the table names for a change is where the row says."""
    named = re.findall(r"`([^`\s]+)`", " ".join(cells[1:]))
    files = [path for name in named if "/" in name for path in _files(name)]
    code = "".join(path.read_text(encoding="utf-8") for path in files if path.suffix in {".py", ".js", ".yaml"})
    words = [name for name in named if re.fullmatch(r"[\w.]+", name) and not (ROOT / name).exists()]
    known = {path.name for path in files}
    assert [word for word in words if word not in known and word.rpartition(".")[2] not in code] == []


def _files(path: str) -> list[Path]:
    """Return the files of a path in the table: a file, a module without its suffix, or all files in a directory."""
    found = [place for plugin in ("gpu", "ib") for place in ROOT.glob(path.replace("NAME", plugin) + "*")]
    return [file for place in found for file in ([place] if place.is_file() else place.rglob("*.*"))]


def _exists(path: str) -> bool:
    """Return whether a file or package exists; NAME stands for each plugin that has hardware."""
    names = [path.replace("NAME", plugin) for plugin in ("gpu", "ib")]
    return all((ROOT / name).exists() or (ROOT / f"{name}.py").exists() for name in names)
