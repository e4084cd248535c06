"""docs/verify.md: every rule is explained, and every command works."""

import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from hub.base.exits import Exit
from hub.cli import cli
from hub.testing.conformance import GROUPS, RULES, Level, Limits
from tests.docs.pages import Page
from tests.docs.terminal import environment, typed
from tests.harness.project import PROJECT

PAGE = Page("docs/verify.md")

PLUGIN = f"""#!/bin/sh
[ "$1" = --plugin-dir ] && directory=$2
exec {sys.executable} -m tests.integration.verify.process "${{directory:-/var/lib/kubelet/device-plugins}}"
"""
"""A plugin with a flag for its directory; without the flag, the directory is fixed."""

TYPED = [command for command in PAGE.commands if "-- ./my-plugin" in command]
(MOUNTING,) = [command for command in PAGE.commands if "unshare" in command]
NOT_TYPED = {
    "python3 -m venv ": "tests/deploy installs the package in this way",
    "sudo ~/dphub/bin/dphub verify --plugin-dir ": "tests/integration/verify/test_command.py has one",
    "dphub verify --socket /tmp/node/device-plugins/my-plugin.sock": "tests/integration/verify/test_rules.py has one",
    "docker run ": "needs a container runtime",
}
"""Commands that are not typed here, and why; those of `dphub verify` are understood."""

UNSHARE = "unshare --mount --map-root-user"


def _section(name: str) -> str:
    """Return the text below the heading of a rule, in one line."""
    after = PAGE.text.partition(f"\n#### {name}\n")[2]
    return " ".join(re.split(r"^#", after, maxsplit=1, flags=re.MULTILINE)[0].split())


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_explained(name: str) -> None:
    """The page has its level, what happens otherwise, where that is implemented, and how to fix a plugin."""
    rule = RULES[name]
    what, _, fix = _section(name).partition(" - Fix: ")
    what, _, checked = what.partition(" - Checked: ")
    assert what == f"**{rule.level}**: {rule.title} - Why: {rule.reason} - Source: {rule.source}."
    assert not checked or checked.endswith(".")
    assert re.match(r"[A-Z`].+\.$", fix)


def test_no_rule_is_explained_that_does_not_exist() -> None:
    """The page explains exactly the rules that exist, in the order in which they are checked."""
    assert re.findall(r"^#### (.+)$", PAGE.text, re.MULTILINE) == list(RULES)
    groups = re.findall(r"^### (.+)$", PAGE.text.partition("\n## The rules\n")[2], re.MULTILINE)
    assert [name.lower() for name in groups] == [name.lower() for name in GROUPS]


def test_levels_and_exit_codes() -> None:
    """The tables have all levels and all exit codes."""
    assert [cells[0] for cells in PAGE.table("level")] == list(Level)
    assert [int(cells[0]) for cells in PAGE.table("exit code")] == [Exit.OK, Exit.FAILED, Exit.USAGE]


def test_limits() -> None:
    """The table has the limits of a check, in their order; how long the check watches is not a limit."""
    limits = [value for name, value in asdict(Limits()).items() if name not in {"watch", "settle"}]
    assert [float(cells[1]) for cells in PAGE.table("limit")] == limits


def test_every_command_is_known_to_these_tests() -> None:
    """Each command is typed here or has a reason why it is not, including one that is added later."""
    known = (*TYPED, MOUNTING, *NOT_TYPED)
    assert [command for command in PAGE.commands if not command.startswith(known)] == []


@pytest.mark.parametrize("command", [text for text in PAGE.commands if text.startswith("dphub verify")])
def test_the_flags_are_understood(command: str) -> None:
    """`dphub verify` accepts each command line."""
    found = cli.get_command(click.Context(cli), "verify")
    assert found
    found.make_context("verify", shlex.split(command)[2:])


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """Create a directory with the reader's plugin."""
    path = tmp_path / "my-plugin"
    path.write_text(PLUGIN)
    path.chmod(0o755)
    return tmp_path


def _shortened(command: str) -> str:
    """Limit a command to one rule, and allow it 20 times as long, for a busy machine."""
    rule = "changes-everywhere" if "--change" in command else "registers"
    chosen = "" if "--rule" in command else f"--rule {rule} "
    return re.sub(r"--slow \d+ ", "", command).replace("dphub verify ", f"dphub verify {chosen}--slow 20 ", 1)


@pytest.mark.parametrize("command", TYPED)
def test_the_commands_work(plugin: Path, command: str) -> None:
    """Each command passes on a plugin that follows the rules."""
    shown = typed(_shortened(command), plugin, PYTHONPATH=str(PROJECT))
    assert re.search(r", 0 failed, 0 skipped$", shown, re.MULTILINE), shown


def test_a_fixed_directory_is_mounted_for_the_plugin(plugin: Path) -> None:
    """Only the plugin sees the mount."""
    if subprocess.run([*UNSHARE.split(), "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not create mounts")
    # The directory need not exist on this machine.
    prepared = f"mount -t tmpfs none /var/lib && mkdir /var/lib/kubelet && {_shortened(MOUNTING)}"
    shown = typed(f"{UNSHARE} sh -c {shlex.quote(prepared)}", plugin, PYTHONPATH=str(PROJECT))
    assert ", 0 failed, 0 skipped" in shown


def test_the_output_that_is_shown(plugin: Path) -> None:
    """A plugin with a wrong word gets the output on the page."""
    broken = (plugin / "my-plugin").read_text().replace('-plugins}"', '-plugins}" health-words')
    (plugin / "my-plugin").write_text(broken)
    (block,) = PAGE.of("text")
    rules = " ".join(f"--rule {line.split()[2]}" for line in block.splitlines() if not line.startswith(" "))
    done = subprocess.run(
        ["bash", "-c", f"dphub verify {rules} --slow 20 -- ./my-plugin --plugin-dir {{plugin_dir}}"],
        cwd=plugin,
        env=environment(PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.FAILED, done
    assert " ".join(block.split()) in " ".join(done.stdout.split())
