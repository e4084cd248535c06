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
        self._paths = DriverPaths(
            self.host,
            flags.nvidia_driver_root,
            flags.nvidia_dev_root or flags.nvidia_driver_root,
            flags.plugin.container_driver_root,
        )
        policy = XidPolicy.of(health.xids, os.environ)
        self._probes = policy.probes
        self._xids = XidFaults(policy)
        lock = DriverLock(self.runtime if self.reset else Runtime())
        self._driver = Driver(self._paths, self._on_xid, self._on_change, listen=policy.listens, lock=lock)
        self._files = DeviceFiles(self._paths, settings.imex)
        self._edits = ContainerEdits(settings, self._paths, self._files)
        self._cdi = CdiFiles(settings, self._paths, self._files)
        self._daemons = MpsDaemons(settings, self._paths, changed=self._on_change)
        self._plan = plan(settings, [])
        self._shares: Mapping[tuple[str, str], Share] = {}
        self._state = DriverState()
        self._driver_seen = False
        self._xid_pending = threading.Event()
        self._poll_pending = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._log = structlog.get_logger()

    def resources(self) -> Sequence[str]:
        """What the settings ask for, also while there is no GPU."""
        return self._plan.resources

    def devices(self) -> Iterator[Device | Excluded]:
        """GPUs and MIG devices as the settings want them, each as healthy as is known."""
        state = self._poll()
        self._plan = planned = plan(self.settings, state.gpus)
        self._shares = {(share.resource, share.id): share for share in planned.shares}
        self._files.refresh(state.gpus)
        self._cdi.update(state.gpus, state.driver)
        if state.reason:
            raise NoDevices(state.reason, fault=self._driver_seen or self._paths.has_gpus())
        troubles = self._daemons.ensure(planned.shares)
        for share in planned.shares:
            trouble = troubles.get(share.resource, "")
            # While nobody knows yet, it is neither healthy nor broken.
            if trouble is not None:
                yield self._device(share, trouble)
        for name, reason in (*planned.excluded, *state.unknown):
            yield Excluded(name, reason)

    def watch(self, changed: Callable[[], None]) -> None:
        """Device files that come and go; what the driver itself reports comes by its own thread."""
        self._changed = changed
        if self._xid_pending.is_set():
            changed()
        watch_device_files(self._paths, self._on_change)

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """What NVIDIA's plugin gives a container for these devices."""
        shares = self._shares_of(devices)
        allocation = self._edits.allocation(shares)
        try:
            write_allocation_hint(self.runtime, [share.gpu.pci for share in shares])
        except OSError as error:
            self._log.warning("allocation hint not written", reason=str(error))
        return allocation

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """The GPUs that are best connected, and shares of as many GPUs as possible."""
        resources = {device.resource for device in available}
        totals = Counter(group_of(share) for share in self._plan.shares if share.resource in resources)
        policy = self.settings.flags.plugin.shared_devices_allocation_policy
        topology = self._state.topology
        offered, kept = self._shares_of(available), self._shares_of(required)
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
        shared = {share.sharing for share in self._shares_of(shares)} - {Sharing.NONE}
        if shared:
            return f"it is shared ({', '.join(sorted(shared))}), and others may be using it"
        return super().reset_blocked(shares)

    def _set_resets(self, levels: Mapping[str, ResetLevel]) -> None:
        self.reset_resources = [name for name, level in levels.items() if level is not ResetLevel.OFF]
        self.reset_clears_broken = [name for name, level in levels.items() if level is ResetLevel.RESET]
        if self.reset_resources:
            self.reset = "plugins.gpu.reset:reset"

    def _poll(self) -> DriverState:
        """What the driver knows now; after an XID what it knew last, for that is news enough to be told at once."""
        if self._xid_pending.is_set():
            self._xid_pending.clear()
            if self._poll_pending.is_set():
                # A look was wanted too, and comes right after.
                self._changed()
            return self._state
        self._poll_pending.clear()
        try:
            state = self._driver.poll(self.settings.dphub.health.driver_timeout)
        except DriverFailure as failure:
            raise NeedsRestart(str(failure)) from failure
        if state.reason and self.settings.flags.fail_on_init_error and not self._driver_seen:
            raise NeedsRestart(f"{state.reason} (and flags.failOnInitError is true)")
        self._driver_seen = self._driver_seen or bool(state.driver)
        self._xids.settle(state)
        self._state = state
        return state

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

    def _shares_of(self, devices: Sequence[Device]) -> list[Share]:
        """What is behind devices of the kubelet's.

        Raises:
            ValueError: one went while the question was under way.
        """
        shares = [self._shares.get((device.resource, device.id)) for device in devices]
        gone = [device.id for device, share in zip(devices, shares, strict=True) if share is None]
        if gone:
            raise ValueError(f"{', '.join(gone)} went just now")
        return [share for share in shares if share is not None]

    def _on_xid(self, xid: Xid) -> None:
        """Called in the driver's thread."""
        if self._xids.report(xid):
            self._xid_pending.set()
            self._changed()

    def _on_change(self) -> None:
        """Something may be other than it was known to be; called in any thread."""
        self._poll_pending.set()
        self._changed()
