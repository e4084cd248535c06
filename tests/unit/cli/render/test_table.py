"""Tables on a terminal."""

import io

from rich.console import Console
from rich.text import Text

from hub.cli.render.table import Column, Table


def test_cells_keep_their_colours() -> None:
    """On a terminal, a cell has the style of its text, or the table's style if it has none of its own."""
    table = Table(Column("health"), Column("why"), style="dim")
    table.add(Text("unhealthy", "red"), "the fan is loud")
    screen = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    screen.print(table)
    assert isinstance(screen.file, io.StringIO)
    assert "\x1b[2;31munhealthy" in screen.file.getvalue()
    assert "\x1b[2mthe fan is loud" in screen.file.getvalue()
