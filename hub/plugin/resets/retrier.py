"""Retries the resets of broken devices: only while they are not in use, a few at a time, with growing delays."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from hub.api.plugin import Plugin
from hub.base.log import get_logger
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import KubeletIdentity, kubelet_identity
from hub.base.ticks import sleep_until_tick
from hub.plugin.devices.inventory import Inventory
from hub.plugin.health.record import BROKEN, CORDONS, RESET
from hub.plugin.health.store import HealthStore
from hub.plugin.holders import Holders
from hub.plugin.ownership import Role
from hub.plugin.resets.service import ResetService
from hub.reset.result import Outcome

PARALLEL = 2
"""Maximum number of concurrent resets; containers do not wait for them."""

MAX_DOUBLINGS = 16
"""Maximum exponent of the growing delay; larger exponents would overflow a float."""


class Retrier:
    """Decides which broken devices are reset again, and when.

    Args:
        plugin: The plugin.
        plugin_dir: The kubelet's plugin directory.
        inventory: The devices that are offered.
        health: The devices that are broken.
        resets: Resets them.
        holders: The containers that use them.
    """

    def __init__(
        self,
        plugin: Plugin,
        plugin_dir: Path,
        *,
        inventory: Inventory,
        health: HealthStore,
        resets: ResetService,
        holders: Holders,
    ) -> None:
        self._plugin = plugin
        self._policy = plugin.reset_retry
        self._kubelet_socket = plugin_dir / KUBELET_SOCKET
        self._inventory = inventory
        self._health = health
        self._resets = resets
        self._holders = holders
        self._kubelet: KubeletIdentity | None = None
        self._earliest = 0.0
        self._next: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._slots = asyncio.Semaphore(PARALLEL)
        self._is_paused = False
        self._log = get_logger()

    async def run(self) -> None:
        """Retry resets until cancelled, if the plugin has a reset."""
        if not self._plugin.reset:
            await asyncio.Event().wait()
        while True:
            self._check_kubelet()
            await sleep_until_tick(self._policy.interval)
            self._check_kubelet()
            await self._round()

    def _check_kubelet(self) -> None:
        """Postpone retries after a kubelet starts: it may not know yet which container uses which device."""
        kubelet = kubelet_identity(self._kubelet_socket)
        if kubelet != self._kubelet:
            self._kubelet, self._earliest = kubelet, time.monotonic() + self._policy.startup_delay

    async def _round(self) -> None:
        broken = self._broken()
        self._forget_all_but(broken)
        now = time.monotonic()
        due = [key for key in broken if self._next.get(key, 0) <= now and not self._resets.is_stuck(key)]
        if due and self._kubelet and now >= self._earliest:
            await asyncio.gather(*map(self._retry_if_free, due))

    def _broken(self) -> list[str]:
        """Return the devices that a reset may repair; none if another hub owns them."""
        if self._health.refresh_role() is not Role.ACTIVE:
            return []
        failing, broken = self._health.failing(RESET), self._health.failing(BROKEN)
        cordoned = {key for source in CORDONS for key in self._health.admin_faults(source)}
        offered = self._inventory.physical_devices() if failing or broken else {}
        return [
            key
            for key, shares in offered.items()
            if (key in failing or (key in broken and self._resets.clears_broken(shares))) and key not in cordoned
        ]

    def _forget_all_but(self, broken: Iterable[str]) -> None:
        """Forget devices that work again: one that breaks later is retried as if for the first time."""
        for key in self._failures.keys() - set(broken):
            self._next.pop(key, None)
            del self._failures[key]

    async def _retry_if_free(self, key: str) -> None:
        async with self._slots:
            # Queried every time: the response is stale a moment later.
            is_known = await self._holders.refresh()
            self._log_pause(is_paused=not is_known)
            if not is_known or self._holders.of_device(key):
                return
            failures = self._failures.get(key, 0) + 1
            delay = min(self._policy.interval * 2 ** min(failures, MAX_DOUBLINGS), self._policy.max_interval)
            try:
                works = await self._retry(key)
            except Exception:  # noqa: BLE001 - the other retries continue
                self._log.exception("reset retry failed", device=key)
                works = False
            if works:
                self._next.pop(key, None)
                self._failures.pop(key, None)
            else:
                self._failures[key], self._next[key] = failures, time.monotonic() + delay

    async def _retry(self, key: str) -> bool:
        """Reset a broken device; return whether that succeeded."""
        if key not in self._inventory.physical_devices():
            return False
        self._health.begin_recovery(key, "a reset")
        try:
            result = await self._resets.reset_now(key)
        finally:
            # Without a result, the fault remains as it was.
            self._health.abort_recovery(key)
        return result.outcome is Outcome.OK

    def _log_pause(self, *, is_paused: bool) -> None:
        if is_paused and not self._is_paused:
            self._log.warning(
                "recovery paused", reason="pod resources API unavailable", socket=str(self._holders.socket)
            )
        self._is_paused = is_paused
