"""Formats times and amounts for a terminal, and prints."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import msgspec

from hub.base.exits import Exit
from hub.base.printable import printable_json, printable_lines

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def echo(text: str, *, error: bool = False) -> None:
    """Print a string, each line without control characters; to standard error if `error` is set."""
    click.echo(  # noqa: TID251 - the only call
        printable_lines(text.removesuffix("\n")), err=error
    )


def echo_json(document: object, *, pretty: bool = True) -> None:
    """Print an object as JSON, on one line if it is not `pretty`."""
    encoded = printable_json(msgspec.json.encode(document))
    # Written as bytes: a terminal's encoding must not matter to a program that reads this.
    sys.stdout.buffer.write((msgspec.json.format(encoded) if pretty else encoded) + b"\n")


def examples(*commands: str) -> str:
    """Format commands as the last part of a command's help."""
    return "\n".join(("\b", "Examples:", *(f"  {command}" for command in commands)))


@contextmanager
def click_errors() -> Iterator[None]:
    """Print one line and exit with code 1 if a file cannot be read or output cannot be written."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # A reader such as head has closed the pipe.
        _silence_output()
        sys.exit(Exit.FAILED)
    except OSError as error:
        _silence_output()
        # For standard output, Python sets no file name.
        echo(f"dphub: {error.filename or 'reading or writing failed'}: {error.strerror}", error=True)
        sys.exit(Exit.FAILED)


def _silence_output() -> None:
    """Redirect standard output: at exit, Python flushes what could not be written, and would report the error again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def ago(moment: float) -> str:
    """Format how long ago a Unix time is, in the two largest units: "3 d 4 h"; a dash for 0."""
    return duration(time.time() - moment) if moment else "-"


def moment(seconds: float) -> str:
    """Format a Unix time as local date and time; a time out of range is shown as its number."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


def duration(seconds: float) -> str:
    """Format seconds in the two largest units."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in _UNITS:
        if left >= size or parts or unit == "s":
            parts.append(f"{left // size} {unit}")
            left %= size
        if len(parts) == 2:  # noqa: PLR2004 - as the docstring says
            break
    return " ".join(part for n, part in enumerate(parts) if n == 0 or not part.startswith("0 "))


def megabytes(size: int | None) -> str:
    """Format bytes as megabytes; a dash if they are unknown."""
    return "-" if size is None else f"{size / 1e6:.0f} MB"
