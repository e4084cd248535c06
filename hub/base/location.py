"""Source locations in a plugin author's code, as "FILE:LINE"."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from pathlib import Path
from types import CodeType, FrameType, TracebackType

_HUB = f"{Path(__file__).parents[1]}/"

_Step = tuple[FrameType, int]
"""A frame and the line in it."""


def location_of_error(error: BaseException) -> str:
    """Return the innermost line of the author's code in an error's traceback; empty if there is none."""
    return _innermost(_raised_through(error.__traceback__))


def location_of_thread(ident: int) -> str:
    """Return the innermost line of the author's code that a running thread is at; empty if there is none."""
    return _innermost(reversed(list(_called_from(sys._current_frames().get(ident)))))  # noqa: SLF001 - the documented way


def location_of_function(function: object) -> str:
    """Return where a function or method is defined; empty if it is the hub's, or not written in Python."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code and not _is_hub(code) else ""


def location_of_class(kind: type) -> str:
    """Return where a class is defined; only its module if Python cannot find the source."""
    try:
        _, line = inspect.getsourcelines(kind)
        return f"{inspect.getsourcefile(kind)}:{line}"
    except (OSError, TypeError):
        return kind.__module__


def location_of_attribute(kind: type, name: str) -> str:
    """Return where a class or one of its bases defines a name; otherwise where the class is defined."""
    owner = next((each for each in kind.__mro__ if name in vars(each)), kind)
    value = vars(owner).get(name)
    function = getattr(value, "__func__", getattr(value, "fget", value))
    return location_of_function(function) or _location_of_assignment(owner, name) or location_of_class(kind)


def _raised_through(traceback: TracebackType | None) -> Iterator[_Step]:
    while traceback:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _called_from(frame: FrameType | None) -> Iterator[_Step]:
    while frame:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _innermost(steps: Iterable[_Step]) -> str:
    """Return the last step in the package or directory of the code that the hub calls.

    Deeper steps may be in a library, whose lines do not help the author.
    """
    theirs = list(dropwhile(lambda step: not _is_foreign(step[0]), steps))
    if not theirs:
        return ""
    home = theirs[0][0]
    frame, line = [step for step in theirs if _is_foreign(step[0]) and _are_together(home, step[0])][-1]
    return f"{frame.f_code.co_filename}:{line}"


def _is_foreign(frame: FrameType) -> bool:
    """Return whether a frame is in a file that belongs neither to the hub nor to Python."""
    file = frame.f_code.co_filename
    return not (_is_hub(frame.f_code) or file.startswith("<") or _package(frame) in sys.stdlib_module_names)


def _is_hub(code: CodeType) -> bool:
    return code.co_filename.startswith(_HUB)


def _are_together(one: FrameType, other: FrameType) -> bool:
    same_directory = Path(one.f_code.co_filename).parent == Path(other.f_code.co_filename).parent
    return same_directory or _package(one) == _package(other)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _location_of_assignment(kind: type, name: str) -> str:
    try:
        lines, first = inspect.getsourcelines(kind)
        (body,) = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""
    for statement in getattr(body, "body", ()):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return f"{inspect.getsourcefile(kind)}:{first + statement.lineno - 1}"
    return ""
