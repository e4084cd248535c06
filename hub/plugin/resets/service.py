"""Resets of devices, and their results: before a container starts, on request, and to recover."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from os import fspath

from hub.api.device import Device
from hub.api.plugin import Plugin, overrides, resets
from hub.api.reset import ResetDevice
from hub.base.calls import Calls
from hub.base.failures import PluginError, one_line
from hub.base.log import get_logger
from hub.base.statusfile import StatusFile
from hub.model.plugin import ResetReport
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.validation import wrong_answer
from hub.plugin.health.keys import physical_key
from hub.plugin.health.record import BROKEN, RESET
from hub.plugin.health.store import HealthStore
from hub.plugin.metrics.process import ProcessMetrics
from hub.reset.result import Outcome, ResetResult
from hub.reset.runner import ResetRunner

BLOCKED_TIMEOUT = 2.0
"""Maximum seconds for the plugin to decide what may be reset, within the deadline of the call."""

_Shares = Mapping[str, Sequence[Device]]
"""The advertised shares of each physical device, by its key."""


class ResetService:
    """Runs and records the resets of a plugin's devices.

    Args:
        plugin: The plugin.
        health: Records which devices cannot be reset.
        inventory: The devices.
        metrics: Counts the results.
        status: Written after each result.

    Attributes:
        results: The last result of each physical device, by its key.
        counts: The number of results, by outcome.
        fault: Why the last reset could not begin, whichever device it was for; empty if it began.
    """

    def __init__(
        self, plugin: Plugin, health: HealthStore, inventory: Inventory, metrics: ProcessMetrics, status: StatusFile
    ) -> None:
        self.results: dict[str, ResetReport] = {}
        self.counts: Counter[str] = Counter()
        self.fault = ""
        self._plugin = plugin
        self._health = health
        self._inventory = inventory
        self._metrics = metrics
        self._status = status
        self._calls = Calls()
        stuck = {key: fault.process for key, fault in health.failing(RESET).items() if fault.process}
        self._runner = ResetRunner(plugin.reset, plugin.reset_settings, stuck=stuck, on_stuck=self._fail)
        self._failures: Counter[str] = Counter()
        self._logged: dict[str, str] = {}
        self._log = get_logger()

    async def reset_for_container(self, resource: str, devices: Sequence[Device]) -> Sequence[ResetResult]:
        """Reset the devices of a container that is about to start; return the results that keep it from starting."""
        if not resets(self._plugin, resource):
            return []
        names = {physical_key(resource, device): device.physical or device.id for device in devices}
        results = await self._reset(names, bounded=True)
        return [result for result in results.values() if result.outcome not in {Outcome.OK, Outcome.SKIPPED}]

    async def reset_now(self, key: str) -> ResetResult:
        """Reset a physical device that no container uses."""
        shares = self._inventory.physical_devices()[key]
        results = await self._reset({key: shares[0].physical or shares[0].id}, bounded=False)
        return results[key]

    def reset_blocked(self, resources: Iterable[str]) -> str:
        """Return why devices of these resources are never reset; empty if they can be."""
        without = [resource for resource in resources if not resets(self._plugin, resource)]
        if not without:
            return ""
        if self._plugin.reset_resources is None:
            return "the plugin has no reset for its devices, or its configuration enables none"
        return f'resets of {", ".join(without)} are not configured: see "reset" in the plugin\'s configuration file'

    def clears_broken(self, shares: Iterable[Device]) -> bool:
        """Return whether a reset repairs a broken device; it must do so for every resource that contains the device."""
        clearing = self._plugin.reset_clears_broken
        return clearing is None or all((device.resource or self._plugin.resource) in clearing for device in shares)

    def is_stuck(self, key: str) -> bool:
        """Return whether an earlier reset of a device is stuck and still holds the device."""
        return self._runner.holder(key) is not None

    async def _reset(self, names: Mapping[str, str], *, bounded: bool) -> Mapping[str, ResetResult]:
        loop = asyncio.get_running_loop()
        expiry = loop.time() + self._plugin.reset_timeout
        offered = self._inventory.physical_devices()
        shares = {key: offered.get(key, []) for key in names}
        blocked = await self._blocked(shares)
        results = {
            key: ResetResult.not_begun(Outcome.SKIPPED, f"reset of {names[key]} was skipped: {why}")
            for key, why in blocked.items()
            if why
        }
        broken = self._health.failing(BROKEN)
        allowed = {
            key: _reset_device(self._plugin, names[key], shares[key], broken[key].reason if key in broken else "")
            for key in names
            if key not in results
        }
        results |= await self._runner.reset(allowed, expiry - loop.time(), bounded=bounded)
        for key, result in results.items():
            self._record(key, names[key], result)
        return results

    async def _blocked(self, shares: _Shares) -> Mapping[str, str]:
        """Return why each device must not be reset now; the reason is empty if it may be."""
        if not overrides(self._plugin, "reset_blocked"):
            return _all_blocked(self._plugin, shares)
        limit = min(BLOCKED_TIMEOUT, self._plugin.reset_timeout / 2)
        try:
            return await self._calls.call(self._plugin.reset_blocked, lambda: _all_blocked(self._plugin, shares), limit)
        except PluginError as failure:
            why = f"cannot determine whether it may be reset: {failure}"
        return dict.fromkeys(shares, why)

    def _record(self, key: str, name: str, result: ResetResult) -> None:
        self.results[key] = ResetReport(result.outcome, result.message, time.time(), result.seconds)
        self.counts[result.outcome] += 1
        self._metrics.reset_ended(result.outcome, result.seconds)
        if result.begun:
            self.fault = ""
        elif result.outcome in {Outcome.FAILED, Outcome.CRASHED}:
            self.fault = result.cause
        if result.outcome is Outcome.OK:
            self._log.debug("device reset", device=name, seconds=round(result.seconds, 3))
            self._logged.pop(key, None)
            del self._failures[key]
            self._health.clear(key, RESET)
            if self.clears_broken(self._inventory.physical_devices().get(key, ())):
                self._health.clear(key, BROKEN)
        elif result.outcome is Outcome.SKIPPED:
            self._log_result("info", "reset skipped", key, name, result)
        else:
            self._log_result("warning", "reset failed", key, name, result)
            self._count_failure(key, result)
        self._status.mark_changed()

    def _log_result(self, level: str, event: str, key: str, name: str, result: ResetResult) -> None:
        """Log a result, and log repeats only at debug level: containers are retried in loops, and so are resets."""
        if self._logged.get(key) == result.cause:
            level = "debug"
        self._logged[key] = result.cause
        getattr(self._log, level)(event, device=name, outcome=str(result.outcome), reason=result.message)

    def _count_failure(self, key: str, result: ResetResult) -> None:
        if result.outcome is Outcome.STUCK:
            if key not in self._health.failing(RESET):
                self._fail(key, result.cause)
        elif result.begun:
            self._failures[key] += 1
            if self._failures[key] >= self._plugin.max_reset_failures or key in self._health.failing(RESET):
                self._fail(key, result.cause)

    def _fail(self, key: str, reason: str) -> None:
        self._health.fail(key, RESET, reason, self._runner.holder(key))


def _all_blocked(plugin: Plugin, shares: _Shares) -> Mapping[str, str]:
    return {key: _why_blocked(plugin, devices) for key, devices in shares.items()}


def _why_blocked(plugin: Plugin, shares: Sequence[Device]) -> str:
    if not shares:
        return "the device was removed"
    try:
        return one_line(_checked(plugin.reset_blocked(shares)))
    except Exception as error:  # noqa: BLE001 - plugin code; the safe answer is not to reset
        failure = PluginError.of(error, plugin.reset_blocked)
        return f"cannot determine whether it may be reset: {failure}"


def _checked(why: object) -> str:
    if not isinstance(why, str):
        raise wrong_answer(why, "a string: the reason, or an empty one if it may be reset")
    return why


def _reset_device(plugin: Plugin, name: str, shares: Iterable[Device], broken: str) -> ResetDevice:
    nodes = dict.fromkeys(fspath(node.host_path) for device in shares for node in device.nodes)
    return ResetDevice(name, tuple(nodes), str(plugin.host.root), broken, plugin.runtime)
