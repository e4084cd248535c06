"""What an operator may ask of a running plugin; see `hub.control`."""

from collections.abc import Mapping, Sequence

from hub.control import Answer, AskHolders, Cordon, Request, Reset, SetLogLevel, Uncordon
from hub.log import get_logger, set_level
from hub.plugin.device import Device
from hub.plugin.health import CORDON, OPERATOR
from hub.plugin.healthbook import HealthBook, physical_key
from hub.plugin.holding import Holding
from hub.plugin.preparation import Preparation
from hub.plugin.probes import Offer
from hub.reset import Outcome


class Operator:
    """Does what an operator asks.

    Args:
        offer: Tells all devices of the plugin.
        health: What is known of them.
        preparation: Resets them.
        holding: Who has them.
    """

    def __init__(self, offer: Offer, health: HealthBook, preparation: Preparation, holding: Holding) -> None:
        self._offer = offer
        self._health = health
        self._preparation = preparation
        self._holding = holding
        self._log = get_logger()

    async def answer(self, request: Request) -> Answer:
        """Do it, and tell what became of it."""
        match request:
            case Cordon(device, reason):
                return await self._cordon(device, reason)
            case Uncordon(device):
                return self._uncordon(device)
            case Reset(device):
                return await self._reset(device)
            case SetLogLevel(level):
                set_level(level)
                self._log.info("log level set", level=str(level))
                return Answer(done=True, text=f"logs from {level} on")
            case AskHolders():
                known = await self._holding.ask() is not None
                return Answer(known, "" if known else "the kubelet's pod resources API does not answer")

    async def _cordon(self, key: str, reason: str) -> Answer:
        shares = self._shares(key)
        if not shares:
            return Answer(done=False, text=f"there is no device {key}")
        self._health.hold(key, CORDON, f"cordoned: {reason}" if reason else "cordoned")
        self._log.info("device cordoned", device=key, reason=reason)
        await self._holding.ask()
        held = _holders_of(shares, self._holding)
        keeps = f"; {held} goes on with it" if held else ""
        return Answer(done=True, text=f"{key} is cordoned ({_counted(shares)}){keeps}")

    def _uncordon(self, key: str) -> Answer:
        released = self._health.release(key)
        if not released:
            return Answer(done=False, text=f"{key} is not cordoned, nor does it wait for an operator")
        self._log.info("device released", device=key, was=released)
        left = self._health.record(key).reason
        return Answer(done=True, text=f"{key} is released (was: {released})" + (f"; still: {left}" if left else ""))

    async def _reset(self, key: str) -> Answer:
        shares = self._shares(key)
        if not shares:
            return Answer(done=False, text=f"there is no device {key}")
        if why := self._preparation.why_no_reset(shares):
            return Answer(done=False, text=f"{key} is not reset: {why}")
        # Before the question who has it: the kubelet must not give it away after the answer.
        self._health.hold(key, OPERATOR, "an operator resets it")
        try:
            return await self._reset_if_free(key, shares)
        finally:
            self._health.let_go(key, OPERATOR)

    async def _reset_if_free(self, key: str, shares: Mapping[str, Sequence[Device]]) -> Answer:
        if await self._holding.ask() is None:
            text = "nobody can tell whether it is free, for the kubelet's pod resources API does not answer"
            return Answer(done=False, text=f"{key} is not reset: {text}")
        if held := _holders_of(shares, self._holding):
            return Answer(done=False, text=f"{key} is not reset: {held} has it")
        self._log.info("reset asked for", device=key)
        result = await self._preparation.reset_now(key)
        if result.outcome is Outcome.OK:
            return Answer(done=True, text=f"{key} is reset, in {result.seconds:.2f} s")
        return Answer(done=False, text=result.message)

    def _shares(self, key: str) -> Mapping[str, Sequence[Device]]:
        """All that is advertised of a physical device, by resource."""
        shares: dict[str, list[Device]] = {}
        for resource, device in self._offer():
            if physical_key(resource, device) == key:
                shares.setdefault(resource, []).append(device)
        return shares


def _holders_of(shares: Mapping[str, Sequence[Device]], holding: Holding) -> str:
    """Who has a device or a share of it, in words."""
    holders = {(resource, name): who for resource in shares for name, who in holding.of(resource).items()}
    ours = [(resource, device.id) for resource, devices in shares.items() for device in devices]
    return ", ".join(dict.fromkeys(holders[device] for device in ours if device in holders))


def _counted(shares: Mapping[str, Sequence[Device]]) -> str:
    return ", ".join(
        f"{len(devices)} {'device' if len(devices) == 1 else 'devices'} of {resource}"
        for resource, devices in shares.items()
    )
