"""The files around the code: continuous integration, hooks, and templates for reports."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from hub.cli import cli
from tests.docs.docs_tools import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").iterdir())
HOOKS = [
    hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]
]

BARE = "apt-get update && apt-get install --yes --no-install-recommends "
"""The one command besides make that a workflow may run: an image has fewer packages than a fresh machine."""


def _jobs() -> Iterator[dict[str, Any]]:
    for path in WORKFLOWS:
        yield from yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()


def _steps() -> Iterator[dict[str, Any]]:
    for job in _jobs():
        yield from job["steps"]


def test_continuous_integration_runs_what_developers_run() -> None:
    """Each command is a target of the Makefile, and `make test` is one of them."""
    commands = [step["run"] for step in _steps() if "run" in step]
    made = [command.removeprefix("make ") for command in commands if not command.startswith(BARE)]
    assert "test" in made
    assert set(made) <= TARGETS


def test_continuous_integration_covers_each_distribution() -> None:
    """It runs on every distribution that the project promises to support."""
    images = [image for job in _jobs() for image in job["strategy"]["matrix"]["image"]]
    assert images == ["debian:12", "debian:13", "ubuntu:24.04"]


def test_continuous_integration_has_no_more_permissions_than_it_needs() -> None:
    """It reads the source, leaves no token in the checkout, and runs third-party actions only by their commit."""
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in workflow["jobs"].values())
    actions = [step for step in _steps() if "uses" in step]
    assert [step for step in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])] == []
    assert all(step["with"]["persist-credentials"] is False for step in actions if "checkout" in step["uses"])


def test_the_hooks_are_the_quick_part_of_make_test() -> None:
    """The hooks run all of it except the tests themselves; whatever is added to `make test` is added to the hooks."""
    (parts,) = re.findall(r"^test:((?: [a-z-]+)+) ##", MAKEFILE, re.MULTILINE)
    hooks = [hook["entry"] for hook in HOOKS if hook["language"] == "system"]
    assert hooks == [f"make {part}" for part in parts.split() if part != "tests"]


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("x" * 72 + "\n", False),
        ("x" * 73 + "\n", True),
        ("Short\n\n" + "x" * 100 + "\n", False),
        ("\n# a comment of the editor\n", False),
    ],
)
def test_a_long_subject_is_refused(message: str, refused: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The first line has at most 72 characters; the body may have long lines, such as output."""
    (hook,) = [hook for hook in HOOKS if hook["language"] == "pygrep"]
    assert (hook["args"], hook["stages"]) == (["--multiline"], ["commit-msg"])
    # As pre-commit does with --multiline.
    assert bool(re.search(hook["entry"].encode(), message.encode(), re.MULTILINE | re.DOTALL)) is refused


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_commands_that_exist(path: Path) -> None:
    """A user who reports something can run the commands that the form requests."""
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    identifiers = [item["id"] for item in form["body"] if item["type"] != "markdown"]
    assert len(identifiers) == len(set(identifiers)) > 0
    texts = "".join(item["attributes"].get("description", "") for item in form["body"])
    for command in re.findall(r"`dphub ([^`]+)`", texts):
        name, *words = shlex.split(command)
        if not name.startswith("-"):
            found = cli.get_command(click.Context(cli), name)
            assert found is not None, command
            found.make_context(name, words)


def test_a_bug_report_has_what_is_needed_to_find_the_cause() -> None:
    """The form requires the status, the versions and the logs."""
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8"))
    required = {item["id"] for item in form["body"] if item.get("validations", {}).get("required")}
    assert {"status", "logs", "versions"} <= required
    assert "`dphub status --json`" in str(form)


def test_files_that_templates_name_exist() -> None:
    """Every path of the project in a template exists."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / ".github").rglob("*") if path.is_file()]
    named = {name for text in texts for name in re.findall(r"[\w./-]+\.md\b", text)}
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
