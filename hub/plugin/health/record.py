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
    any         hold(source, reason)                     unhealthy, whatever goes on below
    unhealthy   let_go(source)                           where it would stand without
    any         release()                                see there

A device that is recovering is not given to anybody. Sources are independent: a device is as healthy as the worst of
them says. Times are seconds since the epoch and are passed in, so that a record can be kept across restarts.
"""

from enum import StrEnum

import msgspec

from hub.api.health import RecoveryPolicy
from hub.base.processid import ProcessId
from hub.base.wording import counted

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

ADMIN_RESET = "operator"
"""The source of what holds for as long as an operator's command is at work."""

SCAN = "scan"
"""The source of a fault of all devices: the scan failed, so their condition is unknown. It is in no record."""

UNCORDON = "dphub uncordon releases it"
"""How an operator clears it."""

_AWAITING = (FLAPPING, BROKEN)
"""The sources of faults that wait for an operator's word."""


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
    process: ProcessId | None = None
    """A process that holds the device until it ends, whatever else is done."""


class HealthRecord(msgspec.Struct, omit_defaults=True):
    """The health of one physical device; what it holds is what is kept across restarts."""

    faults: dict[str, Fault] = {}
    """By source, the oldest first."""
    admin_faults: dict[str, Fault] = {}
    """What an operator says, by source. It hides how the device stands otherwise, and changes nothing of it."""
    recovering_since: float = 0
    """Unix time; 0 when it is not recovering."""
    recovering_until: str = ""
    """What a recovering device waits for."""
    recoveries: list[float] = []
    """When it recovered, as far as that still counts."""

    @property
    def state(self) -> Health:
        """Where the device stands."""
        if self.admin_faults:
            return Health.UNHEALTHY
        if self.recovering_since:
            return Health.RECOVERING
        return Health.UNHEALTHY if self.faults else Health.HEALTHY

    @property
    def reason(self) -> str:
        """Why it cannot be used, in words for an administrator; empty when it can."""
        held = [fault.reason for fault in self.admin_faults.values()]
        faults = "; ".join(fault.reason for fault in self.faults.values())
        if self.recovering_since:
            faults = f"recovering, waiting for {self.recovering_until}" + (f" (was: {faults})" if faults else "")
        return "; ".join([*held, *filter(None, [faults])])

    @property
    def since(self) -> float:
        """Since when it is not healthy, or recovers; 0 when it is healthy."""
        if self.recovering_since and not self.admin_faults:
            return self.recovering_since
        return min((fault.since for fault in (*self.admin_faults.values(), *self.faults.values())), default=0)

    @property
    def source(self) -> str:
        """Who found the oldest fault, or else which word of an operator's holds it; empty when there is none."""
        return next(iter((*self.faults, *self.admin_faults)), "")

    @property
    def needs_admin(self) -> bool:
        """Whether only an operator's word lets it be used again."""
        return CORDON in self.admin_faults or any(source in self.faults for source in _AWAITING)

    def fail(self, source: str, reason: str, now: float, process: ProcessId | None = None) -> None:
        """Something is wrong, says one source."""
        known = self.faults.get(source)
        self.faults[source] = Fault(reason, known.since if known else now, process)
        self._settle()

    def add(self, source: str, fault: Fault) -> None:
        """What somebody else has found."""
        self.faults.setdefault(source, fault)
        self._settle()

    def begin_recovery(self, awaited: str, now: float) -> None:
        """Somebody finds out whether the device works; its outcome is `clear` or `fail`."""
        if self.faults and FLAPPING not in self.faults:
            self.recovering_since, self.recovering_until = now, awaited

    def abort_recovery(self) -> None:
        """Nobody finds out any more; the faults stand as they did."""
        if self.faults:
            self._settle()

    def clear(self, source: str, now: float, policy: RecoveryPolicy) -> None:
        """A source has nothing to complain about any more."""
        cleared = self.faults.pop(source, None)
        if cleared is None:
            return
        if self.faults:
            self._settle()
            return
        self.recovering_since = now
        self.recovering_until = f"{policy.stable_for:g} s without a fault, after: {cleared.reason}"
        self.advance(now, policy)

    def advance(self, now: float, policy: RecoveryPolicy) -> None:
        """Finish a recovery whose quiet time is over."""
        self.recoveries = [when for when in self.recoveries if now - when < policy.window]
        if not self._is_quiet(now, policy):
            return
        self._settle()
        if len(self.recoveries) >= policy.max_recoveries:
            flaps = f"recovered {counted(len(self.recoveries), 'time')} within {policy.window:g} s"
            self.fail(FLAPPING, f"{flaps}; {UNCORDON}", now)
        else:
            self.recoveries.append(now)

    def is_recovering(self, now: float, policy: RecoveryPolicy) -> bool:
        """Whether `pass_time` would change anything."""
        return self._is_quiet(now, policy) or any(now - when >= policy.window for when in self.recoveries)

    def set_admin_fault(self, source: str, reason: str, now: float) -> None:
        """An operator takes the device out of use."""
        self.admin_faults[source] = Fault(reason, now)

    def clear_admin_fault(self, source: str) -> None:
        """That counts no more."""
        self.admin_faults.pop(source, None)

    def release(self) -> str:
        """An operator says that the device may be used: a cordon ends, or else what waits for that word.

        Whoever ends a cordon need not know of a fault that came meanwhile.

        Returns:
            What was said against it until now; empty where nothing was.
        """
        if cordon := self.admin_faults.pop(CORDON, None):
            return cordon.reason
        released = [self.faults.pop(source).reason for source in _AWAITING if source in self.faults]
        if released:
            self.recoveries.clear()
            self._settle()
        return "; ".join(released)

    def _is_quiet(self, now: float, policy: RecoveryPolicy) -> bool:
        """Whether it is recovering, and its quiet time is over."""
        return self.recovering_since > 0 and not self.faults and now - self.recovering_since >= policy.stable_for

    def _settle(self) -> None:
        self.recovering_since, self.recovering_until = 0, ""
