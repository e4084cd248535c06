"""Plan the advertised devices of a node: which GPUs are served, as which resource, and in how many shares."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from plugins.intel.discovery.gpus import DRI, Gpu
from plugins.intel.discovery.models import MODELS
from plugins.intel.settings import IntelSettings, MonitoringMode

I915, XE = "i915", "xe"
DRIVERS = (I915, XE)
MONITOR_ID = "all"
"""The id of the one device of a monitoring resource."""

VFIO_DRIVERS = ("vfio-pci", "xe-vfio-pci")


class Share(msgspec.Struct, frozen=True):
    """One device as the kubelet sees it: a GPU, or one of its shares."""

    gpu: Gpu
    number: int = 0
    of: int = 1
    """The number of shares of the GPU."""

    @property
    def id(self) -> str:
        """Its id for the kubelet: "PCI", or "PCI::NUMBER"."""
        return f"{self.gpu.pci}::{self.number}" if self.of > 1 else self.gpu.pci

    @property
    def resource(self) -> str:
        """The full name of its resource."""
        return resource_name(driver_of(self.gpu))


class Monitor(msgspec.Struct, frozen=True):
    """The device of a monitoring resource, with the files of several GPUs."""

    resource: str
    gpus: tuple[Gpu, ...]


class Plan(msgspec.Struct, frozen=True):
    """The advertised devices."""

    shares: tuple[Share, ...]
    monitors: tuple[Monitor, ...]
    excluded: tuple[tuple[str, str], ...]
    """Excluded GPUs by PCI address, and the reasons."""


def plan(settings: IntelSettings, gpus: Sequence[Gpu]) -> Plan:
    """Plan which devices to advertise for these GPUs."""
    reasons = {gpu.pci: _unselected(settings, gpu) or _unusable(gpu) for gpu in gpus}
    served = [gpu for gpu in gpus if not reasons[gpu.pci]]
    shares = settings.shared_dev_num
    return Plan(
        shares=tuple(Share(gpu, number, shares) for gpu in served for number in range(shares)),
        monitors=tuple(_monitors(settings, served)),
        excluded=tuple((pci, reason) for pci, reason in reasons.items() if reason),
    )


def declared(settings: IntelSettings) -> Iterator[str]:
    """Return the resources that are served even without a GPU."""
    yield from map(resource_name, DRIVERS)
    if settings.enable_monitoring:
        yield from dict.fromkeys(_monitoring(settings, driver) for driver in DRIVERS)


def resource_name(name: str) -> str:
    """Return the full name of a resource."""
    return f"gpu.intel.com/{name}"


def driver_of(gpu: Gpu) -> str:
    """Return the driver that names the resource of a GPU; i915 if the kernel shows none, as in Intel's plugin."""
    return gpu.driver or I915


def attributes(share: Share) -> dict[str, str]:
    """Describe a share for administrators."""
    gpu = share.gpu
    known = {
        "model": MODELS.get(gpu.device, ""),
        "device id": gpu.device,
        "driver": gpu.driver,
        "virtual function of": gpu.pf,
        "shared": f"{share.of} shares" if share.of > 1 else "",
    }
    return {name: value for name, value in known.items() if value}


def unmatched(settings: IntelSettings, gpus: Iterable[Gpu]) -> Iterator[str]:
    """Name the settings that select GPUs, but match none of these."""
    ids, addresses = {gpu.device for gpu in gpus}, {gpu.pci for gpu in gpus}
    if not ids:
        return
    for key, chosen in (("allow-ids", settings.allowed), ("deny-ids", settings.denied)):
        if chosen and not ids.intersection(chosen):
            yield f"{key} matches no GPU of this node: their device ids are {', '.join(sorted(ids))}"
    for address in sorted(set(settings.exclude) - addresses):
        yield f"exclude: this node has no Intel GPU at {address}"


def _unselected(settings: IntelSettings, gpu: Gpu) -> str:
    """Return why the settings do not select a GPU; empty if they do."""
    if gpu.pci in settings.exclude:
        return "excluded by the exclude setting"
    if not gpu.device:
        return "the kernel does not report its device id"
    if settings.allowed and gpu.device not in settings.allowed:
        return f"excluded by allow-ids, which does not contain {gpu.device}"
    if gpu.device in settings.denied:
        return f"excluded by deny-ids, which contains {gpu.device}"
    return ""


def _unusable(gpu: Gpu) -> str:
    """Return why a container cannot use a GPU; empty if it can."""
    if gpu.vfs:
        return f"it is split into {gpu.vfs} virtual functions: those are served instead"
    if gpu.files:
        return ""
    if gpu.absent:
        return f"its files do not exist in {DRI}: {', '.join(gpu.absent)}"
    return _without_files(gpu)


def _without_files(gpu: Gpu) -> str:
    """Return why the kernel provides no files for a GPU."""
    if not gpu.driver:
        return f"no driver is bound to it, expected {' or '.join(DRIVERS)}"
    if gpu.driver in VFIO_DRIVERS:
        return f"it is bound to {gpu.driver}, so only virtual machines can use it"
    if gpu.survivability:
        return f"{gpu.driver} found a fault, and only allows its firmware to be repaired (survivability mode)"
    return f"its driver {gpu.driver} provides no files in {DRI}"


def _monitors(settings: IntelSettings, gpus: Sequence[Gpu]) -> Iterator[Monitor]:
    if not settings.enable_monitoring:
        return
    groups: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        groups.setdefault(_monitoring(settings, driver_of(gpu)), []).append(gpu)
    yield from (Monitor(resource, tuple(members)) for resource, members in groups.items())


def _monitoring(settings: IntelSettings, driver: str) -> str:
    single = settings.monitoring_mode is MonitoringMode.SINGLE
    return resource_name("monitoring" if single else f"{driver}_monitoring")
