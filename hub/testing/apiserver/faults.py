"""The faults that the fake API server can simulate."""

from collections.abc import Mapping
from typing import NamedTuple


class Fault(NamedTuple):
    """What happens to a request instead of the normal response."""

    status: int = 0
    """The status code of the response."""
    headers: Mapping[str, str] = {}
    """Such as Retry-After."""
    message: str = "a simulated fault"
    hang: bool = False
    """Whether there is no response at all, and the connection stays open."""
    lose: bool = False
    """Whether the request takes effect and the connection then ends."""
    method: str = ""
    """The method of the requests that it affects; empty for all."""
    path: str = ""
    """A part of the path of the requests that it affects."""

    def concerns(self, method: str, path: str) -> bool:
        """Return whether it affects this request."""
        return self.method in ("", method) and self.path in path


class Faults:
    """The pending faults, each of which affects one request."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault, times: int = 1) -> None:
        """Cause a fault in the next requests that it affects."""
        self._waiting += [fault] * times

    def clear(self) -> None:
        """Remove all faults that have not happened yet."""
        self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Remove the first fault that affects a request, and return it; None if there is none."""
        found = next((each for each in self._waiting if each.concerns(method, path)), None)
        if found:
            self._waiting.remove(found)
        return found
