"""Failures of plugin code, as strings for the log, a report and a message to the kubelet."""

import re
from collections.abc import Callable
from typing import Any, Self

from hub import Host
from hub.base.errors import HubError
from hub.base.location import location_of_error, location_of_function
from hub.base.printable import printable

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MAX_REPR = 200


class PluginError(Exception):
    """A call to plugin code failed; the text says what happened, and where."""

    @classmethod
    def of(cls, error: BaseException, method: Callable[..., Any]) -> Self:
        """Create the failure of a method of the plugin from the error that it raised.

        If the hub's check of the return value raised the error, the location is where the method is defined.
        """
        failure = cls(one_line(f"{method_name(method)} failed{_at(error, method)}: {_described(error, _host(method))}"))
        failure.__cause__ = error
        return failure


class PluginTimeout(PluginError):
    """A call to plugin code has not returned in time; the text says which line it is at.

    Args:
        method: The method that was called.
        limit: Seconds.
        location: The line of the author's code that the call is at.
    """

    def __init__(self, method: Callable[..., Any], limit: float, location: str) -> None:
        where = f"; it is at {location}" if location else ""
        super().__init__(f"{method_name(method)} did not return within {limit:.3g} s{where}")


def explain(error: BaseException) -> str:
    """Return an error in an author's code on one line: the location, the type, the text, and advice if there is any."""
    location = _at(error).strip()
    return one_line(f"{location}: {_described(error)}" if location else _described(error))


def method_name(method: Callable[..., Any]) -> str:
    """Return the name of a method as its author writes it."""
    return f"{getattr(method, '__name__', type(method).__name__)}()"


def one_line(text: object) -> str:
    """Return an external string as one line, without characters that UTF-8 cannot encode, and without object addresses.

    File names need not be UTF-8. An address would make each string different, so that each would count as a change.
    """
    return printable(_ADDRESS.sub("", str(text)).encode(errors="backslashreplace").decode())


def short_repr(value: object) -> str:
    """Return the `repr` of a value, truncated to fit on one line, and the same every time."""
    text = one_line(repr(value))
    return text if len(text) <= _MAX_REPR else f"{text[:_MAX_REPR]}..."


def _at(error: BaseException, method: Callable[..., Any] | None = None) -> str:
    """Return " at LOCATION". A `HubError` has none: it is about an input, which its text names."""
    location = "" if isinstance(error, HubError) else location_of_error(error) or location_of_function(method)
    return f" at {location}" if location else ""


def _host(method: Callable[..., Any]) -> Host | None:
    """Return the node's file system that a method of a plugin works with, if any."""
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
    from hub.base.advice import advice  # noqa: PLC0415 - reset processes, and plugins without an error, do not need it

    return advice(error, host)
