"""What the command line prints about itself."""

import re
import shlex
from itertools import takewhile

import click
import pytest
from click.testing import CliRunner, Result

from hub.base.exits import Exit
from hub.base.paths import RUN_DIR, RunDir
from hub.cli import COMMANDS, SECTIONS, cli
from hub.cli.topics import TOPICS


def _dphub(*words: str) -> Result:
    return CliRunner().invoke(cli, words, prog_name="dphub", env={"COLUMNS": "200"})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """-h, --help and `dphub help` show the same help, with examples."""
    shown = _dphub(name, "-h")
    assert (shown.exit_code, "Examples:" in shown.output) == (0, True), shown.output
    assert _dphub(name, "--help").output == shown.output
    assert _dphub("help", name).output == shown.output


def test_help_does_not_depend_on_what_was_asked_before() -> None:
    """A command has -h even if it was first looked up in a context that has only --help."""
    command = cli.get_command(click.Context(cli), "status")
    assert command
    assert "--help" in command.get_help(click.Context(command))
    assert _dphub("status", "-h").exit_code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_can_be_typed(name: str) -> None:
    """Its command, options and arguments exist."""
    _, _, examples = _dphub(name, "-h").output.partition("Examples:\n")
    for line in examples.strip().splitlines():
        words = shlex.split(re.sub(r'eval "\$\((.*)\)"', r"\1", line), comments=True)
        _, command, *arguments = takewhile(lambda word: word not in {"|", "&&", ">"}, words)
        found = cli.get_command(click.Context(cli), command)
        assert found is not None, line
        found.make_context(command, arguments, parent=click.Context(cli, **cli.context_settings))


def test_all_commands_and_topics_are_listed() -> None:
    """`dphub help` is `dphub --help`; the help of `help` has all topics."""
    listed = _dphub("help").output
    assert listed == _dphub("--help").output
    assert [name for section in SECTIONS.values() for name in section if f"  {name} " not in listed] == []
    assert [name for name in TOPICS if name not in _dphub("help", "-h").output] == []


def test_topics() -> None:
    """Exit codes, files and variables match the code."""
    codes = " ".join(_dphub("help", "exit-codes").output.split())
    assert [code for code in Exit if f"{code.value}" not in codes or code.meaning not in codes] == []
    files = _dphub("help", "files").output
    assert RunDir(RUN_DIR, "INSTANCE").hub_report.name in files
    variables = _dphub("help", "environment").output
    for name in ("DPHUB_RUN_DIR", "DPHUB_PLUGIN_DIR", "DPHUB_HTTP", "DPHUB_HOST_ROOT"):
        assert name in variables
    assert "dphub uncordon" in _dphub("help", "device-health").output


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["dmeo"], "did you mean demo?"),
        (["STATUS"], "did you mean status?"),
        (["help", "exit-code"], "did you mean exit-codes?"),
        (["status", "--jsn"], "Did you mean '--json'?"),
    ],
)
def test_a_typo(words: list[str], meant: str) -> None:
    """The error suggests the word that was probably meant."""
    ended = _dphub(*words)
    assert (ended.exit_code, meant in ended.output) == (Exit.USAGE, True), ended.output


def test_a_word_without_a_similar_name() -> None:
    """Nothing is suggested."""
    ended = _dphub("xyzzy")
    assert (ended.exit_code, "there is no command xyzzy\n" in ended.output) == (Exit.USAGE, True), ended.output


@pytest.mark.parametrize("words", [["cordon"], ["restart"], ["stop"], ["log-level", "stub"], ["completion"]])
def test_an_argument_that_is_missing(words: list[str]) -> None:
    """It is named, and so is the way to the help."""
    ended = _dphub(*words)
    assert (ended.exit_code, "Missing argument" in ended.output) == (Exit.USAGE, True), ended.output
    assert f"Try 'dphub {words[0]} --help' for help." in ended.output
