"""The plugin: AMD GPUs from sysfs and KFD, with ROCm's resources."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from hub import Device, DeviceNode, Excluded, NoDevices, Plugin, RecoveryPolicy, Unmatched, pci_functions
from plugins.amd.discovery.facts import DriverFacts, Gpu, Link
from plugins.amd.discovery.gpus import CARDS, MODULE, GpusFound, read_driver, read_gpus, signature
from plugins.amd.discovery.kfd import KFD, read_links
from plugins.amd.health import Exporter, warning
from plugins.amd.labels import facts, node_labels
from plugins.amd.preference import Candidate, distance, prefer
from plugins.amd.reset.settings import CheckSettings
from plugins.amd.resources import Share, declared, plan
from plugins.amd.settings import AMDSettings, apply_environment

POLL_INTERVAL = 2.0
"""Seconds between checks of the partition modes; sysfs gives no notification when they change."""

AMD_VENDOR, GPU_CLASSES = "1002", ("03", "12")
"""The PCI vendor id, and the classes of display controllers and of accelerators."""

SCAN_INTERVAL = 60.0
"""Seconds between scans: everything that changes often is watched."""


class AMD(Plugin):
    """AMD GPUs, whole or partitioned."""

    settings: AMDSettings
    config_env = "CONFIG_FILE_PATH"
    hint_kind = "gpu"

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the arguments of every plugin
        super().__init__(*args)
        self.settings = apply_environment(self.settings, os.environ)
        self.scan_interval = self.settings.pulse or SCAN_INTERVAL
        # Repartitioning the cards of a node one by one takes GPUs away and brings them back several times.
        self.recovery = RecoveryPolicy(stable_for=self.settings.health.stable_for, max_recoveries=10)
        if self.settings.reset.check:
            self.reset = "plugins.amd.reset:reset"
        self._exporter = Exporter(self.host, self.settings.health)
        self._shares: Mapping[tuple[str, str], Share] = {}
        self._links: Mapping[tuple[str, str], Link] = {}
        self._linked: object = None
        self._labels: Mapping[str, str] = {}
        self._log = structlog.get_logger()

    def resources(self) -> Iterator[str]:
        """Return the resources that the settings name."""
        return iter(declared(self.settings))

    def devices(self) -> Iterator[Device | Excluded | Unmatched]:
        """Return the GPUs, each with the resource to which the settings assign it."""
        self._labels = {}
        found = self._find()
        driver = read_driver(self.host)
        self._labels = node_labels(found.gpus, driver)
        planned = plan(self.settings, found.gpus)
        self._read_links(found.gpus)
        self._shares = {(share.resource, share.id): share for share in planned.shares}
        for share in planned.shares:
            yield _device(share, driver, self._exporter.reports.fault(share.gpu))
        for name, reason in (*found.excluded.items(), *planned.excluded):
            yield Excluded(name, reason)
        yield from planned.unmatched
        if self._exporter.problem:
            yield Excluded("metrics exporter", f"it does not report the health of GPUs: {self._exporter.problem}")

    def labels(self, devices: Sequence[Device]) -> Mapping[str, str]:  # noqa: ARG002 - they are about all GPUs
        """Return the labels of AMD's node labeller."""
        return self._labels

    def watch(self, changed: Callable[[], None]) -> None:
        """Watch the partition modes, which GPUs exist, and what the metrics exporter reports."""
        pause = threading.Event()
        last: object = None
        while True:
            now = signature(self.host), self._exporter.poll()
            # Also true at first: something may have changed since the first scan, which does not query the exporter.
            if now != last:
                changed()
            last = now
            pause.wait(POLL_INTERVAL)

    def prefer(self, available: Sequence[Device], required: Sequence[Device], size: int) -> Sequence[Device]:
        """Choose GPUs that are close to each other, and keep whole cards free for other containers."""
        shares = self._shares
        cards = {share.gpu.card.pci: share.gpu.card for share in shares.values()}

        def candidates(devices: Sequence[Device]) -> list[Candidate]:
            found = [(device, shares.get((device.resource, device.id))) for device in devices]
            return [Candidate(device, share.gpu.card.pci, share.gpu.id) for device, share in found if share]

        def apart(one: str, other: str) -> int:
            return distance(cards[one], cards[other], self._links.get((one, other), Link.NONE))

        chosen = prefer(candidates(available), candidates(required), size, apart)
        if not chosen:
            self._log.warning("preference not found", available=len(available), required=len(required), size=size)
        return chosen

    def hardware(self) -> Iterator[str]:
        """Return AMD's GPUs on the PCI bus."""
        for function in pci_functions(self.host, vendor=AMD_VENDOR):
            if function.class_code.startswith(GPU_CLASSES):
                yield f"AMD GPU {function}"

    def reset_settings(self) -> CheckSettings:
        """Return the settings of a check."""
        return CheckSettings(self.settings.reset.timeout, self.settings.reset.memory_slack << 20)

    def _find(self) -> GpusFound:
        """Return the GPUs of the node.

        Raises:
            NoDevices: there are none, or none that can be used.
        """
        if not self.host.path(MODULE).exists():
            raise NoDevices(f"the amdgpu driver is not loaded: {MODULE} does not exist")
        found = read_gpus(self.host)
        if not found.gpus and not found.excluded:
            raise NoDevices(f"the amdgpu driver has no GPU: nothing in {CARDS}")
        if not self.host.path(KFD).exists():
            raise NoDevices(f"the amdgpu driver is loaded, but without KFD, its compute part: no {KFD}", fault=True)
        if not found.gpus:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in found.excluded.items())
            raise NoDevices(f"none of the GPUs can be used: {reasons}", fault=True)
        return found

    def _read_links(self, gpus: Sequence[Gpu]) -> None:
        """Read the links between cards, but only if the topology has changed: they are in thousands of files."""
        nodes = [gpu.node for gpu in gpus]
        if self._linked == nodes:
            return
        first: dict[str, Gpu] = {}
        for gpu in gpus:
            first.setdefault(gpu.card.pci, gpu)
        pci = {gpu.node.number: gpu.card.pci for gpu in gpus}
        links: dict[tuple[str, str], Link] = {}
        for card, gpu in first.items():
            for node, link in read_links(self.host, gpu.node.number).items():
                for pair in ((card, pci.get(node, "")), (pci.get(node, ""), card)):
                    links[pair] = max(link, links.get(pair, Link.NONE))
        self._links, self._linked = links, nodes


def _device(share: Share, driver: DriverFacts, fault: str) -> Device:
    gpu = share.gpu
    return Device(
        share.id,
        share.resource,
        nodes=[DeviceNode("/dev/kfd"), *(DeviceNode(f"/dev/dri/{name}") for name in gpu.files)],
        numa=() if gpu.card.numa is None else (gpu.card.numa,),
        physical=gpu.id if share.shares > 1 else "",
        pci=[gpu.card.pci],
        attributes=_attributes(share, driver),
        unhealthy=fault,
        warning=warning(gpu),
    )


def _attributes(share: Share, driver: DriverFacts) -> dict[str, str]:
    """Describe a GPU for administrators."""
    render = next((name for name in share.gpu.files if name.startswith("renderD")), "")
    more = {"render node": render, "shared": f"{share.shares} shares" if share.shares > 1 else ""}
    return facts(share.gpu, driver) | {name: value for name, value in more.items() if value}
