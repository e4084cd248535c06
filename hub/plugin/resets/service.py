"""PreStartContainer: the physical devices of a container are reset before it starts, where a plugin wants that."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import fspath
from pathlib import Path

from hub.api.device import Device
from hub.api.plugin import Plugin, overrides, resets
from hub.api.reset import ResetDevice
from hub.base.asking import Calls
from hub.base.failures import PluginError, printable
from hub.base.log import get_logger
from hub.kubelet.podresources import DeviceHolders
from hub.model.plugin import ResetReport
from hub.plugin.devices.validation import wrong_answer
from hub.plugin.health.keys import physical_key
from hub.plugin.health.record import BROKEN, CORDON, RESET
from hub.plugin.health.store import HealthStore
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.resets.recovery import Holder, Offer, Recovery
from hub.reset.result import Outcome, ResetResult
from hub.reset.runner import ResetRunner

ANSWER_LIMIT = 2.0
"""Seconds for the plugin to say what may be reset, within the deadline of the call."""

_Shares = Mapping[str, Sequence[Device]]
"""What is advertised of each physical device."""


class ResetService:
    """Resets devices for containers that start, and broken ones that nobody holds to see whether they work again.

    Args:
        plugin: Whose devices they are.
        health: Hears of devices that cannot be reset, and of those that can again.
        offer: Tells all devices of the plugin.
        plugin_dir: The kubelet's plugin directory.
        ours: Whether broken devices are this process's to try; in an upgrade they are the younger hub's.
        meter: Counts the results.
        changed: Called when there is a new result.
    """

    def __init__(
        self,
        plugin: Plugin,
        health: HealthStore,
        offer: Offer,
        plugin_dir: Path,
        *,
        ours: Callable[[], bool],
        meter: ProcessMetrics,
        changed: Callable[[], None],
    ) -> None:
        self._plugin = plugin
        self._health = health
        self._offer = offer
        self._ours = ours
        self._meter = meter
        self._changed = changed
        self._asker = Calls()
        abandoned = {key: fault.process for key, fault in health.failing(RESET).items() if fault.process}
        self._resetter = ResetRunner(plugin.reset, plugin.reset_settings, stuck=abandoned, on_stuck=self._fail)
        self._probes = Recovery(plugin.probing, offer, plugin_dir, self._due, self._probe)
        self._failures: Counter[str] = Counter()
        self._told: dict[str, str] = {}
        self.results: dict[str, ResetReport] = {}
        """The last result by physical device."""
        self.counts: Counter[str] = Counter()
        """Results by outcome."""
        self._log = get_logger()

    async def reset_for_container(self, resource: str, devices: Sequence[Device]) -> Sequence[ResetResult]:
        """Reset the devices of a container that is about to start; return the results that keep it from starting."""
        if not resets(self._plugin, resource):
            return []
        names = {physical_key(resource, device): device.physical or device.id for device in devices}
        results = await self._reset(names, bounded=True)
        return [result for result in results.values() if result.outcome not in {Outcome.OK, Outcome.SKIPPED}]

    def reset_blocked(self, resources: Iterable[str]) -> str:
        """Why devices of these resources are never reset; empty when they are."""
        without = [resource for resource in resources if not resets(self._plugin, resource)]
        if not without:
            return ""
        if self._plugin.reset_resources is None:
            return "the plugin has no reset for its devices, or its configuration asks for none"
        return f'resets of {", ".join(without)} are not configured: see "reset" in the plugin\'s configuration file'

    def holders_of(self, key: str, holders: DeviceHolders) -> list[Holder]:
        """Who has a device or a share of it, or may have one that is not advertised any more."""
        return self._probes.holders_of(key, holders)

    async def reset_now(self, key: str) -> ResetResult:
        """Reset a device that nobody holds, because an operator asks for it."""
        shares = self._shares()[key]
        results = await self._reset({key: shares[0].physical or shares[0].id}, bounded=False)
        return results[key]

    async def run(self) -> None:
        """Probe for ever."""
        if self._plugin.reset:
            await self._probes.run()

    def _due(self) -> list[str]:
        """The devices that wait for a probe, less those that an abandoned reset still has."""
        if not self._ours():
            return []
        failing, broken = self._health.failing(RESET), self._health.failing(BROKEN)
        cordoned = self._health.admin_faults(CORDON)
        there = self._shares() if failing or broken else {}
        return [
            key
            for key, shares in there.items()
            if (key in failing or (key in broken and self._cures(shares)))
            and key not in cordoned
            and not self._resetter.holder(key)
        ]

    async def _probe(self, key: str) -> None:
        """See whether a broken device works again."""
        shares = self._shares().get(key)
        if not shares:
            return
        self._health.begin_recovery(key, "a reset")
        try:
            await self._reset({key: shares[0].physical or shares[0].id}, bounded=False)
        finally:
            # Where nothing came of it, the fault stands as it did.
            self._health.abort_recovery(key)

    async def _reset(self, names: Mapping[str, str], *, bounded: bool) -> Mapping[str, ResetResult]:
        loop = asyncio.get_running_loop()
        expiry = loop.time() + self._plugin.reset_timeout
        known = self._shares()
        shares = {key: known.get(key, []) for key in names}
        obstacles = await self._obstacles(shares)
        results = {
            key: ResetResult.not_begun(Outcome.SKIPPED, f"reset of {names[key]} is left out: {why}")
            for key, why in obstacles.items()
            if why
        }
        fspath(self._plugin.host.root)
        broken = self._health.failing(BROKEN)
        allowed = {
            key: _reset_device(self._plugin, names[key], shares[key], broken[key].reason if key in broken else "")
            for key in names
            if key not in results
        }
        results |= await self._resetter.reset(allowed, expiry - loop.time(), bounded=bounded)
        for key, result in results.items():
            self._note(key, names[key], result)
        return results

    async def _obstacles(self, shares: _Shares) -> Mapping[str, str]:
        """Why each device must not be reset now; empty texts for those that may be."""
        if not overrides(self._plugin, "reset_blocked"):
            return _obstacles(self._plugin, shares)
        limit = min(ANSWER_LIMIT, self._plugin.reset_timeout / 2)
        try:
            return await self._asker.call(self._plugin.reset_blocked, lambda: _obstacles(self._plugin, shares), limit)
        except PluginError as failure:
            why = f"the plugin cannot tell whether it may be reset: {failure}"
        return dict.fromkeys(shares, why)

    def _note(self, key: str, name: str, result: ResetResult) -> None:
        self.results[key] = ResetReport(result.outcome, result.message, time.time(), result.seconds)
        self.counts[result.outcome] += 1
        self._meter.reset_ended(result.outcome, result.seconds)
        if result.outcome is Outcome.OK:
            self._log.debug("device reset", device=name, seconds=round(result.seconds, 3))
            self._told.pop(key, None)
            del self._failures[key]
            self._probes.recovered(key)
            self._health.clear(key, RESET)
            if self._cures(self._shares().get(key, ())):
                self._health.clear(key, BROKEN)
        elif result.outcome is Outcome.SKIPPED:
            self._tell("info", "reset left out", key, name, result)
        else:
            self._tell("warning", "reset failed", key, name, result)
            self._judge(key, result)
        self._changed()

    def _tell(self, level: str, event: str, key: str, name: str, result: ResetResult) -> None:
        """Log what became of a reset, but not again and again: containers are started, and devices probed, in loops."""
        if self._told.get(key) == result.cause:
            level = "debug"
        self._told[key] = result.cause
        getattr(self._log, level)(event, device=name, outcome=str(result.outcome), reason=result.message)

    def _judge(self, key: str, result: ResetResult) -> None:
        if result.outcome is Outcome.STUCK:
            if key not in self._health.failing(RESET):
                self._fail(key, result.cause)
        elif result.begun:
            self._failures[key] += 1
            if self._failures[key] >= self._plugin.max_reset_failures or key in self._health.failing(RESET):
                self._fail(key, result.cause)

    def _fail(self, key: str, reason: str) -> None:
        self._health.fail(key, RESET, reason, self._resetter.holder(key))

    def _cures(self, shares: Iterable[Device]) -> bool:
        """Whether a reset mends a broken device: it has to in every resource that the device is in."""
        curing = self._plugin.reset_clears_broken
        return curing is None or all((device.resource or self._plugin.resource) in curing for device in shares)

    def _shares(self) -> _Shares:
        shares: dict[str, list[Device]] = {}
        for resource, device in self._offer():
            shares.setdefault(physical_key(resource, device), []).append(device)
        return shares


def _obstacles(plugin: Plugin, shares: _Shares) -> Mapping[str, str]:
    return {key: _obstacle(plugin, devices) for key, devices in shares.items()}


def _obstacle(plugin: Plugin, shares: Sequence[Device]) -> str:
    if not shares:
        return "the device is gone"
    try:
        return printable(_checked(plugin.reset_blocked(shares)))
    except Exception as error:  # noqa: BLE001 - foreign code; the safe answer is not to reset
        failure = PluginError.of(error, plugin.reset_blocked)
        return f"the plugin cannot tell whether it may be reset: {failure}"


def _checked(why: object) -> str:
    if not isinstance(why, str):
        raise wrong_answer(why, "a text: the reason, or an empty one where it may be reset")
    return why


def _reset_device(plugin: Plugin, name: str, shares: Iterable[Device], broken: str) -> ResetDevice:
    nodes = dict.fromkeys(fspath(node.host_path) for device in shares for node in device.nodes)
    return ResetDevice(name, tuple(nodes), str(plugin.host.root), broken, plugin.runtime)
