"""The plugin: the devices that the settings describe."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from hub import Device, Excluded, Host, NoDevices, Plugin, SupervisedThread, Unmatched, fill_template, watch_directories
from plugins.generic.allocation import DescribedDevice, describe_all, shares
from plugins.generic.discovery.devnames import dev_names
from plugins.generic.discovery.devwatch import watched_directories
from plugins.generic.discovery.sysfs import Sysfs
from plugins.generic.discovery.udev import DATABASE
from plugins.generic.discovery.usual import usual_hardware
from plugins.generic.health import Check, HealthChecks
from plugins.generic.preference import prefer
from plugins.generic.reset import ResetCommand, ResetCommands
from plugins.generic.resources import Search, ServedFiles, search
from plugins.generic.settings import MAX_RESOURCES, GenericSettings, Resource, smarter_resources, still_served


class Generic(Plugin):
    """Device files, USB devices, PCI functions and other devices in sysfs."""

    settings: GenericSettings

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the arguments of every plugin
        super().__init__(*args)
        self._resources = self.settings.all_resources
        self.scan_interval = self.settings.scan_interval
        self.notes = self.settings.notes
        self.reset_resources = [resource.name for resource in self._resources if resource.reset]
        if self.reset_resources:
            self.reset = "plugins.generic.reset:reset"
            self.reset_timeout = max(resource.reset.timeout for resource in self._resources if resource.reset) + 1
        self._checking: SupervisedThread | None = None
        self._served = ServedFiles(self.runtime)
        self._checks = HealthChecks(self.host)
        if self.runtime.is_check and any(resource.health.command for resource in self._resources):
            self.notes = [*self.notes, "health check commands are not run during a check"]
        self._order: Mapping[tuple[str, str], int] = {}
        self._resets: ResetCommands = {}

    def resources(self) -> Iterator[str]:
        """Return the configured resources, and those of files that existed earlier."""
        yield from (resource.name for resource in self._resources)
        yield from islice(still_served(self.settings.smarter_devices, self._served.files), MAX_RESOURCES)

    def devices(self) -> Iterator[Device | Excluded | Unmatched]:
        """Return the devices that exist now."""
        sysfs = Sysfs(self.host)
        resources, others = self._current()
        found: list[DescribedDevice] = []
        for resource in resources:
            result = _search(self.host, sysfs, resource)
            offered = describe_all(resource, result.found)
            found += offered.devices
            excluded = {**result.excluded, **offered.excluded}
            others += (Excluded(f"{resource.name} {name}", reason) for name, reason in excluded.items())
            others += (Unmatched(reason, resource.name) for reason in result.missing)
        devices = self._shares(found)
        yield from devices
        yield from others
        if not devices and not any(isinstance(each, Excluded) for each in others):
            raise NoDevices(
                "nothing on this node matches the settings"
                if resources
                else "the settings define no resources: add some to the file that --config names in circus.ini"
            )

    def prepare(self, devices: Sequence[Device]) -> Sequence[Device]:
        """Save the names of the resources that depend on files."""
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
            # udev writes the properties after the kernel has created the device file.
            patterns.append(f"{DATABASE}/*")
        watch_directories(lambda: watched_directories(self.host, patterns), changed)

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Choose devices on as few NUMA nodes as possible, spread over the hardware."""
        return prefer(available, required, size, self._order)

    def hardware(self) -> Iterator[str]:
        """Return serial adapters, video devices, sound cards and the like."""
        return usual_hardware(self.host)

    def reset_settings(self) -> ResetCommands:
        """Return the reset commands of the devices."""
        return self._resets

    def _current(self) -> tuple[Sequence[Resource], list[Excluded | Unmatched]]:
        """Return the resources, including those that depend on existing files, and what is not served, and why."""
        entries = self.settings.smarter_devices
        if not entries:
            return self._resources, []
        found = smarter_resources(entries, list(dev_names(self.host)))
        # The resource of a file that no longer exists is kept, with no devices.
        self._served.add(found.files)
        absent = {name: self._served.files[name] for name in still_served(entries, self._served.files)}
        gone = [
            Unmatched(f"/dev/{file} does not exist", name) for name, file in absent.items() if name not in found.files
        ]
        return [*self._resources, *found.resources], [*found.others, *gone]

    def _check(self, described: DescribedDevice) -> Check | None:
        health = described.resource.health
        if not health.checks:
            return None
        file = fill_template(health.file, described.values) if health.file else None
        command = () if self.runtime.is_check else _filled(described, health.command)
        return Check(file, health.content, command, health.interval, health.timeout)

    def _shares(self, found: Sequence[DescribedDevice]) -> list[Device]:
        """Return the devices that can be allocated to containers, and store what other methods need about them."""
        faults = self._checks.update({each.key: check for each in found if (check := self._check(each))})
        devices = [device for each in found for device in shares(each, faults.get(each.key, ""))]
        self._order = {(device.resource, device.id): number for number, device in enumerate(devices)}
        self._resets = {
            each.physical: ResetCommand(_filled(each, each.resource.reset.command), each.resource.reset.timeout)
            for each in found
            if each.resource.reset
        }
        return devices


def _search(host: Host, sysfs: Sysfs, resource: Resource) -> Search:
    try:
        return search(host, sysfs, resource)
    except OSError as error:
        return Search(excluded={"hardware": f"it cannot be read: {error}"})


def _filled(described: DescribedDevice, command: Sequence[str]) -> tuple[str, ...]:
    # The label of a disk may be the name of a device: it must not become an option of the command.
    values = {name: re.sub("^-", "_", value) for name, value in described.values.items()}
    return tuple(fill_template(word, values) for word in command)
