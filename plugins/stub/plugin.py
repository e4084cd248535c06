"""The plugin: it serves the configured devices, with the faults in the fault file."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any, NoReturn

from hub import Allocation, Device, DeviceNode, Plugin, fill_template
from plugins.stub.faults import Crash, Faults, read_faults
from plugins.stub.settings import StubNode, StubResource, StubSettings

FAULTS_FILE = "stub-faults.yaml"
"""The name of the fault file in the hub's run directory."""


class Stub(Plugin):
    """A plugin that serves the configured resources, with configurable faults."""

    settings: StubSettings

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the arguments of every plugin
        super().__init__(*args)
        self._faults_file = self._find_faults_file()
        if self.settings.reset:
            self.reset = "plugins.stub.reset:reset"
        self.reset_when_released = self.settings.reset_when_released
        self.reset_timeout = self.settings.reset_timeout

    def resources(self) -> Iterator[str]:
        """Return the configured resources."""
        return (resource.name for resource in self.settings.resources)

    def devices(self) -> Iterator[Device]:
        """Return the configured devices, unhealthy if the fault file says so."""
        faults = read_faults(self._faults_file)
        if faults.crash:
            _crash(faults.crash)
        if faults.hang:
            _hang()
        if faults.scan:
            raise RuntimeError(faults.scan)
        for resource in self.settings.resources:
            yield from self._devices_of(resource, faults)

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:  # noqa: ARG002 - they do not depend on devices
        """Return the configured labels."""
        return self.settings.labels

    def watch(self, changed: Callable[[], None]) -> None:
        """Watch the fault file."""
        if not self._faults_file:
            return
        # Imported here: only a plugin process with a fault file needs it.
        from asyncinotify import Inotify, Mask  # noqa: PLC0415 - see above

        with Inotify() as inotify:
            inotify.add_watch(self._faults_file.parent, Mask.CLOSE_WRITE | Mask.MOVE | Mask.DELETE)
            # For changes that happened before the watch was in place.
            changed()
            for event in inotify:
                if event.name is not None and event.name.name == self._faults_file.name:
                    changed()

    def reset_settings(self) -> Faults:
        """Return all faults, including those of resets."""
        return read_faults(self._faults_file)

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """Return what the devices define, after simulating the configured fault."""
        fault = read_faults(self._faults_file).allocate
        if fault.hang:
            _hang()
        if fault.fail:
            raise RuntimeError(fault.fail)
        if fault.delay:
            time.sleep(fault.delay)
        return super().allocate(devices)

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Choose devices on as few NUMA nodes as possible, starting with those of the required devices."""
        fault = read_faults(self._faults_file).prefer
        if fault.hang:
            _hang()
        if fault.fail:
            raise RuntimeError(fault.fail)
        wanted = {node for device in required for node in device.numa}
        crowd = Counter(node for device in available for node in device.numa)

        def rank(device: Device) -> tuple[bool, bool, int]:
            near = bool(wanted.intersection(device.numa))
            return device not in required, not near, -max((crowd[node] for node in device.numa), default=0)

        return sorted(available, key=rank)[:size]

    def _devices_of(self, resource: StubResource, faults: Faults) -> Iterator[Device]:
        short = resource.name.rpartition("/")[2]
        numbers = range(faults.devices.get(resource.name, resource.devices))
        places = cycle([(node,) for node in resource.numa]) if resource.numa else repeat(())
        for n, numa in zip(numbers, islice(places, len(numbers)), strict=True):
            name = f"{short}-{n}"
            yield Device(
                name,
                resource=resource.name,
                nodes=[_device_node(node, n) for node in resource.nodes],
                env={key: fill_template(value, {"id": name, "n": n}) for key, value in resource.env.items()},
                unhealthy=faults.unhealthy.get(name, ""),
                numa=numa,
            )

    def _find_faults_file(self) -> Path | None:
        if self.settings.faults:
            return Path(self.settings.faults)
        return Path(self.runtime.run_dir) / FAULTS_FILE if self.runtime else None


def _device_node(node: StubNode, n: int) -> DeviceNode:
    return DeviceNode(node.host_path, fill_template(node.container_path, {"n": n}), node.permissions)


def _hang() -> NoReturn:
    threading.Event().wait()
    raise AssertionError("this event is never set")


def _crash(crash: Crash) -> NoReturn:
    if crash.signal:
        signal.raise_signal(crash.signal)
    os._exit(crash.exit)
