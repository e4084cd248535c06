"""Tables that fit any terminal: columns for which there is no room move below their row.

rich's own tables measure each cell several times, which takes half a minute for ten thousand devices, and they break
words where they are too narrow.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from hub.base.printable import printable

_GAP = 2
_INDENT = 2
_NOTHING = ("", "-")

Cell = str | Text
"""The content of a cell. Its control characters are replaced, because it may be external text."""

_Line = list[Segment]
_Widths = Mapping[int, int]
"""Keyed by the number of the column; columns without a width are shown below the rows."""


class Column(NamedTuple):
    """One column."""

    title: str
    min_width: int = 0
    """The minimum width, to which it may shrink by wrapping its text; 0 if it never wraps."""
    leaves: int = 0
    """If the table is too wide, the columns with the highest number move below first; those with 0 stay."""
    label: str | None = None
    """The label of its text below a row, if not the title."""
    below: bool = False
    """Whether it is always below the row."""


class Table:
    """Rows of cells, and a header if the columns have titles.

    Args:
        columns: The columns.
        style: The style of the whole table.
    """

    def __init__(self, *columns: Column, style: str = "") -> None:
        self._columns = columns
        self._style = style
        self._rows: list[Sequence[Cell]] = []

    def add(self, *cells: Cell) -> None:
        """Add a row."""
        self._rows.append([_printable(cell) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style(self._style) if self._style else None
        for line in self._lines(console, options.max_width):
            yield from Segment.apply_style(line, style)
            yield Segment.line()

    def _lines(self, console: Console, room: int) -> Iterator[_Line]:
        widths = self._layout(room)
        dim = console.get_style("dim")
        rule = "-" if console.options.ascii_only else "─"
        if any(column.title for column in self._columns):
            yield _joined([[Segment(self._columns[at].title, dim)] for at in widths], widths)
            yield [Segment(rule * min(room, _total(widths.values())), dim)]
        for row in self._rows:
            cells = [_split(console, row[at], width, self._columns[at].min_width) for at, width in widths.items()]
            for number in range(max(map(len, cells))):
                yield _joined([cell[number] if number < len(cell) else [] for cell in cells], widths)
            if len(widths) < len(self._columns):
                yield from self._below(console, row, widths, room)

    def _below(self, console: Console, row: Sequence[Cell], widths: _Widths, room: int) -> Iterator[_Line]:
        text = Text()
        for at, column in enumerate(self._columns):
            said = row[at]
            if at in widths or str(said) in _NOTHING:
                continue
            label = column.title if column.label is None else column.label
            text.append(", " if text else "").append(f"{label} " if label else "", "dim").append(said)
        if text:
            for line in _split(console, text, room - _INDENT, 1):
                yield [Segment(" " * _INDENT), *line]

    def _layout(self, room: int) -> _Widths:
        """Choose the columns for which there is room, and their widths."""
        shown = [at for at, column in enumerate(self._columns) if not column.below]
        natural = {at: self._natural(at) for at in shown}
        widths = {at: min(natural[at], self._columns[at].min_width or natural[at]) for at in shown}
        for at in sorted(shown, key=lambda at: -self._columns[at].leaves):
            if _total(widths.values()) <= room or not self._columns[at].leaves:
                break
            del widths[at]
        spare = max(0, room - _total(widths.values()))
        # The columns that need the least space come first, and leave the rest to the others.
        lacking = sorted(widths, key=lambda at: natural[at] - widths[at])
        for place, at in enumerate(lacking):
            more = min(natural[at] - widths[at], spare // (len(lacking) - place))
            widths[at] += more
            spare -= more
        return widths

    def _natural(self, at: int) -> int:
        return max(cell_len(self._columns[at].title), *(cell_len(str(row[at])) for row in self._rows), 0)


def _printable(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return printable(cell)
    # It has the same number of characters, so the styles of its parts still apply.
    cell.plain = printable(cell.plain)
    return cell


def _total(widths: Collection[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _split(console: Console, cell: Cell, width: int, min_width: int) -> list[_Line]:
    """Split a cell into lines."""
    if not min_width or cell_len(str(cell)) <= width:
        return [_segments(console, cell)]
    text = Text(cell) if isinstance(cell, str) else cell
    lines = text.wrap(console, max(1, width))
    for line in lines:
        line.rstrip()
    return [_segments(console, line) for line in lines]


def _segments(console: Console, cell: Cell) -> _Line:
    if isinstance(cell, str):
        return [Segment(cell)]
    # A Text without spans renders without its own style.
    return list(Segment.apply_style(cell.render(console), console.get_style(cell.style)))


def _joined(cells: Sequence[_Line], widths: _Widths) -> _Line:
    """Join the columns of one line, without trailing spaces."""
    line: _Line = []
    lacking = 0
    for cell, width in zip(cells, widths.values(), strict=True):
        used = sum(segment.cell_length for segment in cell)
        if used:
            line += [Segment(" " * lacking), *cell] if lacking else cell
            lacking = 0
        lacking += width - used + _GAP
    return line
