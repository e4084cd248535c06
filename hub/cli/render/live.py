"""Shows output once, or keeps it up to date."""

import os
import time
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, RenderableType
from rich.live import Live

PIPE_WIDTH = 1000

REFRESH = 1.0
"""Seconds between updates."""


def show(render: Callable[[], RenderableType], *, watch: bool, every: float = REFRESH) -> None:
    """Print the output once, or keep it on the screen until interrupted.

    Args:
        render: A function that makes the output. An interrupt stops it, too.
        watch: Whether to keep it on the screen.
        every: Seconds between updates.
    """
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # A pipe has no width: text that is searched or copied stays in one piece.
        console.width = PIPE_WIDTH
    if not watch:
        console.print(render())
        return
    # No event loop: it would catch an interrupt, and the command would exit only after the output is made.
    with suppress(KeyboardInterrupt):
        _keep_showing(render, console, every)


def _keep_showing(render: Callable[[], RenderableType], console: Console, every: float) -> None:
    if not console.is_terminal:
        while True:
            console.print(render())
            console.file.flush()
            time.sleep(every)
    with Live(render(), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            live.update(render(), refresh=True)
