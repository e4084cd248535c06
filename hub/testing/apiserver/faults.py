"""What the fake API server does wrong on request."""

from collections.abc import Mapping
from typing import NamedTuple


class Fault(NamedTuple):
    """What happens to a request instead of its answer."""

    status: int = 0
    """The status code of the answer."""
    headers: Mapping[str, str] = {}
    """Such as Retry-After."""
    message: str = "a fault that was set"
    hang: bool = False
    """Whether there is no answer at all, and the connection stays open."""
    lose: bool = False
    """Whether the request has its effect, and then the connection ends."""
    method: str = ""
    """The method that it concerns; empty for all."""
    path: str = ""
    """A part of the path that it concerns."""

    def concerns(self, method: str, path: str) -> bool:
        """Return whether it happens to this request."""
        return self.method in ("", method) and self.path in path


class Faults:
    """The faults that are still to happen, each to one request."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault, times: int = 1) -> None:
        """Cause a fault in the next requests that it concerns."""
        self._waiting += [fault] * times

    def clear(self) -> None:
        """Remove all faults that have not happened yet."""
        self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that happens to a request, and remove it."""
        found = next((each for each in self._waiting if each.concerns(method, path)), None)
        if found:
            self._waiting.remove(found)
        return found
