"""The gate for requests from the network: a check of the name by which they address the hub, and a budget.

A web page can direct a browser to the hub under a name of its own ("DNS rebinding") and read the responses, even
through a port-forward. That name is never an IP address, and never one of the hub's own names. A request that passes
through the API server's proxy has the API server's name; it is served if a header shows that no page sent it.
"""

import ipaddress
import logging
import os
import time
import traceback
from collections.abc import Iterable
from types import TracebackType

from hub.base.log import get_logger
from hub.supervisor.http.budget import Budget

LOG_INTERVAL = 60.0
"""Seconds between log lines about clients."""

_log = get_logger()


class Gate:
    """Decides which requests from the network are served, and when.

    Args:
        hosts: Names of the hub, in addition to "localhost" and the host's own.
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = {name.lower().rstrip(".") for name in ("localhost", os.uname().nodename, *hosts)}
        self.budget = Budget()
        self._rejections = _Rejections()
        # Clients trigger these messages, and could fill the hub's log with them.
        library = logging.getLogger("tornado")
        library.handlers = [self._rejections]
        library.propagate = False

    def accepts(self, host: str, *, by_page: bool = True) -> bool:
        """Return whether a request's Host header, without the port, is an address or a name of the hub.

        Args:
            host: The name in the header; empty if there is none.
            by_page: Whether a web page may have sent the request; otherwise, any name is accepted.
        """
        name = host.lower().rstrip(".")
        if not by_page or name in self._hosts or is_address(name.removeprefix("[").removesuffix("]")):
            return True
        self._rejections.add()
        return False


def is_address(name: str) -> bool:
    """Return whether a host is named by its IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_ours(trace: TracebackType | None) -> bool:
    """Return whether code of the hub was running when an exception was raised."""
    packages = (str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in traceback.walk_tb(trace))
    return __name__.partition(".")[0] in packages


class _Rejections(logging.Handler):
    """Counts the errors of clients, and occasionally logs their number instead of each one."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        self.add(record)

    def add(self, record: logging.LogRecord | None = None) -> None:
        """Count a rejected request, or an error in the hub's own code, which is logged with its traceback.

        Tornado itself fails on some requests, such as one for a port of thousands of digits: these count as rejected.
        """
        self._count += 1
        now = time.monotonic()
        if now < self._next:
            return
        if record and record.exc_info and _is_ours(record.exc_info[2]):
            _log.error("http request failed", count=self._count, exc_info=record.exc_info)
        else:
            _log.warning("http requests rejected", count=self._count)
        self._count, self._next = 0, now + LOG_INTERVAL
