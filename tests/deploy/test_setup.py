"""The set-up behind `make`: what it needs, what it prints when something is missing, and what it does after a failure.

The scripts run with a PATH that has only the programs of a simulated machine.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.harness import tools

ROOT = Path(__file__).parents[2]
EVERYWHERE = [
    *("awk", "cat", "cp", "cut", "date", "dirname", "du", "env", "find", "grep", "kill", "ln", "mkdir", "mktemp", "mv"),
    *("readlink", "rm", "sed", "sh", "tar", "touch", "true", "uname", "wc"),
]
"""Programs that every machine has."""


PYTHON = f"""
case "$*" in
*'import ensurepip'*) test -e "$STATE/python-venv" ;;
'-m venv '*) mkdir -p "$3/bin" "$3/lib/python/site-packages"; cp "$0" "$3/bin/python" ;;
'-m pip --version') ;;
'-m pip install '*) echo "$*" >>"$STATE/pip"; test ! -e "$STATE/power-cut" || kill -9 $PPID ;;
*) exec {sys.executable} "$@" ;;
esac
"""
"""A Python whose venv and pip do nothing; it has venv only if the package for that is installed on the machine."""


class Machine:
    """A machine with a few programs, on which a user is not root."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.venv = directory / "venv"
        self._bin = directory / "bin"
        self.path = str(self._bin)
        self.state.mkdir()
        self._bin.mkdir()
        for program in EVERYWHERE:
            self._bin.joinpath(program).symlink_to(shutil.which(program) or pytest.fail(f"there is no {program}"))
        self.program("python3", PYTHON)
        self.program("id", "echo 1000")
        self.program("apt-get", 'echo "$*" >>"$STATE/apt"; case $1 in install) touch "$STATE/python-venv" ;; esac')
        self.archive("gcc")

    def program(self, name: str, script: str) -> None:
        """Add a program, or replace it."""
        path = self._bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def archive(self, *packages: str) -> None:
        """Set which packages apt knows."""
        self.program("apt-cache", f'case " {" ".join(packages)} " in *" $2 "*) echo "$2" ;; esac')

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts for the machine's virtual environment."""
        return subprocess.run(
            [ROOT / "scripts" / script, self.venv, *words],
            env={"PATH": self.path, "STATE": str(self.state), "HOME": str(self.state)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=ROOT,
        )

    def record(self, name: str) -> list[str]:
        """Return how a program was called, by its arguments."""
        file = self.state / name
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Create a machine with Python and apt."""
    return Machine(tmp_path)


def _version() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize(("sudo", "become"), [(None, "su"), ("exit 1", "sudo sh")], ids=["no sudo", "sudo refuses"])
def test_a_plain_user_gets_the_command_for_what_is_missing(machine: Machine, sudo: str | None, become: str) -> None:
    """The command is one line to copy, with the reason; the set-up fails and has installed nothing."""
    if sudo:
        machine.program("sudo", sudo)
    done = machine.run("setup.sh", "demo")
    assert done.returncode == 1
    assert "has no venv" in done.stderr
    command = f"apt-get update && apt-get install --yes --no-install-recommends {_version()}-venv"
    assert done.stderr.splitlines()[-1] == f"    {become} -c '{command}'"
    assert machine.record("apt") == machine.record("pip") == []
    assert not machine.venv.exists()


@pytest.mark.parametrize("root", ["id", "sudo"])
def test_what_is_missing_is_installed_as_root(machine: Machine, root: str) -> None:
    """It is installed as root, or with a sudo that needs no password; the command and its reason are printed first."""
    if root == "id":
        machine.program("id", "echo 0")
    else:
        machine.program("sudo", 'test "$1" != -n || shift; exec "$@"')
    done = machine.run("setup.sh", "demo")
    assert done.returncode == 0, done
    assert machine.record("apt") == ["update", f"install --yes --no-install-recommends {_version()}-venv"]
    assert "has no venv; as root: apt-get update && apt-get install" in done.stderr
    assert re.search(r"ready in \d+ s: \d+ packages, \d+ MB", done.stderr)


def test_no_root_is_needed_where_python_has_venv(machine: Machine) -> None:
    """The demo gets the package alone, and development also gets the extra requirements."""
    (machine.state / "python-venv").touch()
    assert machine.run("setup.sh", "demo").returncode == 0
    assert machine.run("setup.sh", "dev").returncode == 0
    assert [call.split()[-1] for call in machine.record("pip")] == [".", ".[dev]"]
    assert machine.record("apt") == []


def test_an_interrupted_set_up_starts_over(machine: Machine) -> None:
    """After a kill in the middle of pip, nothing that it left behind counts as installed."""
    (machine.state / "python-venv").touch()
    cut = machine.state / "power-cut"
    cut.touch()
    assert machine.run("setup.sh", "demo").returncode != 0
    half = machine.venv / "lib/half-installed"
    half.touch()
    assert not (machine.venv / "demo").exists()
    cut.unlink()
    done = machine.run("setup.sh", "dev")
    assert "interrupted; starting over" in done.stderr
    assert not half.exists()
    assert (machine.venv / "demo").exists()
    assert (machine.venv / "dev").exists()


def test_a_directory_of_another_user_is_left_alone(machine: Machine) -> None:
    """An environment without pip, which another tool may have made, is not deleted: the user gets a command."""
    (machine.state / "python-venv").touch()
    (machine.venv / "lib").mkdir(parents=True)
    foreign = machine.venv / "lib/precious"
    foreign.touch()
    done = machine.run("setup.sh", "demo")
    assert done.returncode == 1
    assert f"rm -r {machine.venv}" in done.stderr
    assert foreign.exists()


def _with_venv(machine: Machine) -> Path:
    (machine.venv / "bin").mkdir(parents=True)
    return machine.venv / "missing"


def test_a_tool_that_the_machine_cannot_have_is_recorded(machine: Machine) -> None:
    """On Ubuntu for ARM there is neither Chromium nor kubectl; the reasons are kept for the tests."""
    missing = _with_venv(machine)
    machine.archive("gcc", "chromium-browser", "prometheus")
    machine.program("uname", "echo aarch64")
    for program in ("cc", "promtool"):
        machine.program(program, "")
    done = machine.run("tools.sh")
    assert done.returncode == 0, done
    assert sorted(path.name for path in missing.iterdir()) == ["chromium", "helm", "kubectl"]
    assert "only as a snap" in (missing / "chromium").read_text(encoding="utf-8")
    assert "x86_64" in (missing / "helm").read_text(encoding="utf-8")
    assert (machine.venv / "tools").exists()


def test_the_browser_is_found_again_in_an_activated_environment(machine: Machine) -> None:
    """With VENV/bin first in PATH, a second set-up still links to the browser, not to its own link."""
    _with_venv(machine)
    for program in ("cc", "chromium", "promtool", "uname"):
        machine.program(program, "")
    assert machine.run("tools.sh").returncode == 0
    machine.path = f"{machine.venv / 'bin'}:{machine.path}"
    assert machine.run("tools.sh").returncode == 0
    subprocess.run([machine.venv / "bin/chromium"], check=True)


def test_a_tool_that_the_distribution_has_is_never_skipped(machine: Machine) -> None:
    """A user who cannot install such tools gets one command for all of them, and the set-up fails."""
    _with_venv(machine)
    machine.archive("gcc", "chromium", "promtool")
    done = machine.run("tools.sh")
    assert done.returncode == 1
    packages = "gcc libc6-dev chromium fonts-dejavu-core"
    assert done.stderr.endswith(f"apt-get install --yes --no-install-recommends {packages}'\n")
    assert not (machine.venv / "tools").exists()


def test_without_package_lists_no_tool_is_taken_for_missing(machine: Machine) -> None:
    """On a fresh machine, apt does not have any package lists, so the set-up requests them first."""
    _with_venv(machine)
    machine.archive()
    done = machine.run("tools.sh")
    assert done.returncode == 1
    assert done.stderr.endswith("su -c 'apt-get update'\n")


def test_a_missing_tool_skips_a_test_only_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that needs a missing tool is skipped with the recorded reason; without a reason it fails."""
    monkeypatch.setattr(tools, "BIN", tmp_path)
    monkeypatch.setattr(tools, "REASONS", tmp_path)
    with pytest.raises(pytest.fail.Exception, match="run `make setup`"):
        tools.tool("chromium")
    (tmp_path / "chromium").write_text("only a snap\n", encoding="utf-8")
    with pytest.raises(pytest.skip.Exception, match="no chromium: only a snap"):
        tools.tool("chromium")


def _make(*words: str) -> str:
    # A make that runs these tests would pass these variables on to the make that they start.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_make_alone_lists_every_target() -> None:
    """Each target has one line that says what it is for."""
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    shown = _make()
    assert shown == _make("help")
    assert re.findall(r"^make ([a-z-]+)  +[A-Z].*\.$", shown, re.MULTILINE) == phony.split()
    assert len(shown.splitlines()) == len(phony.split())


def _requirements(name: str) -> Iterator[str]:
    """Yield a package and everything that it needs at run time."""
    yield name
    for requirement in map(Requirement, importlib.metadata.requires(name) or ()):
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            yield from _requirements(requirement.name)


def test_the_demo_runs_without_development_tools(tmp_path: Path) -> None:
    """It is set up without them, and no process of the demo imports a package that is not a run-time dependency."""
    planned = _make("--dry-run", "--always-make", "demo")
    assert "setup.sh .venv demo" in planned
    assert "tools.sh" not in planned
    needed = {name.lower().replace("_", "-") for name in _requirements("device-plugin-hub")}
    others = {
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if module.isidentifier() and not needed & {package.lower().replace("_", "-") for package in packages}
    }
    assert {"pytest", "grpc_tools", "playwright"} <= others
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({sorted(others)!r}))\n"
    (tmp_path / "sitecustomize.py").write_text(blocked, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    demo = [Path(sys.executable).with_name("dphub"), "demo"]
    subprocess.run(demo, env=environment, check=True, capture_output=True, timeout=100)
