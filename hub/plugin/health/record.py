"""Whether a physical device can be used: one state machine for all plugins and all reasons.

    state       event                                    next
    ----------  ---------------------------------------  --------------------------------------------------------
    healthy     fail(source, reason)                     unhealthy
    unhealthy   fail(same source, different reason)      unhealthy, `since` unchanged
    unhealthy   clear(source), another source remains    unhealthy
    unhealthy   clear(last source)                       recovering, until it has been stable long enough
    unhealthy   begin_recovery(awaited)                  recovering, until the result is known
    recovering  abort_recovery(), a fault is left        unhealthy
    recovering  fail(source, reason)                     unhealthy
    recovering  advance(), stable for long enough        healthy; the recovery is counted
    recovering  advance(), too many recoveries           unhealthy by source "flapping"
    recovering  clear(last source), stable_for is 0      healthy; the recovery is counted
    any         set_admin_fault(source, reason)          unhealthy, whatever its other faults do
    unhealthy   clear_admin_fault(source)                the state that its other faults give it
    any         release()                                see `release`

A device that is recovering is not allocated. Sources are independent: the worst one determines the device's health.
Times are seconds since the epoch and are passed in, so that a record can be kept across restarts.
"""

from enum import StrEnum

import msgspec

from hub.api.health import RecoveryPolicy
from hub.base.processid import ProcessId
from hub.base.wording import counted
from hub.model.plugin import HELD_SOURCE, RESET_SOURCE

PLUGIN = "plugin"
"""The source of faults that `Plugin.devices` reports."""

BROKEN = "broken"
"""The source of faults that `Plugin.devices` reports only once; such a fault remains until a reset or an administrator
clears it."""

RESET = "reset"
"""The source of faults that resets find."""

FLAPPING = "flapping"
"""The source of a fault that only an administrator clears."""

CORDON = "cordon"
"""The source of an administrator's decision that a device is not to be used."""

ANNOTATION = "annotation"
"""The source of a cordon by the node's annotation. An administrator's own cordon is independent of it."""

CORDONS = (CORDON, ANNOTATION)
"""The sources of cordons."""

ADMIN_RESET = RESET_SOURCE
"""The source of a fault that lasts as long as an administrator's reset of the device."""

SCAN = "scan"
"""The source of a fault in all devices: the scan failed, so their condition is unknown. No record contains it."""

EXTERNAL = "external"
"""The source of faults that other programs on the node report. No record contains them."""

HELD = HELD_SOURCE
"""The source of the fault that protects a device that a pod got by another API or driver. No record contains it."""

UNCORDON = "run dphub uncordon to clear it"
"""How an administrator clears a fault."""

_NEED_ADMIN = (FLAPPING, BROKEN)
"""The sources of faults that `dphub uncordon` clears; a reset may clear BROKEN, too."""


class Health(StrEnum):
    """The state of a device."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    RECOVERING = "recovering"


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason not to use a device."""

    reason: str
    since: float
    """Unix time."""
    process: ProcessId | None = None
    """A process that holds the device until it exits, whatever else is done."""


class HealthRecord(msgspec.Struct, omit_defaults=True):
    """The health of one physical device; its fields are kept across restarts."""

    faults: dict[str, Fault] = {}
    """Keyed by source, the oldest first."""
    admin_faults: dict[str, Fault] = {}
    """The faults that an administrator has set, by source. They hide the state that the other faults give the device,
    but do not change it."""
    recovering_since: float = 0
    """Unix time; 0 if the device is not recovering."""
    recovering_until: str = ""
    """What a recovering device waits for."""
    recoveries: list[float] = []
    """The times of the recoveries that still count."""

    @property
    def state(self) -> Health:
        """The state of the device."""
        if self.admin_faults:
            return Health.UNHEALTHY
        if self.recovering_since:
            return Health.RECOVERING
        return Health.UNHEALTHY if self.faults else Health.HEALTHY

    @property
    def reason(self) -> str:
        """Why the device cannot be used, as text for an administrator; empty if it can."""
        by_admin = [fault.reason for fault in self.admin_faults.values()]
        faults = "; ".join(fault.reason for fault in self.faults.values())
        if self.recovering_since:
            faults = f"recovering, waiting for {self.recovering_until}" + (f" (was: {faults})" if faults else "")
        return "; ".join([*by_admin, *filter(None, [faults])])

    @property
    def since(self) -> float:
        """The time at which the device became unhealthy, or began to recover; 0 if it is healthy."""
        if self.recovering_since and not self.admin_faults:
            return self.recovering_since
        return min((fault.since for fault in (*self.admin_faults.values(), *self.faults.values())), default=0)

    @property
    def source(self) -> str:
        """The source of the oldest fault, or else of one that an administrator has set; empty if there is none."""
        return next(iter((*self.faults, *self.admin_faults)), "")

    @property
    def needs_admin(self) -> bool:
        """Whether the device is cordoned, or has a fault that `dphub uncordon` clears."""
        return self.is_cordoned or any(source in self.faults for source in _NEED_ADMIN)

    @property
    def is_cordoned(self) -> bool:
        """Whether the device is cordoned, in either way."""
        return any(source in self.admin_faults for source in CORDONS)

    def fail(self, source: str, reason: str, now: float, process: ProcessId | None = None) -> None:
        """Record a fault from one source."""
        known = self.faults.get(source)
        self.faults[source] = Fault(reason, known.since if known else now, process)
        self._end_recovery()

    def add(self, source: str, fault: Fault) -> None:
        """Add a fault that another process found."""
        self.faults.setdefault(source, fault)
        self._end_recovery()

    def begin_recovery(self, awaited: str, now: float) -> None:
        """Begin a recovery attempt; `clear` or `fail` ends it."""
        if self.faults and FLAPPING not in self.faults:
            self.recovering_since, self.recovering_until = now, awaited

    def abort_recovery(self) -> None:
        """End a recovery attempt without a result; the faults remain as they were."""
        if self.faults:
            self._end_recovery()

    def clear(self, source: str, now: float, policy: RecoveryPolicy) -> None:
        """Remove the fault from one source; without another fault, the device recovers."""
        cleared = self.faults.pop(source, None)
        if cleared is None:
            return
        if self.faults:
            self._end_recovery()
            return
        self.recovering_since = now
        self.recovering_until = f"{policy.stable_for:g} s without a fault, after: {cleared.reason}"
        self.advance(now, policy)

    def advance(self, now: float, policy: RecoveryPolicy) -> None:
        """Finish the recovery of a device that has been stable long enough."""
        self.recoveries = [when for when in self.recoveries if now - when < policy.window]
        if not self._is_stable(now, policy):
            return
        self._end_recovery()
        if len(self.recoveries) >= policy.max_recoveries:
            flaps = f"recovered {counted(len(self.recoveries), 'time')} within {policy.window:g} s"
            self.fail(FLAPPING, f"{flaps}; {UNCORDON}", now)
        else:
            self.recoveries.append(now)

    def can_advance(self, now: float, policy: RecoveryPolicy) -> bool:
        """Return whether `advance` would change anything."""
        return self._is_stable(now, policy) or any(now - when >= policy.window for when in self.recoveries)

    def set_admin_fault(self, source: str, reason: str, now: float) -> None:
        """Keep the device from being used, on an administrator's behalf."""
        self.admin_faults[source] = Fault(reason, now)

    def clear_admin_fault(self, source: str) -> None:
        """Remove a fault that an administrator has set."""
        self.admin_faults.pop(source, None)

    def release(self) -> str:
        """Remove the cordons or, if there are none, the faults that wait for an administrator.

        Not both: an administrator who removes a cordon may not know of a later fault.

        Returns:
            The reasons that were removed; empty if there were none.
        """
        if cordons := [self.admin_faults.pop(source).reason for source in CORDONS if source in self.admin_faults]:
            return "; ".join(cordons)
        released = [self.faults.pop(source).reason for source in _NEED_ADMIN if source in self.faults]
        if released:
            self.recoveries.clear()
            self._end_recovery()
        return "; ".join(released)

    def stable_at(self, policy: RecoveryPolicy) -> float | None:
        """Return the Unix time at which the device will have been stable long enough; None if time is not enough."""
        return self.recovering_since + policy.stable_for if self.recovering_since and not self.faults else None

    def _is_stable(self, now: float, policy: RecoveryPolicy) -> bool:
        """Return whether the device is recovering, and has been stable long enough."""
        at = self.stable_at(policy)
        return at is not None and now >= at

    def _end_recovery(self) -> None:
        self.recovering_since, self.recovering_until = 0, ""
