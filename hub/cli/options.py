"""Options that several commands have."""

from collections.abc import Callable
from typing import Any

import click


def lines_option(text: str, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option `--lines` of a command that shows the latest of something.

    Args:
        text: The help, without the default.
        names: Its names; `-n` and `--lines` by default.
    """
    return click.option(
        *(names or ("-n", "--lines")),
        type=click.IntRange(min=0),
        metavar="N",
        default=100,
        show_default=True,
        help=text,
    )
