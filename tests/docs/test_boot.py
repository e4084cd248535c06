"""docs/boot.md: the unit has what the page says, and its commands are understood."""

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from hub.base.paths import PLUGIN_DIR, RUN_DIR
from hub.cli import cli
from hub.cli.commands import service
from hub.cli.systemd.kubelets import KUBELETS
from hub.cli.systemd.unit import ENVIRONMENT, Unit
from hub.supervisor import systemd
from tests.docs.pages import ROOT, Page
from tests.harness.systemd import settings

PAGE = Page("docs/boot.md")
UNIT = Unit(KUBELETS[0], ("/opt/dphub/bin/dphub",), service.CONFIG, PLUGIN_DIR, RUN_DIR)

NOT_RUN = {
    "python3 -m venv /opt/dphub": "is outside of the checkout; tests/deploy/test_release.py installs the wheel",
    "/opt/dphub/bin/pip install ": "is outside of the checkout; tests/deploy/test_release.py installs the wheel",
    "mkdir --parents /etc/dphub": "is outside of the checkout",
    "cp container/base/": "copies to /etc/dphub; the files are looked for below",
    "systemctl status dphub": "needs a node with systemd",
    ".venv/bin/python -m tests.harness.boots ": "takes minutes; tests/integration/hub boots a few times",
}
DPHUB = [command for command in PAGE.commands if command.startswith("/opt/dphub/bin/dphub ")]


def test_every_command_is_known_to_these_tests() -> None:
    """Each command, including one that is added to the page later, is checked or has a reason why it is not."""
    assert [command for command in PAGE.commands if not command.startswith((*NOT_RUN, "/opt/dphub/bin/dphub "))] == []


@pytest.mark.parametrize("command", DPHUB)
def test_every_command_is_understood(command: str) -> None:
    """`dphub` has the command and its options."""
    _, name, *words = shlex.split(command)
    found = cli.get_command(click.Context(cli), name)
    assert found
    found.make_context(name, list(words), parent=click.Context(cli))


def test_the_files_that_are_copied_exist() -> None:
    """The copied files exist, and the file that the service reads is one of them."""
    (command,) = [command for command in PAGE.commands if command.startswith("cp ")]
    names = {path.name for pattern in shlex.split(command)[1:-1] for path in ROOT.glob(pattern)}
    assert {service.CONFIG.name, "gpu.yaml"} <= names
    assert shlex.split(command)[-1] == f"{service.CONFIG.parent}/"


def test_every_kubelet_is_documented() -> None:
    """The page lists the kubelets in the command's order, with the directory of the one that has its own."""
    table = PAGE.table("unit")
    assert re.findall("`([^`]+)`", " ".join(cells[0] for cells in table)) == [each.unit for each in KUBELETS]
    for kubelet in KUBELETS:
        (where,) = [cells[1] for cells in table if f"`{kubelet.unit}`" in cells[0]]
        assert (f"`{kubelet.root}`" in where) == (kubelet.root != Path("/var/lib/kubelet"))


def test_every_setting_is_in_the_unit() -> None:
    """The unit has each setting with the value that the page shows."""
    found = settings(UNIT.text)
    for cells in PAGE.table("setting"):
        key, _, value = re.findall("`([^`]+)`", cells[0])[0].partition("=")
        assert (found[key] == [value]) if value else (found[key] == [KUBELETS[0].unit]), key


def test_the_times_are_documented() -> None:
    """The hub is ready before systemd would give up on it."""
    assert systemd.READY_TIMEOUT == 60
    assert "by a minute at most" in PAGE.words
    assert float(settings(UNIT.text)["TimeoutStartSec"][0]) > systemd.READY_TIMEOUT


def test_the_file_for_variables_is_documented() -> None:
    """The page names the unit's file for variables."""
    assert f"`{ENVIRONMENT}`" in PAGE.text
    assert settings(UNIT.text)["EnvironmentFile"] == [f"-{ENVIRONMENT}"]


def test_what_the_status_says_is_quoted() -> None:
    """The page quotes the words of the code."""
    (said,) = re.findall("`(the node's service [^`]+)`", PAGE.words)
    tree = ast.parse((ROOT / "hub/status/problems.py").read_text(encoding="utf-8"))
    parts = [
        [part.value for part in node.values if isinstance(part, ast.Constant)]
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
    ]
    (found,) = [each for each in parts if each and str(each[0]).startswith("the node's service")]
    assert all(str(part) in said for part in found)
