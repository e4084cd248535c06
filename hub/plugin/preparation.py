"""PreStartContainer: the physical devices of a container are reset before it starts, where a plugin wants that."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import fspath
from pathlib import Path

import grpc

from hub.kubelet.holders import ask_holders
from hub.log import get_logger
from hub.plugin.contract import Device, Plugin
from hub.plugin.failure import PluginFailure
from hub.plugin.healthbook import HealthBook, physical_id
from hub.plugin.refusal import Refusal
from hub.reset import Outcome, ResetDevice, ResetResult
from hub.reset.resetter import Resetter
from hub.state import ResetState

RESET = "reset"
"""The source of what resets say about a device."""

LONGEST = 26.0
"""Seconds that all resets of a container may take at most. The kubelet gives up after 30, and to end what has not ended
by then takes up to 3."""

PROBE_INTERVAL = 5.0
"""Seconds between two rounds of probes."""

PROBE_LIMIT = 300.0
"""Seconds at most between two probes of one device; they double from `PROBE_INTERVAL` on."""

Offer = Callable[[], Iterable[tuple[str, Device]]]
"""All advertised devices, each with its resource."""


class Preparation:
    """Resets devices for containers that start, and broken ones that nobody holds to see whether they work again.

    Args:
        plugin: Whose devices they are.
        health: Hears of devices that cannot be reset, and of those that can again.
        offer: Tells all devices of the plugin.
        pod_resources: The kubelet's socket that tells who holds a device.
        changed: Called when there is a new result.
    """

    def __init__(
        self, plugin: Plugin, health: HealthBook, offer: Offer, pod_resources: Path, changed: Callable[[], None]
    ) -> None:
        self._plugin = plugin
        self._health = health
        self._offer = offer
        self._pod_resources = pod_resources
        self._changed = changed
        self._resetter = Resetter(plugin.reset, plugin.reset_settings)
        self._failures: Counter[str] = Counter()
        self._next_probe: dict[str, float] = {}
        self._probes: Counter[str] = Counter()
        self._blind = False
        self.results: dict[str, ResetState] = {}
        """The last result by physical device."""
        self.counts: Counter[str] = Counter()
        """Results by outcome."""
        self._log = get_logger()

    async def prepare(self, resource: str, devices: Sequence[Device]) -> None:
        """Make devices ready for the container that is about to start.

        Raises:
            Refusal: one of them is not; the text reaches the pod's events.
        """
        if not self._plugin.reset:
            return
        limit = min(self._plugin.reset_timeout, LONGEST)
        results = await self._reset_all({physical_id(device) for device in devices}, limit)
        failed = [result for result in results.values() if result.outcome not in {Outcome.OK, Outcome.SKIPPED}]
        if failed:
            late = all(result.outcome is Outcome.TIMED_OUT for result in failed)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.INTERNAL
            raise Refusal(code, f"{resource}: " + "; ".join(result.message for result in failed))

    async def run(self) -> None:
        """Probe for ever."""
        while self._plugin.reset:
            await asyncio.sleep(PROBE_INTERVAL)
            await self._probe_all()

    async def _reset_all(self, names: Iterable[str], limit: float) -> Mapping[str, ResetResult]:
        shares = self._shares()
        allowed: list[ResetDevice] = []
        results: dict[str, ResetResult] = {}
        for name in names:
            if why := self._why_not(shares.get(name, [])):
                results[name] = ResetResult(Outcome.SKIPPED, f"reset of {name} is left out: {why}", 0)
            else:
                allowed.append(_reset_device(name, shares[name], fspath(self._plugin.host.root)))
        results |= await self._resetter.reset(allowed, limit)
        for name, result in results.items():
            self._note(name, result)
        return results

    def _why_not(self, shares: Sequence[Device]) -> str:
        if not shares:
            return "the device is gone"
        try:
            return str(self._plugin.why_not_reset(shares))
        except Exception as error:  # noqa: BLE001 - foreign code; the safe answer is not to reset
            return f"the plugin cannot tell whether it may be reset: {PluginFailure.of(error)}"

    def _note(self, name: str, result: ResetResult) -> None:
        self.results[name] = ResetState(result.outcome, result.message, time.time(), result.seconds)
        self.counts[result.outcome] += 1
        if result.outcome is Outcome.OK:
            self._log.debug("device reset", device=name, seconds=round(result.seconds, 3))
            del self._failures[name]
            self._health.clear(name, RESET)
        elif result.outcome is Outcome.SKIPPED:
            self._log.info("reset left out", device=name, reason=result.message)
        else:
            self._log.warning("reset failed", device=name, outcome=str(result.outcome), reason=result.message)
            self._fail(name, result)
        self._changed()

    def _fail(self, name: str, result: ResetResult) -> None:
        self._failures[name] += 1
        if result.outcome is Outcome.ABANDONED or self._failures[name] >= self._plugin.reset_failures:
            self._health.fail(name, RESET, result.message)

    async def _probe_all(self) -> None:
        """Reset the broken devices that nobody holds. Where nobody can tell who holds a device, it may be held."""
        now = time.monotonic()
        due = [name for name in self._health.failing(RESET) if self._next_probe.get(name, 0) <= now]
        if not due:
            return
        holders = await ask_holders(self._pod_resources)
        self._say_blind(blind=holders is None)
        if holders is None:
            return
        held = {physical_id(device) for resource, device in self._offer() if (resource, device.id) in holders}
        free = [name for name in due if name not in held and name in self._shares()]
        for name in free:
            self._health.try_again(name, "a reset")
        results = await self._reset_all(free, self._plugin.reset_timeout)
        for name, result in results.items():
            self._judge_probe(name, result)

    def _say_blind(self, *, blind: bool) -> None:
        if blind and not self._blind:
            self._log.warning(
                "broken devices are not probed: no answer on who holds them", socket=str(self._pod_resources)
            )
        self._blind = blind

    def _judge_probe(self, name: str, result: ResetResult) -> None:
        if result.outcome is Outcome.OK:
            self._probes.pop(name, None)
            self._next_probe.pop(name, None)
            return
        if result.outcome is Outcome.SKIPPED:
            self._health.fail(name, RESET, result.message)
        self._probes[name] += 1
        # More doublings than these are never needed, and a float has room for so many only.
        delay = min(PROBE_INTERVAL * 2 ** min(self._probes[name], 16), PROBE_LIMIT)
        self._next_probe[name] = time.monotonic() + delay

    def _shares(self) -> dict[str, list[Device]]:
        shares: dict[str, list[Device]] = {}
        for _, device in self._offer():
            shares.setdefault(physical_id(device), []).append(device)
        return shares


def _reset_device(name: str, shares: Sequence[Device], host_root: str) -> ResetDevice:
    nodes = dict.fromkeys(fspath(node.host_path) for device in shares for node in device.nodes)
    return ResetDevice(name, tuple(nodes), host_root=host_root)
