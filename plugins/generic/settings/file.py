"""The generic plugin's configuration file, which also takes the keys of the generic-device-plugin."""

from collections import Counter
from typing import Annotated, Any

import msgspec

from hub import Settings
from plugins.generic.settings.devices import have_count, read_devices
from plugins.generic.settings.resource import MAX_RESOURCES, Resource
from plugins.generic.settings.smarter import SmarterEntry


class GenericSettings(Settings, frozen=True):
    """The whole file. If it is a list, it has the format of the smarter-device-manager."""

    list_key = "smarter_devices"

    resources: Annotated[tuple[Resource, ...], msgspec.Meta(max_length=MAX_RESOURCES)] = ()
    """The resources."""
    scan_interval: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 60
    """Seconds between scans. Changes in /dev are seen at once; changes in sysfs alone, such as a driver that is bound,
    at the next scan."""
    domain: str = ""
    """The domain of the resources in `devices`: the generic-device-plugin's `--domain` flag."""
    devices: Annotated[tuple[Any, ...], msgspec.Meta(max_length=MAX_RESOURCES)] = ()
    """The devices of the generic-device-plugin, as in its file, or the values of its `--device` flag."""
    device: Annotated[tuple[Any, ...], msgspec.Meta(max_length=MAX_RESOURCES)] = ()
    """Another name for `devices`."""
    smarter_devices: Annotated[tuple[SmarterEntry, ...], msgspec.Meta(max_length=MAX_RESOURCES)] = ()
    """The list of the smarter-device-manager."""
    plugin_directory: str = msgspec.field(default="", name="plugin-directory")
    """Has no effect: the hub sets the directory."""
    log_level: str = msgspec.field(default="", name="log-level")
    """Has no effect: the hub sets the level."""
    listen: str = ""
    """Has no effect: the hub serves the metrics."""

    def __post_init__(self) -> None:
        if self.entries and not self.domain:
            raise ValueError(
                'devices need the key "domain": the one that pods request, such as squat.ai (devic.es since version '
                "0.2.0 of the generic-device-plugin)"
            )
        for resource, times in Counter(resource.name for resource in self.all_resources).items():
            if times > 1:
                raise ValueError(f"the resource {resource} is configured {times} times, expected once")

    @property
    def entries(self) -> tuple[Any, ...]:
        """The entries of the generic-device-plugin."""
        return (*self.device, *self.devices)

    @property
    def all_resources(self) -> tuple[Resource, ...]:
        """The resources of both kinds."""
        return (*self.resources, *read_devices(self.entries, self.domain))

    @property
    def notes(self) -> list[str]:
        """Sentences about keys that have no effect."""
        ignored = {"plugin-directory": self.plugin_directory, "log-level": self.log_level, "listen": self.listen}
        notes = [f"{key} has no effect here" for key, value in ignored.items() if value]
        if have_count(self.entries):
            notes.append("count next to the name of a device has no effect: set count in the device's groups")
        return notes
