"""Whether a physical device can be used: one state machine for all plugins and all reasons.

    state       event                                    next
    ----------  ---------------------------------------  --------------------------------------------------------
    healthy     fail(source, reason)                     unhealthy
    unhealthy   fail(same source, another reason)        unhealthy, since as before
    unhealthy   clear(source), another source remains    unhealthy
    unhealthy   clear(last source)                       recovering, until the quiet time is over
    unhealthy   try_again(awaited)                       recovering, until the outcome is known
    recovering  give_up(), a fault is left               unhealthy
    recovering  fail(source, reason)                     unhealthy
    recovering  pass_time, quiet time over               healthy; one more recovery
    recovering  pass_time, too many recoveries of late   unhealthy by source "flapping"
    recovering  clear(last source), no quiet time        healthy; one more recovery
    unhealthy   let_go(source)                           as if it had never been held
    any         release()                                without what waits for an operator, recoveries forgotten

A device that is recovering is not given to anybody. Sources are independent: a device is as healthy as the worst of
them says. Times are seconds since the epoch and are passed in, so that a record can be kept across restarts.
"""

from enum import StrEnum

import msgspec

from hub.reset.identity import ProcessIdentity

PLUGIN = "plugin"
"""The source of what `Plugin.devices` says about a device."""

BROKEN = "broken"
"""The source of what it says once and for as long as nobody mends the device: a reset, or an operator."""

RESET = "reset"
"""The source of what resets say about a device."""

FLAPPING = "flapping"
"""The source of a fault that only an operator clears."""

CORDON = "cordon"
"""The source of an operator's word that a device is not to be used."""

OPERATOR = "operator"
"""The source of what holds for as long as an operator's command is at work."""

RELEASE = "dphub uncordon releases it"
"""How an operator clears it."""

_OPERATORS = (CORDON, FLAPPING, BROKEN)
"""The sources that wait for an operator's word."""

_FINAL = {CORDON, FLAPPING, OPERATOR}
"""The sources about which no further try finds out anything."""


class Health(StrEnum):
    """Where a device stands."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    RECOVERING = "recovering"


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason not to use a device."""

    reason: str
    since: float
    """Unix time."""
    process: ProcessIdentity | None = None
    """A process that holds the device until it ends, whatever else is done."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a device comes back."""

    quiet: float = 0
    """Seconds without a fault before a device counts as healthy again."""
    recoveries: int = 3
    """So many recoveries within `period` are one too many flaps: the next one waits for an operator."""
    period: float = 3600
    """Seconds in which recoveries are counted."""


class Probing(msgspec.Struct, frozen=True, kw_only=True):
    """When devices that cannot be reset are tried again."""

    interval: float = 5
    """Seconds between two rounds."""
    longest: float = 300
    """Seconds at most between two probes of one device; they double with each probe that fails."""
    settling: float = 30
    """Seconds after a kubelet came in which it may not know yet who holds what."""


class HealthRecord(msgspec.Struct, omit_defaults=True):
    """The health of one physical device; what it holds is what is kept across restarts."""

    faults: dict[str, Fault] = {}
    """By source, the oldest first."""
    recovering_since: float = 0
    """Unix time; 0 when it is not recovering."""
    awaited: str = ""
    """What a recovering device waits for."""
    recoveries: list[float] = []
    """When it recovered, as far as that still counts."""

    @property
    def state(self) -> Health:
        """Where the device stands."""
        if self.recovering_since:
            return Health.RECOVERING
        return Health.UNHEALTHY if self.faults else Health.HEALTHY

    @property
    def reason(self) -> str:
        """Why it cannot be used, in words for an administrator; empty when it can."""
        faults = "; ".join(fault.reason for fault in self.faults.values())
        if self.state is Health.RECOVERING:
            return f"recovering, waiting for {self.awaited}" + (f" (was: {faults})" if faults else "")
        return faults

    @property
    def since(self) -> float:
        """Since when it is not healthy, or recovers; 0 when it is healthy."""
        return self.recovering_since or min((fault.since for fault in self.faults.values()), default=0)

    @property
    def source(self) -> str:
        """Who found the oldest fault; empty when there is none."""
        return next(iter(self.faults), "")

    def fail(self, source: str, reason: str, now: float, process: ProcessIdentity | None = None) -> None:
        """Something is wrong, says one source."""
        known = self.faults.get(source)
        self.faults[source] = Fault(reason, known.since if known else now, process)
        self._settle()

    def try_again(self, awaited: str, now: float) -> None:
        """Somebody finds out whether the device works; its outcome is `clear` or `fail`."""
        if self.faults and not self.faults.keys() & _FINAL:
            self.recovering_since, self.awaited = now, awaited

    def give_up(self) -> None:
        """Nobody finds out any more; the faults stand as they did."""
        if self.faults:
            self._settle()

    def clear(self, source: str, now: float, policy: Policy) -> None:
        """A source has nothing to complain about any more."""
        cleared = self.faults.pop(source, None)
        if cleared is None:
            return
        if self.faults:
            self._settle()
            return
        self.recovering_since = now
        self.awaited = f"{policy.quiet:g} s without a fault, after: {cleared.reason}"
        self.pass_time(now, policy)

    def pass_time(self, now: float, policy: Policy) -> None:
        """Finish a recovery whose quiet time is over."""
        self.recoveries = [when for when in self.recoveries if now - when < policy.period]
        if not self._is_quiet(now, policy):
            return
        self._settle()
        if len(self.recoveries) >= policy.recoveries:
            flaps = f"recovered {len(self.recoveries)} times within {policy.period:g} s"
            self.fail(FLAPPING, f"{flaps}; {RELEASE}", now)
        else:
            self.recoveries.append(now)

    def awaits(self, now: float, policy: Policy) -> bool:
        """Whether `pass_time` would change anything."""
        return self._is_quiet(now, policy) or any(now - when >= policy.period for when in self.recoveries)

    def let_go(self, source: str) -> None:
        """A source takes back what it said, and it does not count as a recovery."""
        if self.faults.pop(source, None):
            self._settle()

    def release(self) -> str:
        """An operator says that the device may be used; what was said against it until now."""
        released = [self.faults[source].reason for source in _OPERATORS if source in self.faults]
        for source in _OPERATORS:
            self.let_go(source)
        self.recoveries.clear()
        return "; ".join(released)

    def _is_quiet(self, now: float, policy: Policy) -> bool:
        """Whether it is recovering, and its quiet time is over."""
        return self.state is Health.RECOVERING and not self.faults and now - self.recovering_since >= policy.quiet

    def _settle(self) -> None:
        self.recovering_since, self.awaited = 0, ""
