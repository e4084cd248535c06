"""The command line of `dphub report`."""

import pytest
from click.testing import CliRunner

from hub.cli import cli

_USUAL = ["--source", "memory-test", "--reason", "row 7 is bad"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--reason", "x"], "Missing option '--source'"),
        (["--source", " ", "--reason", "x"], "Invalid value for --source: it is empty"),
        (["--source", "x"], "expected either --reason, which must not be empty, or --withdraw"),
        ([*_USUAL, "--withdraw"], "expected either --reason"),
        (["--source", "x", "--withdraw", "--for", "1h"], "--until, --for and --withdraw cannot be combined"),
        ([*_USUAL, "--until", "2030-01-01T00:00:00Z", "--for", "1h"], "cannot be combined"),
        ([*_USUAL, "--until", "tomorrow"], 'it is "tomorrow", expected a time with a time zone, such as 2030'),
        ([*_USUAL, "--until", "2030-01-01T00:00:00"], "expected a time with a time zone"),
        ([*_USUAL, "--for", "1.5h"], 'it is "1.5h", expected a number and a unit (s, m, h or d), such as 12h'),
        ([*_USUAL, "--for", "999999999d"], "is too long; without this option, the report does not expire"),
        (["--source", "x" * 501, "--reason", "x"], "it has 501 characters; at most 500 are allowed"),
    ],
    ids=[
        *("source", "empty", "reason", "both", "withdraw-for", "until-for"),
        *("time", "time-zone", "duration", "long-duration", "long-source"),
    ],
)
def test_a_command_line_that_makes_no_sense(options: list[str], problem: str) -> None:
    """It is rejected before anything is sent, and the error says what was expected."""
    result = CliRunner().invoke(cli, ["report", "stub-1", *options], prog_name="dphub", env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert problem in result.stderr
