"""`dphub install-service` and `dphub uninstall-service`, with programs that only record how they were called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hub._version import __version__
from hub.base.errors import HubError
from hub.cli import cli
from hub.cli.commands import service
from hub.cli.systemd import prerequisites, systemctl
from hub.cli.systemd.kubelets import KUBELETS, Kubelet
from hub.cli.systemd.unit import MARK
from tests.harness.systemd import settings, words

INSTALL, UNINSTALL = "install-service", "uninstall-service"
UNIT_FILE = Path("etc/systemd/system/dphub.service")


class Node:
    """The file system of a node, and what was run for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[str]] = []
        self.failure = ""
        (root / "etc/dphub").mkdir(parents=True)
        (root / "etc/dphub/circus.ini").write_text("[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\n")

    def add_unit(self, name: str, directory: str = "usr/lib/systemd/system") -> None:
        """Install a unit of another program."""
        path = self.root / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[Service]\nExecStart=/bin/true\n")

    def run(self, command: str, *words: str) -> Result:
        """Run a command for this file system."""
        return CliRunner().invoke(cli, [command, "--root", str(self.root), *words])

    def error(self, command: str, *words: str) -> str:
        """Run a command that fails, and return its error."""
        error = self.run(command, *words).exception
        assert isinstance(error, HubError), error
        return str(error)

    @property
    def unit(self) -> str:
        """The unit file."""
        return (self.root / UNIT_FILE).read_text()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Create a node with kubeadm's kubelet, and with a program that the service can see."""
    it = Node(tmp_path)
    it.add_unit("kubelet.service")

    def called(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        it.calls.append(command[1:])
        return subprocess.CompletedProcess(command, int(bool(it.failure)), it.failure)

    monkeypatch.setattr(subprocess, "run", called)
    monkeypatch.setattr(systemctl.shutil, "which", lambda name: f"/usr/bin/{name}")
    # A developer's checkout may be in a home directory.
    monkeypatch.setattr(prerequisites, "HIDDEN", ())
    monkeypatch.setattr(prerequisites, "check_trusted", lambda *_, **__: None)
    monkeypatch.setattr(prerequisites, "check_tree", lambda *_: None)
    return it


def test_the_service_is_written_and_enabled(node: Node) -> None:
    """It starts before the kubelet, which does not stop with it."""
    done = node.run(INSTALL)
    assert done.exit_code == 0, done
    assert done.output == f"{node.root / UNIT_FILE}: written; the service starts before kubelet.service\n"
    assert node.unit.startswith(f"{MARK} version {__version__}.\n")
    assert (node.root / UNIT_FILE).stat().st_mode & 0o777 == 0o644
    found = settings(node.unit)
    assert (found["Before"], found["WantedBy"]) == (["kubelet.service"], ["kubelet.service"])
    assert (found["Type"], found["NotifyAccess"], found["Restart"]) == (["notify"], ["main"], ["always"])
    assert "RequiredBy" not in found
    assert node.calls == [[f"--root={node.root}", "reenable", "dphub.service"]]


def test_the_command_of_the_service(node: Node) -> None:
    """The unit runs this program as the node's service, with the directories that hubs in pods share."""
    node.run(INSTALL)
    (command,) = settings(node.unit)["ExecStart"]
    program, *rest = words(command)
    assert Path(program).name in {"dphub", "python", "python3"}
    assert rest[-8:] == [
        *("run", "--service", "--config", "/etc/dphub/circus.ini"),
        *("--plugin-dir", "/var/lib/kubelet/device-plugins", "--run-dir", "/run/dphub"),
    ]


@pytest.mark.parametrize("name", ["a b", "a%b", "a:b", "..", "a/b c"])
def test_an_odd_run_directory_is_refused(node: Node, name: str) -> None:
    """When systemd creates a directory, it splits the name at spaces and colons, and replaces %."""
    said = f"--run-dir: /run/{name}: the name of a directory in /run may only contain letters, digits and"
    assert node.error(INSTALL, "--run-dir", f"/run/{name}").startswith(said)
    assert node.calls == []
    assert not (node.root / UNIT_FILE).exists()
    assert node.run(INSTALL, "--run-dir", f"/opt/{name}").exit_code == 0


def test_a_dry_run_changes_nothing(node: Node) -> None:
    """It prints the unit that it would write."""
    done = node.run(INSTALL, "--dry-run")
    assert not (node.root / UNIT_FILE).exists()
    assert node.calls == []
    node.run(INSTALL)
    assert done.output == node.unit


def test_a_second_run_upgrades_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit says which version wrote it."""
    node.run(INSTALL)
    monkeypatch.setattr("hub.cli.systemd.unit.__version__", "9.9.9")
    assert node.run(INSTALL).exit_code == 0
    assert node.unit.startswith(f"{MARK} version 9.9.9.\n")


@pytest.mark.parametrize("kubelet", KUBELETS, ids=lambda kubelet: kubelet.unit)
def test_every_known_kubelet_is_found(node: Node, kubelet: Kubelet) -> None:
    """It is found in any directory in which units can be."""
    (node.root / "usr/lib/systemd/system/kubelet.service").unlink()
    node.add_unit(kubelet.unit, "etc/systemd/system")
    assert node.run(INSTALL).exit_code == 0
    assert settings(node.unit)["Before"] == [kubelet.unit]
    bound = settings(node.unit).get("BindPaths", [])
    has_own_root = kubelet.root != Path("/var/lib/kubelet")
    assert bound == [f"-{kubelet.root}/pod-resources:/var/lib/kubelet/pod-resources"] * has_own_root


def test_a_kubelet_can_be_named(node: Node) -> None:
    """Its suffix can be left out; if the unit does not exist, the error suggests another one."""
    node.add_unit("my-kubelet.service")
    assert node.run(INSTALL, "--kubelet-unit", "my-kubelet").exit_code == 0
    assert settings(node.unit)["Before"] == ["my-kubelet.service"]
    assert node.run(INSTALL, "--kubelet-unit", "kubelet.service").exit_code == 0
    assert settings(node.unit)["Before"] == ["kubelet.service"]
    node.add_unit("odd\nExecStartPre=.service")
    assert "there is no unit" in node.error(INSTALL, "--kubelet-unit", "odd\nExecStartPre=.service")
    error = node.error(INSTALL, "--kubelet-unit", "kubelt")
    assert error == "--kubelet-unit: there is no unit kubelt.service; did you mean kubelet.service?"


def test_one_of_several_kubelets_has_to_be_named(node: Node) -> None:
    """A unit that is masked never starts, and does not count."""
    node.add_unit("k3s.service")
    assert "there are several kubelets: kubelet.service, k3s.service; use" in node.error(INSTALL)
    path = node.root / "etc/systemd/system/k3s.service"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/null")
    assert node.run(INSTALL).exit_code == 0
    assert settings(node.unit)["Before"] == ["kubelet.service"]


def test_a_mask_of_lower_precedence_has_no_effect(node: Node) -> None:
    """The first directory that has the name decides."""
    node.add_unit("kubelet.service", "etc/systemd/system")
    path = node.root / "run/systemd/system/kubelet.service"
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/null")
    assert node.run(INSTALL).exit_code == 0


def test_a_node_without_a_kubelet(node: Node) -> None:
    """The error lists the units that are known."""
    (node.root / "usr/lib/systemd/system/kubelet.service").unlink()
    error = node.error(INSTALL)
    assert error.startswith("no kubelet found: none of the units kubelet.service, k3s.service,")
    assert error.endswith("exists; name the kubelet's unit with --kubelet-unit")


def test_a_missing_configuration(node: Node) -> None:
    """The error says which file to copy."""
    (node.root / "etc/dphub/circus.ini").unlink()
    error = node.error(INSTALL)
    assert error.startswith(f"{node.root}/etc/dphub/circus.ini: no such file; copy ")
    assert not (node.root / UNIT_FILE).exists()


def test_a_configuration_with_a_mistake(node: Node) -> None:
    """It is found before the unit is written."""
    (node.root / "etc/dphub/circus.ini").write_text("[watcher:stub]\ncmdd = x\n")
    assert "[watcher:stub] cmdd" in node.error(INSTALL)
    assert not (node.root / UNIT_FILE).exists()


def test_a_program_that_the_service_does_not_see(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a virtual environment in a home directory, or one whose Python is in a home directory."""
    monkeypatch.setattr(prerequisites, "HIDDEN", (Path(os.sep),))
    error = node.error(INSTALL)
    assert "which the service does not see; install the hub elsewhere, for example in /opt/dphub" in error


def test_a_program_that_another_user_can_change(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of it is checked, since it would run as root: program, Python, pyvenv.cfg, modules and configuration."""
    (tmp_path / "bin").mkdir()
    for name in ("bin/python", "bin/dphub", "pyvenv.cfg"):
        (tmp_path / name).touch()
    (tmp_path / "modules").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "modules.zip").touch()
    found = ("modules", "modules.zip", "missing.zip")
    monkeypatch.setattr(sys, "path", [str(tmp_path / name) for name in found])
    checked: list[Path] = []
    monkeypatch.setattr(prerequisites, "check_trusted", lambda path, *_, **__: checked.append(path))
    monkeypatch.setattr(prerequisites, "check_tree", lambda path, *_: checked.append(path / "*"))
    assert node.run(INSTALL).exit_code == 0
    expected = {tmp_path / name for name in ("bin/python", "bin/dphub", "pyvenv.cfg", "modules/*", "modules.zip")}
    assert expected <= set(checked)
    assert {node.root / "etc/dphub" / name for name in ("circus.ini", "environment")} <= set(checked)


def test_a_unit_of_another_author_stays(node: Node) -> None:
    """It is neither replaced nor removed."""
    node.add_unit("dphub.service", "etc/systemd/system")
    before = node.unit
    assert "not written by dphub install-service; remove it first, or rename it" in node.error(INSTALL)
    assert "not written by dphub install-service" in node.error(UNINSTALL)
    assert node.unit == before
    assert node.calls == []


def test_a_removal_leaves_nothing(node: Node) -> None:
    """A second one does nothing."""
    node.run(INSTALL)
    node.calls.clear()
    done = node.run(UNINSTALL)
    assert done.output == f"{node.root / UNIT_FILE}: removed\n"
    assert node.calls == [[f"--root={node.root}", "disable", "dphub.service"]]
    assert not (node.root / UNIT_FILE).exists()
    done = node.run(UNINSTALL)
    assert (done.exit_code, done.output) == (0, f"{node.root / UNIT_FILE}: no such file; there is nothing to remove\n")


def test_what_systemctl_says_is_shown(node: Node) -> None:
    """The error shows its output on one line."""
    node.failure = "Failed to enable unit:\nUnit file is masked.\n"
    error = node.error(INSTALL)
    assert error == "systemctl reenable dphub.service failed: Failed to enable unit: Unit file is masked."


def test_now_is_for_a_running_node(node: Node) -> None:
    """Nothing runs in the file system of an image."""
    done = node.run(INSTALL, "--now")
    assert done.exit_code == 2
    assert "--now cannot be combined with --root" in done.output


def test_a_running_node(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new unit is read before it is enabled, and --now restarts the service."""
    monkeypatch.setattr(service, "UNIT_DIR", node.root / "etc/systemd/system")
    monkeypatch.setattr(service, "check_systemd", lambda _: None)
    monkeypatch.setattr(service, "check_configuration", lambda *_: None)
    monkeypatch.setattr(service, "find_kubelet", lambda *_: KUBELETS[0])
    done = CliRunner().invoke(cli, [INSTALL, "--now"])
    assert done.output.endswith("the service is running; dphub status shows what it is doing\n"), done
    assert node.calls == [["daemon-reload"], ["reenable", "dphub.service"], ["restart", "dphub.service"]]
    node.calls.clear()
    assert CliRunner().invoke(cli, [INSTALL]).output.endswith("with: systemctl restart dphub.service\n")
    node.calls.clear()
    assert CliRunner().invoke(cli, [UNINSTALL]).exit_code == 0
    assert node.calls == [["disable", "--now", "dphub.service"], ["daemon-reload"]]


@pytest.mark.parametrize(
    ("has_systemd", "uid", "said"),
    [(False, 0, "this node does not run systemd"), (True, 1000, "only root can install or remove a service")],
)
def test_a_node_on_which_no_service_can_be_installed(
    monkeypatch: pytest.MonkeyPatch,
    has_systemd: bool,  # noqa: FBT001 - a parameter of the test
    uid: int,
    said: str,
) -> None:
    """The error says what is missing."""
    monkeypatch.setattr(Path, "is_dir", lambda _: has_systemd)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(HubError, match=said):
        prerequisites.check_systemd(Path("/"))


def test_a_node_without_systemctl(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and nothing is written."""
    monkeypatch.setattr(systemctl.shutil, "which", lambda _: None)
    assert "there is no systemctl" in node.error(INSTALL)
    assert not (node.root / UNIT_FILE).exists()
