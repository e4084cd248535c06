"""Decide whether the ports of an HCA are up, debounced, so that short interruptions do not count."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from plugins.ib.discovery.facts import Hca, Port
from plugins.ib.settings import PoolHealth, PortRule

GOOD_STATES = {"ACTIVE", "ACTIVE_DEFER"}

PortName = tuple[str, int]
"""A device name and a port number."""


@dataclass
class _History:
    """When a port last went down and came up again; -inf if it has been down since it was first seen."""

    down_since: float
    up_since: float | None = None

    def is_down(self, rule: PoolHealth, now: float) -> bool:
        """Return whether the port counts as down: after `rule.down` seconds, until up again for `rule.up` seconds."""
        if self.up_since is None:
            return now - self.down_since >= rule.down
        return self.up_since - self.down_since >= rule.down and now - self.up_since < rule.up


class PortWatch:
    """The times when each port went down or came up. Scans and the watch record and read them in their own threads.

    Args:
        clock: A monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._histories: dict[PortName, _History] = {}
        self._seen: set[PortName] = set()

    def update(self, states: Mapping[PortName, tuple[str, str]]) -> None:
        """Record the states of all ports."""
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
                    # A port that has never been seen up counts as down from the start.
                    self._histories[port] = _History(now if port in self._seen else float("-inf"))
            self._seen = set(states)

    def ports_down(self, rules: Iterable[PoolHealth]) -> frozenset[tuple[PortName, PoolHealth]]:
        """Return the ports that count as down, by each of these rules."""
        now = self._clock()
        with self._lock:
            histories = dict(self._histories)
        return frozenset(
            (port, rule) for rule in rules for port, known in histories.items() if known.is_down(rule, now)
        )

    def fault(self, hca: Hca, required: PortRule, rule: PoolHealth) -> str:
        """Return why an HCA cannot be used; empty if it can. The ports of a hidden HCA are left to its pod.

        Args:
            hca: The HCA.
            required: Which of its ports must be up.
            rule: When a port counts as down.
        """
        if required is PortRule.NONE or hca.hidden:
            return ""
        if not hca.ports:
            return f"{hca.name} has no ports"
        down = self.ports_down([rule])
        bad = [port for port in hca.ports if ((hca.name, port.number), rule) in down]
        enough = len(bad) < len(hca.ports) if required is PortRule.ANY else not bad
        return "" if enough else "; ".join(_words(hca, port, rule) for port in bad)


def _words(hca: Hca, port: Port, rule: PoolHealth) -> str:
    if port.state in GOOD_STATES:
        return f"port {port.number} of {hca.name} was down, and must first be {port.state} for {rule.up:g} s"
    return f"port {port.number} of {hca.name} is {port.state or 'in an unknown state'} ({port.phys_state or 'unknown'})"
