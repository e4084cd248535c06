"""The plugin: the devices that the settings describe."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from hub import Device, Excluded, NoDevices, Plugin, SupervisedThread
from plugins.generic.allocation import Described, describe_all, shares
from plugins.generic.discovery.devnames import dev_names
from plugins.generic.discovery.devwatch import watch_files
from plugins.generic.discovery.sysfs import Sysfs
from plugins.generic.discovery.udev import DATABASE
from plugins.generic.health import Check, HealthChecks
from plugins.generic.preference import prefer
from plugins.generic.reset import ResetCommand, ResetCommands
from plugins.generic.resources import ServedFiles, search
from plugins.generic.settings import (
    MAX_RESOURCES,
    GenericSettings,
    Resource,
    SmarterEntry,
    fill_in,
    smarter_resources,
    still_served,
)

_SHOWN = 5
"""How many settings that match nothing a message names."""


class Generic(Plugin):
    """Device files, USB devices, PCI functions and other devices in sysfs."""

    settings: GenericSettings | tuple[SmarterEntry, ...]  # type: ignore[assignment] # that file is a list

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the arguments of every plugin
        super().__init__(*args)
        self._entries: Sequence[SmarterEntry] = ()
        self._resources: list[Resource] = []
        if isinstance(self.settings, tuple):
            self._entries, self.scan_interval = self.settings, GenericSettings().scan_interval
        else:
            self._resources, self.scan_interval = list(self.settings.all_resources), self.settings.scan_interval
            self.notes = self.settings.notes
        self.reset_resources = [resource.name for resource in self._resources if resource.reset]
        if self.reset_resources:
            self.reset = "plugins.generic.reset:reset"
            self.reset_timeout = max(resource.reset.timeout for resource in self._resources if resource.reset) + 1
        self._checking: SupervisedThread | None = None
        self._served = ServedFiles(self.runtime)
        self._checks = HealthChecks(self.host)
        self._order: Mapping[tuple[str, str], int] = {}
        self._resets: ResetCommands = {}

    def resources(self) -> Iterator[str]:
        """Return the configured resources, or those of files that were there before."""
        yield from (resource.name for resource in self._resources)
        yield from islice(still_served(self._entries, self._served.files), MAX_RESOURCES)

    def devices(self) -> Iterator[Device | Excluded]:
        """Return what there is now."""
        resources, excluded = self._current()
        sysfs = Sysfs(self.host)
        found: list[Described] = []
        missing = {}
        for resource in resources:
            try:
                result = search(self.host, sysfs, resource)
            except OSError as error:
                excluded[resource.name] = f"its hardware cannot be read: {error}"
                continue
            offered = describe_all(resource, result.found)
            found += offered.devices
            others = {**result.excluded, **offered.excluded}
            excluded |= {f"{resource.name} {name}": reason for name, reason in others.items()}
            if result.missing:
                missing[resource.name] = _first(result.missing)
        devices = self._shares(found)
        if not devices and not excluded:
            raise NoDevices("; ".join(f"{name}: {why}" for name, why in missing.items()) or "there are no resources")
        yield from devices
        yield from (Excluded(name, reason) for name, reason in {**missing, **excluded}.items())

    def prepare(self, devices: Sequence[Device]) -> Sequence[Device]:
        """Keep the names of resources that depend on files."""
        self._served.save()
        return devices

    def watch(self, changed: Callable[[], None]) -> None:
        """Watch the files, and the health of devices."""
        if any(resource.health.checks for resource in self._resources):
            self._checking = self._checking or SupervisedThread(
                "health checks", lambda: self._checks.run_forever(changed)
            )
            self._checking.start()
        patterns = [path for resource in self._resources for path in resource.patterns]
        if any(resource.uses_udev for resource in self._resources):
            # udev writes them after the kernel has made the device file.
            patterns.append(f"{DATABASE}/*")
        watch_files(self.host, patterns, changed)

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Choose devices on few NUMA nodes, spread over the hardware."""
        return prefer(available, required, size, self._order)

    def reset_settings(self) -> ResetCommands:
        """Return the commands of the devices."""
        return self._resets

    def _current(self) -> tuple[Sequence[Resource], dict[str, str]]:
        """Return the resources, which may depend on the files there are, and what is excluded from them."""
        if not self._entries:
            return self._resources, {}
        found = smarter_resources(self._entries, list(dev_names(self.host)))
        # The resource of a file that is gone stays, with no devices.
        self._served.add(found.files)
        return found.resources, dict(found.excluded)

    def _shares(self, found: Sequence[Described]) -> list[Device]:
        """Return the devices that containers can be allocated, and keep what other methods need of them."""
        faults = self._checks.update({each.key: check for each in found if (check := _check(each))})
        devices = [device for each in found for device in shares(each, faults.get(each.key, ""))]
        self._order = {(device.resource, device.id): number for number, device in enumerate(devices)}
        self._resets = {
            each.physical: ResetCommand(_filled(each, each.resource.reset.command), each.resource.reset.timeout)
            for each in found
            if each.resource.reset
        }
        return devices


def _check(described: Described) -> Check | None:
    health = described.resource.health
    if not health.checks:
        return None
    file = fill_in(health.file, described.values) if health.file else None
    return Check(file, health.content, _filled(described, health.command), health.interval, health.timeout)


def _filled(described: Described, command: Sequence[str]) -> tuple[str, ...]:
    return tuple(fill_in(word, described.values) for word in command)


def _first(reasons: Sequence[str]) -> str:
    more = len(reasons) - _SHOWN
    return "; ".join(reasons[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
