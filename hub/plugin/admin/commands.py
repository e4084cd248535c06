"""What an operator may ask of a running plugin; see `hub.model.admin`."""

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence

from hub.api.device import Device
from hub.base.log import LogLevel, get_logger, set_level
from hub.base.wording import counted
from hub.model.admin import Cordon, RefreshHolders, Request, Reset, Response, SetLogLevel, Uncordon
from hub.plugin.health.keys import physical_key, share_key
from hub.plugin.health.record import ADMIN_RESET, CORDON
from hub.plugin.health.store import HealthStore
from hub.plugin.holders import Holders
from hub.plugin.resets.recovery import Offer
from hub.plugin.resets.service import ResetService
from hub.reset.result import Outcome


class AdminCommands:
    """Does what an operator asks.

    Args:
        offer: Tells all devices of the plugin.
        health: What is known of them.
        preparation: Resets them.
        holding: Who has them.
        level_changed: Called when the process logs from another level on.
    """

    def __init__(
        self,
        offer: Offer,
        health: HealthStore,
        preparation: ResetService,
        holding: Holders,
        *,
        level_changed: Callable[[], None],
    ) -> None:
        self._offer = offer
        self._health = health
        self._preparation = preparation
        self._holding = holding
        self._level_changed = level_changed
        self._log = get_logger()

    async def answer(self, request: Request) -> Response:
        """Do it, and tell what became of it."""
        match request:
            case Cordon(device, reason):
                return await self._cordon(device, reason)
            case Uncordon(device):
                return self._uncordon(device)
            case Reset(device):
                return await self._reset(device)
            case SetLogLevel(level):
                self._log_from(level)
                return Response(ok=True, message=f"logs from {level} on")
            case RefreshHolders():
                known = await self._holding.refresh() is not None
                return Response(known, "" if known else "the kubelet's pod resources API does not answer")

    async def _cordon(self, key: str, reason: str) -> Response:
        shares = self._shares(key)
        if not shares:
            return Response(ok=False, message=f"there is no device {key}")
        before = self._health.record(key).admin_faults.get(CORDON)
        said = f"cordoned: {reason}" if reason else "cordoned"
        # Who gives no reason takes none back.
        failure = self._health.set_admin_fault(key, CORDON, before.reason if before and not reason else said)
        self._log.info("device cordoned", device=key, reason=reason)
        was = f"; it was already {before.reason}" if before else ""
        held = self._preparation.holders_of(key, await self._holding.refresh() or {})
        keeps = "".join(f"; {holder.describe('goes on with it')}" for holder in held)
        return self._kept(f"{_named(key, shares)} is cordoned ({_counted(shares)}){was}{keeps}", failure)

    def _uncordon(self, key: str) -> Response:
        shares = self._shares(key)
        named = _named(key, shares)
        every = _records(key, shares)
        # Whoever ends a cordon need not know of a fault that came meanwhile, in whichever record it is.
        cordoned = CORDON in self._health.record(key).admin_faults
        released, failure = self._health.release([key] if cordoned else every)
        if not released:
            return Response(ok=False, message=f"{named} is not cordoned, nor does it wait for an operator")
        self._log.info("device released", device=key, was=released)
        return self._kept(f"{named} is released (was: {released}){self._still(key, shares)}", failure)

    def _kept(self, text: str, failure: str) -> Response:
        """What was done, and whether a restart of the plugin will know of it."""
        if failure:
            return Response(ok=False, message=f"{text}; but only until the plugin restarts: {failure}")
        return Response(ok=True, message=text)

    async def _reset(self, key: str) -> Response:
        shares = self._shares(key)
        if not shares:
            return Response(ok=False, message=f"there is no device {key}")
        named = _named(key, shares)
        if why := self._preparation.reset_blocked(shares):
            return Response(ok=False, message=f"{named} is not reset: {why}")
        if ADMIN_RESET in self._health.record(key).admin_faults:
            return Response(ok=False, message=f"{named} is not reset: another reset of it is under way")
        # Before the question who has it: the kubelet must not give it away after the answer.
        self._health.set_admin_fault(key, ADMIN_RESET, "an operator resets it")
        try:
            answer = await self._reset_if_free(key, named)
        finally:
            self._health.clear_admin_fault(key, ADMIN_RESET)
        return Response(ok=True, message=f"{answer.message}{self._still(key, shares)}") if answer.ok else answer

    async def _reset_if_free(self, key: str, named: str) -> Response:
        holders = await self._holding.refresh()
        if holders is None:
            text = "nobody can tell whether it is free, for the kubelet's pod resources API does not answer"
            return Response(ok=False, message=f"{named} is not reset: {text}")
        if held := self._preparation.holders_of(key, holders):
            having = "; ".join(holder.describe("has it") for holder in held)
            return Response(ok=False, message=f"{named} is not reset: {having}")
        self._log.info("reset asked for", device=key)
        result = await self._preparation.reset_now(key)
        if result.outcome is Outcome.OK:
            return Response(ok=True, message=f"{named} is reset, in {result.seconds:.2f} s")
        return Response(ok=False, message=result.message)

    def _still(self, key: str, shares: Mapping[str, Sequence[Device]]) -> str:
        """What is said against a device all the same, to be added to a text; empty where nothing is."""
        every = _records(key, shares)
        left = self._health.reasons(every)
        if not left:
            return ""
        waits = any(self._health.record(each).needs_admin for each in every)
        return f"; still: {left}" + (f" → dphub uncordon {shlex.quote(key)}" if waits else "")

    def _log_from(self, level: LogLevel) -> None:
        # Told from a level at which it is seen, whichever was and whichever is to be.
        set_level(LogLevel.INFO)
        self._log.info("log level set", to=str(level))
        set_level(level)
        self._level_changed()

    def _shares(self, key: str) -> Mapping[str, Sequence[Device]]:
        """All that is advertised of a physical device, by resource."""
        shares: dict[str, list[Device]] = {}
        for resource, device in self._offer():
            if physical_key(resource, device) == key:
                shares.setdefault(resource, []).append(device)
        return shares


def _records(key: str, shares: Mapping[str, Sequence[Device]]) -> Collection[str]:
    """The keys of all health records that concern a physical device, its own first."""
    of_shares = (share_key(name, device) for name, found in shares.items() for device in found)
    return dict.fromkeys((key, *of_shares))


def _named(key: str, shares: Mapping[str, Sequence[Device]]) -> str:
    """The device, and what tells a person that it is the one that was meant."""
    first, *others = [device.attributes for devices in shares.values() for device in devices] or [{}]
    told = [
        f"{words}{first[name]}"
        for name, words in _TELLING.items()
        if name in first and all(other.get(name) == first[name] for other in others)
    ]
    return f"{key} ({', '.join(told)})" if told else key


_TELLING = {"name": "", "model": "", "index": "index "}
"""The attributes that a person knows a device by, and the words before them."""


def _counted(shares: Mapping[str, Sequence[Device]]) -> str:
    return ", ".join(f"{counted(len(devices), 'device')} of {resource}" for resource, devices in shares.items())
