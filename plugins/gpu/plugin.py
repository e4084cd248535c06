"""The plugin: it combines the driver's GPUs, the settings, and the responses to the kubelet."""

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
    pci_functions,
    watch_directories,
)
from plugins.gpu.allocation import ContainerEdits
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi import CdiFiles
from plugins.gpu.discovery.driverpaths import DISPLAY, NVIDIA, DriverPaths
from plugins.gpu.discovery.facts import DriverState, Xid
from plugins.gpu.health import Findings, XidFaults
from plugins.gpu.labels import node_labels
from plugins.gpu.migration import differences
from plugins.gpu.mps import MpsDaemons, impossible_resources
from plugins.gpu.nvml.driver import Driver
from plugins.gpu.nvml.driverlock import DriverLock
from plugins.gpu.nvml.failures import DriverFailure
from plugins.gpu.preference import group_of, prefer
from plugins.gpu.reset.settings import ResetSettings
from plugins.gpu.resources import Share, Sharing, attributes, plan
from plugins.gpu.settings.environment import apply_environment
from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.levels import ResetLevel
from plugins.gpu.settings.notes import notes
from plugins.gpu.settings.xids import XidPolicy

SLACK = 10.0
"""Seconds that a scan is allowed beyond the driver's calls."""


class GPU(Plugin):
    """NVIDIA GPUs and MIG devices, configured by NVIDIA's own file."""

    resource = "nvidia.com/gpu"
    config_env = "CONFIG_FILE"
    hint_kind = "gpu"
    settings: GPUSettings

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the arguments of every plugin
        super().__init__(*args)
        self.settings = settings = apply_environment(self.settings, os.environ)
        health = settings.dphub.health
        self.scan_interval = health.interval
        self.scan_timeout = health.driver_timeout + SLACK
        self.recovery = RecoveryPolicy(stable_for=health.stable_for)
        self._set_resets(settings.dphub.reset_levels)
        flags = settings.flags
        self._paths = DriverPaths(
            self.host,
            flags.nvidia_driver_root,
            flags.nvidia_dev_root or flags.nvidia_driver_root,
            flags.plugin.container_driver_root,
        )
        self.notes = self._settings_notes = list(notes(settings, os.environ))
        policy = XidPolicy.of(health.xids, os.environ)
        self._probes = policy.probes
        self._xids = XidFaults(policy)
        self._findings = Findings(health.findings)
        lock = DriverLock(self.runtime if self.reset else Runtime())
        self._driver = Driver(self._paths, self._on_xid, self._on_change, listen=policy.listens, lock=lock)
        self._files = DeviceFiles(self._paths, settings.imex)
        self._edits = ContainerEdits(settings, self._paths, self._files)
        self._cdi = CdiFiles(settings, self._paths, self._files)
        self._daemons = MpsDaemons(settings, self._paths, self.runtime, changed=self._on_change)
        self._plan = plan(settings, [])
        self._shares: Mapping[tuple[str, str], Share] = {}
        self._state = DriverState()
        self._driver_seen = False
        self._xid_pending = threading.Event()
        self._poll_pending = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._log = structlog.get_logger()

    def resources(self) -> Sequence[str]:
        """Return the resources that the settings name, even without a GPU."""
        return self._plan.resources

    def devices(self) -> Iterator[Device | Excluded]:
        """Return the GPUs and MIG devices that the settings select, with their health."""
        state = self._poll()
        self._plan = planned = plan(self.settings, state.gpus)
        self._shares = {(share.resource, share.id): share for share in planned.shares}
        self._files.refresh(state.gpus)
        self._cdi.build(state.gpus, state.driver)
        self.notes = [*self._settings_notes, *filter(None, [self._cdi.note])]
        if state.reason:
            raise NoDevices(state.reason, fault=self._driver_seen or self._paths.has_gpus())
        impossible = impossible_resources(planned.shares)
        yield from (self._device(share, impossible.get(share.resource, "")) for share in planned.shares)
        for name, reason in (*planned.excluded, *state.unknown):
            yield Excluded(name, reason)

    def prepare(self, devices: Sequence[Device]) -> Iterator[Device]:
        """Write the CDI files, and keep the MPS daemons running."""
        cdi_problem = self._cdi.write()
        # While the driver does not work, the daemons are left alone.
        mps_problems = {} if self._state.reason else self._daemons.ensure(self._plan.shares)
        for device in devices:
            mps_problem = mps_problems.get(device.resource, "")
            # None: not known yet, so it is neither healthy nor unhealthy.
            if mps_problem is not None:
                yield device.with_fault(cdi_problem).with_fault(mps_problem)

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:  # noqa: ARG002 - they are about all GPUs
        """Return the labels of GPU feature discovery."""
        return node_labels(self.settings, self._state, self._plan.shares, self.host)

    def watch(self, changed: Callable[[], None]) -> None:
        """Watch device files, which show that a driver was loaded, or a GPU plugged in or reset.

        Reports of the driver itself arrive in its own thread.
        """
        self._changed = changed
        if self._xid_pending.is_set():
            changed()
        watch_directories(
            lambda: [self._paths.device("/dev")],
            self._on_change,
            concerns=lambda path: path.name.startswith("nvidia"),
        )

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """Return what NVIDIA's plugin gives a container for these devices."""
        return self._edits.allocation(self._shares_of(devices))

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Choose the GPUs with the best connections, and shares of as many GPUs as possible."""
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
        """Count the XIDs that the driver reported."""
        samples = [Sample(count, {"xid": code}) for code, count in self._xids.counts().items()]
        return [Metric("dphub_gpu_xid_errors_total", "XIDs that the driver has reported.", samples, Kind.COUNTER)]

    def hardware(self) -> Iterator[str]:
        """Return NVIDIA's GPUs on the PCI bus."""
        return (f"NVIDIA GPU {each}" for each in pci_functions(self.host, vendor=NVIDIA, class_code=DISPLAY))

    def migrating(self) -> Iterator[str]:
        """Compare the settings with what NVIDIA's plugin makes of them, on the GPUs of this node if there are any."""
        try:
            gpus = self._driver.poll(self.settings.dphub.health.driver_timeout).gpus
        except DriverFailure as failure:
            self.notes = [*self.notes, f"the GPUs of this node are not taken into account: {failure}"]
            gpus = ()
        return differences(self.settings, gpus)

    def reset_settings(self) -> ResetSettings:
        """Return the settings of a reset."""
        flags = self.settings.flags
        levels = self.settings.dphub.reset_levels
        return ResetSettings(
            levels={share.uuid: levels.get(share.resource, ResetLevel.OFF) for share in self._plan.shares},
            driver_root=flags.nvidia_driver_root,
            dev_root=flags.nvidia_dev_root or flags.nvidia_driver_root,
            container_driver_root=flags.plugin.container_driver_root,
        )

    def reset_blocked(self, shares: Sequence[Device]) -> str:
        """Refuse the reset of a GPU that other containers may be using."""
        shared = {share.sharing for share in self._shares_of(shares)} - {Sharing.NONE}
        if shared:
            return f"it is shared ({', '.join(sorted(shared))}): other containers may be using it"
        return super().reset_blocked(shares)

    def _set_resets(self, levels: Mapping[str, ResetLevel]) -> None:
        self.reset_resources = [name for name, level in levels.items() if level is not ResetLevel.OFF]
        self.reset_clears_broken = [name for name, level in levels.items() if level is ResetLevel.RESET]
        if self.reset_resources:
            self.reset = "plugins.gpu.reset:reset"

    def _poll(self) -> DriverState:
        """Poll the driver; after an XID, return the last state, so that the XID is reported at once."""
        if self._xid_pending.is_set():
            self._xid_pending.clear()
            if self._poll_pending.is_set():
                # A poll was also requested, and follows at once.
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
        self._findings.update(state)
        self._state = state
        return state

    def _device(self, share: Share, mps_problem: str) -> Device:
        probed = (share.gpu.fault, share.mig.fault if share.mig else "", self._findings.fault(share.gpu))
        faults = (
            *(probed if self._probes else ()),
            self._xids.transient(share),
            self._cdi.problem,
            self._files.problem,
            self._edits.problem(share),
            mps_problem,
        )
        return Device(
            share.id,
            share.resource,
            unhealthy="; ".join(fault for fault in faults if fault),
            broken=self._xids.fatal(share),
            numa=() if share.gpu.numa is None else (share.gpu.numa,),
            physical=share.uuid,
            pci=[share.gpu.pci] if share.gpu.pci else (),
            attributes=attributes(share),
            warning=self._findings.warning(share.gpu) if self._probes else "",
        )

    def _shares_of(self, devices: Sequence[Device]) -> list[Share]:
        """Return the shares behind the devices that the kubelet names.

        Raises:
            ValueError: a device has since been removed.
        """
        shares = [self._shares.get((device.resource, device.id)) for device in devices]
        gone = [device.id for device, share in zip(devices, shares, strict=True) if share is None]
        if gone:
            raise ValueError(f"{', '.join(gone)} was just removed")
        return [share for share in shares if share is not None]

    def _on_xid(self, xid: Xid) -> None:
        """Record an XID; called in the driver's thread."""
        if self._xids.report(xid):
            self._xid_pending.set()
            self._changed()

    def _on_change(self) -> None:
        """Request a new poll; called in any thread."""
        self._poll_pending.set()
        self._changed()
