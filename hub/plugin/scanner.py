"""Asks a plugin for its devices: on a period, on request, and when the plugin says that something changed."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

import msgspec

from hub.log import get_logger
from hub.plugin.contract import Device, NoDevices, Plugin, overrides
from hub.plugin.snapshot import Snapshot
from hub.plugin.threads import in_thread

COALESCE = 0.02
"""Seconds between the end of one scan and the next: a burst of events is one change, and each list costs the kubelet a
checkpoint on disk."""

PATIENCE = 30.0
"""Seconds after which a scan that has not ended makes the devices unhealthy."""

WATCH_RETRY = (1.0, 30.0)
"""Seconds to wait before a failed watch is started again: at first, and at most. It doubles in between."""


class Scan(msgspec.Struct, frozen=True):
    """The outcome of one scan."""

    snapshots: Mapping[str, Snapshot] = {}
    """By resource, those that the plugin declares without a device included."""
    failure: str = ""
    """Why nothing is known; then there are no snapshots, and the devices known so far cannot be trusted."""
    reason: str = ""
    """Why the plugin has no device at all."""


class Scanner:
    """Runs `Plugin.devices` and `Plugin.watch` in threads, never two scans at once.

    Args:
        plugin: Who is asked.
        report: Gets each scan, on the event loop.
        patience: Seconds that one scan may take.
    """

    def __init__(self, plugin: Plugin, report: Callable[[Scan], None], patience: float = PATIENCE) -> None:
        self._plugin = plugin
        self._report = report
        self._patience = patience
        self._requested = asyncio.Event()
        self._watch_failure = ""
        self._log = get_logger()

    def request(self) -> None:
        """Scan soon; many requests make one scan."""
        self._requested.set()

    async def run(self) -> None:
        """Scan for ever."""
        async with asyncio.TaskGroup() as tasks:
            if overrides(self._plugin, "watch"):
                tasks.create_task(self._watch())
            while True:
                self._requested.clear()
                await self._scan()
                await asyncio.sleep(COALESCE)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._requested.wait(), self._plugin.interval)

    async def _scan(self) -> None:
        scanning = in_thread("scan", lambda: scan(self._plugin))
        done, _ = await asyncio.wait([scanning], timeout=self._patience)
        if not done:
            self._tell(Scan(failure=f"the scan for devices has not ended within {self._patience:g} s"))
        self._tell(await scanning)

    def _tell(self, result: Scan) -> None:
        self._report(msgspec.structs.replace(result, failure=result.failure or self._watch_failure))

    async def _watch(self) -> None:
        """Keep the plugin's watch running. While it cannot, changes would go unseen, so the devices are not trusted."""
        loop = asyncio.get_running_loop()
        delay, longest = WATCH_RETRY

        def changed() -> None:
            loop.call_soon_threadsafe(self.request)

        while True:
            watching = in_thread("watch", lambda: self._plugin.watch(changed))
            done, _ = await asyncio.wait([watching], timeout=longest if self._watch_failure else None)
            if not done:
                self._set_watch_failure("")
                delay = WATCH_RETRY[0]
                await asyncio.wait([watching])
            error = watching.exception()
            if error is None:
                self._set_watch_failure("")
                return
            self._set_watch_failure(f"the watch for hardware events failed: {_describe(error)}")
            await asyncio.sleep(delay)
            delay = min(2 * delay, longest)

    def _set_watch_failure(self, failure: str) -> None:
        if failure != self._watch_failure:
            self._log.warning("watch", failure=failure or "over")
        self._watch_failure = failure
        self.request()


def scan(plugin: Plugin) -> Scan:
    """Ask the plugin for its devices and check them, by resource."""
    reason = ""
    try:
        declared = list(plugin.resources())
        try:
            offered = list(plugin.devices())
        except NoDevices as nothing:
            offered, reason = [], str(nothing)
    except Exception as error:  # noqa: BLE001 - foreign code; the failure becomes the devices' condition
        return Scan(failure=f"the scan for devices failed: {_describe(error)}")
    snapshots = {resource: Snapshot(reason=reason) for resource in declared}
    for resource, devices in _by_resource(plugin, offered):
        snapshots[resource] = Snapshot.of(devices)
    return Scan(snapshots, reason=reason)


def _by_resource(plugin: Plugin, offered: Iterable[Device]) -> Iterable[tuple[str, list[Device]]]:
    def resource(device: Device) -> str:
        return str(getattr(device, "resource", "") or plugin.resource)

    # Sorting is stable: within a resource the plugin's own order stays.
    return [(name, list(devices)) for name, devices in groupby(sorted(offered, key=resource), key=resource)]


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
