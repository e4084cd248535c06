"""The plugin: Intel GPUs from sysfs, shared as the settings specify."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hub import (
    Device,
    Excluded,
    NoDevices,
    Plugin,
    RecoveryPolicy,
    Unmatched,
    pci_functions,
    watch_directories,
)
from plugins.intel.allocation import device_nodes, environment, monitor_nodes, mounts
from plugins.intel.discovery.gpus import BY_PATH, DEV, DISPLAY, DRI, VENDOR, Gpu, read_gpus
from plugins.intel.health import Health, health_source
from plugins.intel.labels import node_labels
from plugins.intel.preference import prefer
from plugins.intel.resources import MONITOR_ID, Monitor, Share, attributes, declared, plan, unmatched
from plugins.intel.settings import ByPath, IntelSettings, ineffective


class Intel(Plugin):
    """Intel GPUs, served as Intel's own plugin serves them."""

    settings: IntelSettings
    hint_kind = "gpu"
    # A GPU cools down on its own, and becomes hot again under the same load; that is not a sign of a bad GPU.
    recovery = RecoveryPolicy(stable_for=30, max_recoveries=1000)

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the arguments of every plugin
        super().__init__(*args)
        self._health = health_source(self.host, self.settings)
        self.notes = list(ineffective(self.settings))
        self._labels: Mapping[str, str] = {}

    def resources(self) -> Iterator[str]:
        """Return the resources of both drivers, and those for monitoring."""
        return declared(self.settings)

    def devices(self) -> Iterator[Device | Excluded | Unmatched]:
        """Return the GPUs that the settings select, as shares."""
        gpus = read_gpus(self.host)
        self._labels = node_labels(gpus)
        planned = plan(self.settings, gpus)
        health = self._health.read(list(dict.fromkeys(share.gpu for share in planned.shares)))
        has_links = self.host.path(BY_PATH).is_dir()
        self.notes = list(self._notes(gpus, has_links=has_links))
        if not gpus:
            raise NoDevices("there is no Intel GPU")
        for share in planned.shares:
            yield self._device(share, health.get(share.gpu.pci, Health()), has_links=has_links)
        yield from map(_monitor, planned.monitors)
        yield from (Excluded(pci, reason) for pci, reason in planned.excluded)
        yield from map(Unmatched, unmatched(self.settings, gpus))

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:  # noqa: ARG002 - they are about all GPUs
        """Return the labels of Intel's rules for Node Feature Discovery."""
        return self._labels

    def watch(self, changed: Callable[[], None]) -> None:
        """Watch device files: they show when a driver is loaded, or a GPU is plugged in or split into VFs."""
        watch_directories(
            lambda: [self.host.path(directory) for directory in (DEV, DRI, BY_PATH)], changed, concerns=self._concerns
        )

    def _concerns(self, path: Path) -> bool:
        dri = self.host.path(DRI)
        return dri in (path, *path.parents) or path.name.startswith("mei")

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Choose shares according to the allocation policy."""
        return prefer(self.settings.allocation_policy, available, required, size)

    def hardware(self) -> Iterator[str]:
        """Return Intel's GPUs on the PCI bus, including those without a driver."""
        return (f"Intel GPU {each}" for each in pci_functions(self.host, vendor=VENDOR, class_code=DISPLAY))

    def _notes(self, gpus: Sequence[Gpu], *, has_links: bool) -> Iterator[str]:
        yield from ineffective(self.settings)
        yield from self._health.notes()
        if gpus and not has_links and self.settings.bypath is not ByPath.NONE:
            yield f"bypath: containers get no links, because {BY_PATH} does not exist"

    def _device(self, share: Share, health: Health, *, has_links: bool) -> Device:
        gpu = share.gpu
        return Device(
            share.id,
            share.resource,
            nodes=device_nodes(gpu),
            mounts=mounts(gpu, self.settings.bypath, has_links=has_links),
            env=environment(gpu, self.settings.render_env),
            unhealthy=health.fault,
            numa=() if gpu.numa is None else (gpu.numa,),
            physical=gpu.pci if share.of > 1 else "",
            pci=[gpu.pci],
            attributes=attributes(share),
            warning=health.warning,
        )


def _monitor(monitor: Monitor) -> Device:
    """Return the one device of a monitoring resource; it has no NUMA nodes, because its GPUs may be on several."""
    gpus = monitor.gpus
    return Device(MONITOR_ID, monitor.resource, nodes=monitor_nodes(gpus), pci=[gpu.pci for gpu in gpus])
