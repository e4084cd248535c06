"""Asks a plugin for its devices: on a period, on request, and when the plugin says that something changed."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

import msgspec

from hub.api.device import Device, Excluded
from hub.api.plugin import NeedsRestart, NoDevices, Plugin, overrides
from hub.base.calls import Calls
from hub.base.failures import PluginError, PluginTimeout, printable
from hub.base.log import get_logger
from hub.base.place import place_of_function
from hub.plugin.deviceplugin.messages import Snapshot
from hub.plugin.devices.files import missing_files
from hub.plugin.devices.validation import wrong_answer
from hub.plugin.metrics.process import ProcessMetrics

COALESCE = 0.02
"""Seconds between the end of one scan and the next: a burst of events is one change, and each list costs the kubelet a
checkpoint on disk."""

WATCH_RETRY = (1.0, 30.0)
"""Seconds to wait before a failed watch is started again, and that it then has to hold before it is believed: at first,
and at most. They double with each failure."""


class Scan(msgspec.Struct, frozen=True):
    """The outcome of one scan."""

    snapshots: Mapping[str, Snapshot] = {}
    """By resource, those that the plugin declares without a device included."""
    reason: str = ""
    """Why the plugin has no device at all, or none that can be trusted."""
    fault: bool = False
    """Whether that is a fault, and not just a node without such hardware."""
    failed: bool = False
    """Nothing is known; the devices known so far cannot be trusted."""
    excluded: tuple[Excluded, ...] = ()
    """What is there and not advertised."""
    needs_restart: bool = False
    """Nothing will ever be known in this process."""


class Scanner:
    """Runs `Plugin.devices` and `Plugin.watch` in threads, never two scans at once.

    Args:
        plugin: Who is asked.
        report: Gets each scan, on the event loop.
        meter: Measures how long scans take.
    """

    def __init__(self, plugin: Plugin, report: Callable[[Scan], None], meter: ProcessMetrics) -> None:
        self._plugin = plugin
        self._report = report
        self._meter = meter
        self._calls = Calls()
        self._scans = 0
        self._scanning = False
        self._requested = asyncio.Event()
        self._watch_failure = ""
        self._log = get_logger()

    def request(self) -> None:
        """Scan soon; many requests make one scan."""
        self._requested.set()

    def running(self) -> tuple[int, float]:
        """The number of the scan that runs, 0 when none does, and the seconds that the plugin gives it."""
        return self._scans if self._scanning else 0, self._plugin.scan_timeout

    async def run(self) -> None:
        """Scan for ever."""
        async with asyncio.TaskGroup() as tasks:
            if overrides(self._plugin, "watch"):
                tasks.create_task(self._watch())
            while True:
                self._requested.clear()
                await self._scan()
                await asyncio.sleep(COALESCE)
                # Not wait_for, which before Python 3.12 forgets that it was cancelled when a request comes just then.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._plugin.scan_interval):
                        await self._requested.wait()

    async def _scan(self) -> None:
        distrust = self._watch_failure
        self._scans, self._scanning, begin = self._scans + 1, True, time.perf_counter()
        scanning = self._calls.start(self._plugin.devices, lambda: scan(self._plugin, distrust))
        done, _ = await asyncio.wait([scanning], timeout=self._plugin.scan_timeout)
        if not done:
            self._report(_overdue(self._plugin, self._calls.place(scanning)))
        found = await scanning
        self._scanning = False
        self._meter.scan_ended(time.perf_counter() - begin)
        self._report(found)

    async def _watch(self) -> None:
        """Keep the plugin's watch running. While it cannot, changes would go unseen, so the devices are not trusted."""
        loop = asyncio.get_running_loop()
        first, longest = WATCH_RETRY
        delay = 0.0

        def changed() -> None:
            loop.call_soon_threadsafe(self.request)

        while True:
            begin = loop.time()
            watching = self._calls.start(self._plugin.watch, lambda: self._plugin.watch(changed))
            await asyncio.wait([watching], timeout=delay if self._watch_failure else None)
            if not watching.done():
                self._set_watch_failure("")
                await asyncio.wait([watching])
            failure = watching.exception()
            if failure is None:
                self._set_watch_failure("")
                return
            if isinstance(failure.__cause__, NeedsRestart):
                self._report(_needs_restart(failure.__cause__))
                return
            self._set_watch_failure(str(failure))
            held = loop.time() - begin > longest
            delay = first if held or not delay else min(2 * delay, longest)
            await asyncio.sleep(delay)

    def _set_watch_failure(self, failure: str) -> None:
        """Take the devices for unhealthy, or no longer; the next scan says so."""
        if failure != self._watch_failure:
            self._watch_failure = failure
            self.request()


async def scan_in_time(plugin: Plugin) -> Scan:
    """What one scan finds, or that it takes longer than the plugin gives it."""
    calls = Calls()
    scanning = calls.start(plugin.devices, lambda: scan(plugin))
    done, _ = await asyncio.wait([scanning], timeout=plugin.scan_timeout)
    return scanning.result() if done else _overdue(plugin, calls.place(scanning))


def scan(plugin: Plugin, distrust: str = "") -> Scan:
    """Ask the plugin for its devices and check them, by resource.

    Args:
        plugin: Who is asked.
        distrust: Why none of the devices is healthy, whatever the plugin says; empty when there is no such reason.
    """
    declared: list[str] = []
    method: Callable[..., object] = plugin.resources
    try:
        declared = _declared(plugin)
        method = plugin.devices
        return _checked(plugin, declared, distrust)
    except NeedsRestart as end:
        return _needs_restart(end)
    except BaseException as error:  # noqa: BLE001 - foreign code; whatever it raises becomes the devices' condition
        get_logger().debug("scan failed", exc_info=True)
        reason = str(PluginError.of(error, method))
        return Scan({name: Snapshot(reason=reason) for name in declared}, reason, fault=True, failed=True)


def _checked(plugin: Plugin, declared: Iterable[str], distrust: str) -> Scan:
    reason, fault = distrust, bool(distrust)
    try:
        offered = _offered(plugin)
    except NoDevices as nothing:
        offered, reason, fault = [], printable(nothing), nothing.fault or fault
    snapshots = {name: Snapshot(reason=reason) for name in declared}
    excluded = tuple(
        Excluded(printable(each.id), printable(each.reason)) for each in offered if isinstance(each, Excluded)
    )
    devices_offered = [each for each in offered if not isinstance(each, Excluded)]
    where = place_of_function(plugin.devices)
    for name, devices in _by_resource(plugin, devices_offered):
        snapshot = Snapshot.of(devices, where)
        snapshot = snapshot.noting(missing_files(plugin.host, snapshot.devices.values()))
        snapshots[name] = snapshot.all_unhealthy(distrust) if distrust else snapshot
    return Scan(snapshots, reason, fault, excluded=excluded)


def _declared(plugin: Plugin) -> list[str]:
    answer: object = plugin.resources()
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise wrong_answer(answer, 'a list of resource names, such as ["example.com/name"]')
    return [_ascii(name) for name in answer]


def _offered(plugin: Plugin) -> list[Device | Excluded]:
    answer: object = plugin.devices()
    if isinstance(answer, (str, bytes, Mapping)) or not isinstance(answer, Iterable):
        raise wrong_answer(answer, "hub.Device objects: yield each of them, or return a list")
    return list(answer)


def _overdue(plugin: Plugin, place: str) -> Scan:
    timeout = PluginTimeout(plugin.devices, plugin.scan_timeout, place)
    return Scan(reason=str(timeout), fault=True, failed=True)


def _needs_restart(reason: NeedsRestart) -> Scan:
    return Scan(reason=printable(reason), fault=True, failed=True, needs_restart=True)


def _by_resource(plugin: Plugin, offered: Iterable[Device]) -> Iterable[tuple[str, list[Device]]]:
    def resource(device: Device) -> str:
        named: object = getattr(device, "resource", "")
        # What is no name makes the device invalid, not a resource of its own.
        return _ascii(named if named and isinstance(named, str) else plugin.resource)

    # Sorting is stable: within a resource the plugin's own order stays.
    return [(name, list(devices)) for name, devices in groupby(sorted(offered, key=resource), key=resource)]


def _ascii(name: object) -> str:
    """A resource name that can be written anywhere. A valid one stays as it is."""
    return str(name).encode("ascii", "backslashreplace").decode()
