"""Options that several commands have."""

from collections.abc import Callable
from typing import Any

import click

from hub.base.printable import printable

LONGEST_TEXT = 500
"""Maximum length in characters of a string that becomes part of a status line; plugins and the hub accept more."""


def lines_option(text: str, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the `--lines` option of a command that shows only the latest entries.

    Args:
        text: The help, without the default.
        names: The names of the option; `-n` and `--lines` by default.
    """
    return click.option(
        *(names or ("-n", "--lines")),
        type=click.IntRange(min=0),
        metavar="N",
        default=100,
        show_default=True,
        help=text,
    )


def status_text(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """Check and clean a string that becomes part of a status line: the callback of an option.

    Raises:
        click.BadParameter: it is too long.
    """
    if len(text) > LONGEST_TEXT:
        raise click.BadParameter(f"it has {len(text)} characters; at most {LONGEST_TEXT} are allowed")
    return printable(text)
