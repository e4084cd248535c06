"""What goes wrong in plugin code, in words that fit into a log, a state file and a message to the kubelet."""

import re
from collections.abc import Callable
from typing import Any, Self

from hub import Host
from hub.base.errors import HubError
from hub.base.place import place_of_error, place_of_function

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MAX_REPR = 200


class PluginError(Exception):
    """Plugin code did not do what it was called for; the text says what happened instead, and where."""

    @classmethod
    def of(cls, error: BaseException, method: Callable[..., Any]) -> Self:
        """The failure of a method of the plugin that this error ended.

        Where the error comes from the hub's check of what the method returned, the place is the method's.
        """
        failure = cls(
            printable(f"{method_name(method)} failed{_at(error, method)}: {_described(error, _host(method))}")
        )
        failure.__cause__ = error
        return failure


class PluginTimeout(PluginError):
    """Plugin code has not returned within its limit; the text says where it is.

    Args:
        method: What was called.
        limit: Seconds.
        place: The line of the author's code that it is in.
    """

    def __init__(self, method: Callable[..., Any], limit: float, place: str) -> None:
        where = f"; it is at {place}" if place else ""
        super().__init__(f"{method_name(method)} has not returned within {limit:.3g} s{where}")


def explain(error: BaseException) -> str:
    """An error of an author's code in one line: where it was raised, its type, its text, and what to do if known."""
    place = _at(error).strip()
    return printable(f"{place}: {_described(error)}" if place else _described(error))


def method_name(method: Callable[..., Any]) -> str:
    """What an author calls a method."""
    return f"{getattr(method, '__name__', type(method).__name__)}()"


def printable(text: object) -> str:
    """A foreign text as one that UTF-8 can carry, which names of files need not be, and that can be told twice.

    The address of an object makes a text new each time, and so a log line and a change of state.
    """
    return _ADDRESS.sub("", str(text)).encode(errors="backslashreplace").decode()


def short_repr(value: object) -> str:
    """Return the `repr` of a value, cut to fit into a line, and the same each time."""
    text = printable(repr(value))
    return text if len(text) <= _MAX_REPR else f"{text[:_MAX_REPR]}..."


def _at(error: BaseException, method: Callable[..., Any] | None = None) -> str:
    """The place with a word before it. What a `HubError` is about is an input, which its text names, and no code."""
    place = "" if isinstance(error, HubError) else place_of_error(error) or place_of_function(method)
    return f" at {place}" if place else ""


def _host(method: Callable[..., Any]) -> Host | None:
    """The node's file system that a method of a plugin works with."""
    host = getattr(getattr(method, "__self__", None), "host", None)
    return host if isinstance(host, Host) else None


def _described(error: BaseException, host: Host | None = None) -> str:
    words = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, HubError):
        return words
    kind = type(error).__name__
    return (f"{kind}: {words}" if words else kind) + _advice(error, host)


def _advice(error: BaseException, host: Host | None) -> str:
    if not isinstance(error, (TypeError, AttributeError, ImportError, FileNotFoundError)):
        return ""
    from hub.base.advice import advice  # noqa: PLC0415 - the processes of a reset, and plugins that work, need none

    return advice(error, host)
