"""The plugin: what the driver says of the GPUs, what the settings make of it, and what a container gets."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from hub import (
    Allocation,
    Device,
    Excluded,
    Kind,
    Metric,
    NeedsRestart,
    NoDevices,
    Plugin,
    RecoveryPolicy,
    Runtime,
    Sample,
    write_allocation_hint,
)
from plugins.gpu.allocation import ContainerEdits
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi import CdiFiles
from plugins.gpu.discovery.devwatch import watch_device_files
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import DriverState
from plugins.gpu.health import XidFaults
from plugins.gpu.mps import MpsDaemons
from plugins.gpu.nvml.driver import Driver, DriverFailure
from plugins.gpu.nvml.driverlock import DriverLock
from plugins.gpu.nvml.session import Xid
from plugins.gpu.preference import group_of, prefer
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.resources import Share, Sharing, attributes, plan
from plugins.gpu.settings.environment import apply_environment
from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.levels import ResetLevel
from plugins.gpu.settings.xids import XidPolicy

SLACK = 10.0
"""Seconds that a scan may take beside what the driver does."""


class GPU(Plugin):
    """NVIDIA GPUs and MIG devices, as NVIDIA's own configuration file says."""

    resource = "nvidia.com/gpu"
    config_env = "CONFIG_FILE"
    settings: GPUSettings

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - what every plugin takes
        super().__init__(*args)
        self.settings = settings = apply_environment(self.settings, os.environ)
        health = settings.dphub.health
        self.scan_interval = health.interval
        self.scan_timeout = health.driver_timeout + SLACK
        self.recovery = RecoveryPolicy(stable_for=health.quiet)
        self._set_resets(settings.dphub.reset_levels)
        flags = settings.flags
        self._places = DriverPaths(
            self.host,
            flags.nvidia_driver_root,
            flags.nvidia_dev_root or flags.nvidia_driver_root,
            flags.plugin.container_driver_root,
        )
        policy = XidPolicy.of(health.xids, os.environ)
        self._probes = policy.probes
        self._xids = XidFaults(policy)
        gate = DriverLock(self.runtime if self.reset else Runtime())
        self._driver = Driver(self._places, self._hear, self._wake, listen=policy.listens, gate=gate)
        self._files = DeviceFiles(self._places, settings.imex)
        self._answers = ContainerEdits(settings, self._places, self._files)
        self._cdi = CdiFiles(settings, self._places, self._files)
        self._daemons = MpsDaemons(settings, self._places, changed=self._wake)
        self._plan = plan(settings, [])
        self._shares: Mapping[tuple[str, str], Share] = {}
        self._view = DriverState()
        self._met_driver = False
        self._news = threading.Event()
        self._stale = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._log = structlog.get_logger()

    def resources(self) -> Sequence[str]:
        """What the settings ask for, also while there is no GPU."""
        return self._plan.resources

    def devices(self) -> Iterator[Device | Excluded]:
        """GPUs and MIG devices as the settings want them, each as healthy as is known."""
        view = self._look()
        self._plan = planned = plan(self.settings, view.gpus)
        self._shares = {(share.resource, share.id): share for share in planned.shares}
        self._files.refresh(view.gpus)
        self._cdi.update(view.gpus, view.driver)
        if view.reason:
            raise NoDevices(view.reason, fault=self._met_driver or self._places.has_gpus())
        troubles = self._daemons.ensure(planned.shares)
        for share in planned.shares:
            trouble = troubles.get(share.resource, "")
            # While nobody knows yet, it is neither healthy nor broken.
            if trouble is not None:
                yield self._device(share, trouble)
        for name, reason in (*planned.excluded, *view.unknown):
            yield Excluded(name, reason)

    def watch(self, changed: Callable[[], None]) -> None:
        """Device files that come and go; what the driver itself reports comes by its own thread."""
        self._changed = changed
        if self._news.is_set():
            changed()
        watch_device_files(self._places, self._wake)

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """What NVIDIA's plugin gives a container for these devices."""
        shares = self._found(devices)
        given = self._answers.allocation(shares)
        try:
            write_allocation_hint(self.runtime, [share.gpu.pci for share in shares])
        except OSError as error:
            self._log.warning("allocation hint not written", reason=str(error))
        return given

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """The GPUs that are best connected, and shares of as many GPUs as possible."""
        resources = {device.resource for device in available}
        totals = Counter(group_of(share) for share in self._plan.shares if share.resource in resources)
        policy = self.settings.flags.plugin.shared_devices_allocation_policy
        topology = self._view.topology
        offered, kept = self._found(available), self._found(required)
        chosen = prefer(topology, totals, policy, offered, kept, size)
        if not chosen:
            self._log.warning("preference not found", available=len(available), required=len(required), size=size)
        by_id = {device.id: device for device in available}
        return [by_id[share.id] for share in chosen]

    def metrics(self) -> list[Metric]:
        """How often the driver reported which XID."""
        samples = [Sample(count, {"xid": code}) for code, count in self._xids.counts().items()]
        return [Metric("dphub_gpu_xid_errors_total", "XIDs that the driver has reported.", samples, Kind.COUNTER)]

    def reset_settings(self) -> ResetSettings:
        """What a reset needs to know."""
        flags = self.settings.flags
        levels = self.settings.dphub.reset_levels
        return ResetSettings(
            levels={share.uuid: levels.get(share.resource, ResetLevel.OFF) for share in self._plan.shares},
            driver_root=flags.nvidia_driver_root,
            dev_root=flags.nvidia_dev_root or flags.nvidia_driver_root,
            container_driver_root=flags.plugin.container_driver_root,
        )

    def reset_blocked(self, shares: Sequence[Device]) -> str:
        """A GPU that others may be using is never reset."""
        shared = {share.sharing for share in self._found(shares)} - {Sharing.NONE}
        if shared:
            return f"it is shared ({', '.join(sorted(shared))}), and others may be using it"
        return super().reset_blocked(shares)

    def _set_resets(self, levels: Mapping[str, ResetLevel]) -> None:
        self.reset_resources = [name for name, level in levels.items() if level is not ResetLevel.OFF]
        self.reset_clears_broken = [name for name, level in levels.items() if level is ResetLevel.RESET]
        if self.reset_resources:
            self.reset = "plugins.gpu.reset:reset"

    def _look(self) -> DriverState:
        """What the driver knows now; after an XID what it knew last, for that is news enough to be told at once."""
        if self._news.is_set():
            self._news.clear()
            if self._stale.is_set():
                # A look was wanted too, and comes right after.
                self._changed()
            return self._view
        self._stale.clear()
        try:
            view = self._driver.poll(self.settings.dphub.health.driver_timeout)
        except DriverFailure as failure:
            raise NeedsRestart(str(failure)) from failure
        if view.reason and self.settings.flags.fail_on_init_error and not self._met_driver:
            raise NeedsRestart(f"{view.reason} (and flags.failOnInitError is true)")
        self._met_driver = self._met_driver or bool(view.driver)
        self._xids.settle(view)
        self._view = view
        return view

    def _device(self, share: Share, trouble: str) -> Device:
        probed = (share.gpu.fault, share.mig.fault if share.mig else "")
        faults = (
            *(probed if self._probes else ()),
            self._xids.transient(share),
            self._cdi.problem,
            self._files.problem,
            trouble,
        )
        return Device(
            share.id,
            share.resource,
            unhealthy="; ".join(fault for fault in faults if fault),
            broken=self._xids.fatal(share),
            numa=() if share.gpu.numa is None else (share.gpu.numa,),
            physical=share.uuid,
            pci=[share.gpu.pci],
            attributes=attributes(share),
        )

    def _found(self, devices: Sequence[Device]) -> list[Share]:
        """What is behind devices of the kubelet's.

        Raises:
            ValueError: one went while the question was under way.
        """
        shares = [self._shares.get((device.resource, device.id)) for device in devices]
        gone = [device.id for device, share in zip(devices, shares, strict=True) if share is None]
        if gone:
            raise ValueError(f"{', '.join(gone)} went just now")
        return [share for share in shares if share is not None]

    def _hear(self, xid: Xid) -> None:
        """Called in the driver's thread."""
        if self._xids.report(xid):
            self._news.set()
            self._changed()

    def _wake(self) -> None:
        """Something may be other than it was known to be; called in any thread."""
        self._stale.set()
        self._changed()
