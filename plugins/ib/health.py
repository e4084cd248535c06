"""Whether the ports of an HCA are up: what sysfs says, not believed at once."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from plugins.ib.facts import Hca, Port
from plugins.ib.settings import PortRule

GOOD_STATES = {"ACTIVE", "ACTIVE_DEFER"}

PortName = tuple[str, int]
"""A device's name and a port's number."""


class PortWatch:
    """Remembers since when each port is down. Used by the scans and by the watch, in their threads.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._down: dict[PortName, float] = {}
        self._seen: set[PortName] = set()

    def see(self, states: Mapping[PortName, tuple[str, str]]) -> None:
        """Take in the states of all ports."""
        now = self._clock()
        with self._lock:
            for port, (state, _) in states.items():
                if state in GOOD_STATES:
                    self._down.pop(port, None)
                else:
                    # A port that was never seen up has been down all along.
                    self._down.setdefault(port, now if port in self._seen else float("-inf"))
            for gone in self._seen - states.keys():
                self._down.pop(gone, None)
            self._seen = set(states)

    def counting(self, patience: Iterable[float]) -> frozenset[tuple[PortName, float]]:
        """The ports that have been down for so many seconds, for each of these numbers."""
        now = self._clock()
        with self._lock:
            return frozenset(
                (port, seconds) for port, since in self._down.items() for seconds in patience if now - since >= seconds
            )

    def fault(self, hca: Hca, rule: PortRule, patience: float) -> str:
        """Why an HCA cannot be used; empty when it can.

        Args:
            hca: The HCA.
            rule: Which of its ports have to be up.
            patience: Seconds that a port may be down before it counts.
        """
        if rule is PortRule.NONE:
            return ""
        if not hca.ports:
            return f"{hca.name} has no ports"
        counting = self.counting([patience])
        bad = [port for port in hca.ports if ((hca.name, port.number), patience) in counting]
        enough = len(bad) < len(hca.ports) if rule is PortRule.ANY else not bad
        return "" if enough else "; ".join(_words(hca, port) for port in bad)


def _words(hca: Hca, port: Port) -> str:
    return f"port {port.number} of {hca.name} is {port.state or 'in no state'} ({port.phys_state or 'unknown'})"
