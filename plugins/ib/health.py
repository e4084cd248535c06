"""Whether the ports of an HCA are up: what sysfs says, not believed at once."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from plugins.ib.discovery.facts import Hca, Port
from plugins.ib.settings import PoolHealth, PortRule

GOOD_STATES = {"ACTIVE", "ACTIVE_DEFER"}

PortName = tuple[str, int]
"""A device's name and a port's number."""


@dataclass
class _History:
    """When a port last went down and came up again; infinitely long ago where it was never seen otherwise."""

    down_since: float
    up_since: float | None = None

    def counts(self, rule: PoolHealth, now: float) -> bool:
        """Whether the port is to be taken for down: after a while, and then until it was up for a while."""
        if self.up_since is None:
            return now - self.down_since >= rule.down
        return self.up_since - self.down_since >= rule.down and now - self.up_since < rule.up


class PortWatch:
    """Remembers since when each port is down, or up again. Used by the scans and by the watch, in their threads.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._histories: dict[PortName, _History] = {}
        self._seen: set[PortName] = set()

    def see(self, states: Mapping[PortName, tuple[str, str]]) -> None:
        """Take in the states of all ports."""
        now = self._clock()
        with self._lock:
            for gone in self._seen - states.keys():
                self._histories.pop(gone, None)
            for port, (state, _) in states.items():
                known = self._histories.get(port)
                if state in GOOD_STATES:
                    if known and known.up_since is None:
                        known.up_since = now
                elif known is None or known.up_since is not None:
                    # A port that was never seen up has been down all along.
                    self._histories[port] = _History(now if port in self._seen else float("-inf"))
            self._seen = set(states)

    def counting(self, rules: Iterable[PoolHealth]) -> frozenset[tuple[PortName, PoolHealth]]:
        """The ports that are to be taken for down, by each of these rules."""
        now = self._clock()
        with self._lock:
            histories = dict(self._histories)
        return frozenset((port, rule) for rule in rules for port, known in histories.items() if known.counts(rule, now))

    def fault(self, hca: Hca, which: PortRule, rule: PoolHealth) -> str:
        """Why an HCA cannot be used; empty when it can.

        Args:
            hca: The HCA.
            which: Which of its ports have to be up.
            rule: When a port is to be taken for down.
        """
        if which is PortRule.NONE:
            return ""
        if not hca.ports:
            return f"{hca.name} has no ports"
        counting = self.counting([rule])
        bad = [port for port in hca.ports if ((hca.name, port.number), rule) in counting]
        enough = len(bad) < len(hca.ports) if which is PortRule.ANY else not bad
        return "" if enough else "; ".join(_words(hca, port, rule) for port in bad)


def _words(hca: Hca, port: Port, rule: PoolHealth) -> str:
    if port.state in GOOD_STATES:
        return f"port {port.number} of {hca.name} was down, and has to be {port.state} for {rule.up:g} s"
    return f"port {port.number} of {hca.name} is {port.state or 'in no state'} ({port.phys_state or 'unknown'})"
