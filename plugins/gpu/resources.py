"""Plan the advertised devices of a node: which device belongs to which resource, and in how many shares."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import msgspec

from plugins.gpu.discovery.facts import Gpu, MigDevice
from plugins.gpu.settings.file import GPUSettings, MigStrategy
from plugins.gpu.settings.selectors import selects
from plugins.gpu.settings.sharing import GPU_RESOURCE, Pattern, SharedResource, SharingMode


class Sharing(StrEnum):
    """How several containers share a GPU or MIG device."""

    NONE = "none"
    TIME_SLICING = "time-slicing"
    MPS = "mps"


class Share(msgspec.Struct, frozen=True):
    """One device as the kubelet sees it: a GPU, a MIG device, or a replica of either."""

    resource: str
    gpu: Gpu
    mig: MigDevice | None = None
    sharing: Sharing = Sharing.NONE
    replica: int = 0
    replicas: int = 1
    """How many shares the device has; the id has a replica number unless `sharing` is NONE."""

    @property
    def uuid(self) -> str:
        """The UUID of the MIG device, or of the GPU."""
        return self.mig.uuid if self.mig else self.gpu.uuid

    @property
    def id(self) -> str:
        """Its id for the kubelet: "UUID", or "UUID::REPLICA"."""
        return f"{self.uuid}::{self.replica}" if self.sharing is not Sharing.NONE else self.uuid

    @property
    def index(self) -> str:
        """The index of the GPU, "0", or of the MIG device, "0:1"."""
        return f"{self.gpu.index}:{self.mig.index}" if self.mig else str(self.gpu.index)


def attributes(share: Share) -> dict[str, str]:
    """Describe a share for administrators."""
    part, gpu = share.mig, share.gpu
    known = {
        "model": gpu.name,
        "index": share.index,
        "memory": _gibibytes((part or gpu).memory),
        "compute capability": ".".join(map(str, gpu.compute_capability or ())),
        "profile": part.profile if part else "",
        "GPU": gpu.uuid if part else "",
        "XIDs": "" if gpu.reports_xids else "not reported; only probes find its errors",
        "shared": f"{share.sharing}, {share.replicas} replicas" if share.sharing is not Sharing.NONE else "",
    }
    return {name: value for name, value in known.items() if value}


def _gibibytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.0f} GiB"


class Plan(msgspec.Struct, frozen=True):
    """The advertised devices and resources."""

    shares: tuple[Share, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    """Excluded devices: a UUID or the name in the settings, and the reason."""
    resources: tuple[str, ...] = ()
    """Resources to serve even without a device."""


def plan(settings: GPUSettings, gpus: Sequence[Gpu]) -> Plan:
    """Plan which devices to advertise for these GPUs."""
    excluded: dict[str, str] = {}
    whole = list(_resolved(settings, _chosen(settings, gpus, excluded), excluded))
    mode = settings.sharing.mode
    shares = list(_shared(settings, mode, whole, excluded)) if mode else whole
    return Plan(tuple(shares), tuple(excluded.items()), tuple(_declared(settings)))


def _chosen(settings: GPUSettings, gpus: Sequence[Gpu], excluded: dict[str, str]) -> Iterator[Share]:
    """Select GPUs and MIG devices by MIG strategy and exclusions; their resources are not set yet."""
    candidates = list(_candidates(settings.flags.mig_strategy, gpus, excluded))
    for share in candidates:
        for selector in settings.dphub.exclude:
            if selects(selector, share.gpu) or (share.mig and selects(selector, share.gpu, share.mig)):
                excluded[share.uuid] = f"excluded by dphub.exclude ({selector})"
    yield from (share for share in candidates if share.uuid not in excluded)


def _candidates(strategy: MigStrategy, gpus: Sequence[Gpu], excluded: dict[str, str]) -> Iterator[Share]:
    if strategy is MigStrategy.NONE:
        yield from (Share("", gpu) for gpu in gpus)
        return
    for gpu in gpus:
        if gpu.mig and not gpu.migs:
            excluded[gpu.uuid] = "MIG is enabled on this GPU, but it has no MIG devices"
    shares = [Share("", gpu, mig) for gpu in gpus for mig in (gpu.migs if gpu.mig else (None,))]
    if strategy is MigStrategy.SINGLE and any(gpu.mig for gpu in gpus):
        shares = list(_uniform(shares, excluded))
    yield from shares


def _uniform(shares: Sequence[Share], excluded: dict[str, str]) -> Iterator[Share]:
    """Select the MIG devices of the most common size, which the `single` strategy advertises under one name.

    NVIDIA's plugin serves nothing on the node if it finds a different size, or a GPU without MIG.
    """
    profiles = Counter(share.mig.profile for share in shares if share.mig)
    usual = max(profiles, key=lambda profile: profiles[profile], default="")
    for share in shares:
        if share.mig is None:
            excluded[share.uuid] = "flags.migStrategy is single, but only other GPUs on this node have MIG enabled"
        elif share.mig.profile != usual:
            what = f"this is a {share.mig.profile}, but most MIG devices on this node are {usual}"
            excluded[share.uuid] = f"flags.migStrategy is single: {what}"
        else:
            yield share


def _resolved(settings: GPUSettings, shares: Iterable[Share], excluded: dict[str, str]) -> Iterator[Share]:
    for share in shares:
        try:
            resource = _resource_of(settings, share)
        except ValueError as error:
            excluded[share.uuid] = str(error)
        else:
            yield msgspec.structs.replace(share, resource=resource)


def _resource_of(settings: GPUSettings, share: Share) -> str:
    patterns = settings.resources
    if share.mig is None:
        return _matched(patterns.gpus, share.gpu.name) or GPU_RESOURCE
    if resource := _matched((*patterns.mig, *patterns.migs), share.mig.profile):
        return resource
    if settings.flags.mig_strategy is MigStrategy.SINGLE:
        return GPU_RESOURCE
    if share.mig.compute_slices != share.mig.gpu_slices:
        slices = f"{share.mig.compute_slices} of {share.mig.gpu_slices}"
        raise ValueError(
            f"a {share.mig.profile} has {slices} compute slices, and no pattern in resources.mig matches it"
        )
    return f"nvidia.com/mig-{share.mig.profile.replace('+', '.')}"


def _matched(patterns: Iterable[Pattern], text: str) -> str:
    return next((pattern.name for pattern in patterns if pattern.matches(text)), "")


def _shared(
    settings: GPUSettings, mode: SharingMode, whole: Sequence[Share], excluded: dict[str, str]
) -> Iterator[Share]:
    sharing = Sharing.MPS if settings.sharing.mps else Sharing.TIME_SLICING
    entries: dict[str, SharedResource] = {}
    for entry in mode.entries:
        for share in _selected(entry, whole, excluded):
            entries.setdefault(share.uuid, entry)
    for share in whole:
        found = entries.get(share.uuid)
        if found is None:
            yield share
        elif sharing is Sharing.MPS and share.mig:
            excluded[share.uuid] = "MPS cannot share MIG devices"
        else:
            for replica in range(found.replicas):
                yield Share(mode.name_of(found), share.gpu, share.mig, sharing, replica, found.replicas)


def _selected(entry: SharedResource, whole: Sequence[Share], excluded: dict[str, str]) -> Sequence[Share]:
    """Return the devices that an entry of `sharing` selects; missing ones are reported as excluded."""
    of_resource = [share for share in whole if share.resource == entry.name]
    if isinstance(entry.devices, str):
        return of_resource
    if isinstance(entry.devices, int):
        if entry.devices > len(of_resource):
            there = f"only {len(of_resource)} of {entry.devices} devices of {entry.name} exist"
            excluded[f"{entry.name} devices"] = f"cannot be shared: {there}"
        return of_resource[: entry.devices]
    found = []
    for selector in entry.devices:
        named = [share for share in of_resource if selects(selector, share.gpu, share.mig)]
        if not named:
            excluded[f"{entry.name} device {selector}"] = "cannot be shared: it does not exist"
        found += named
    return found


def _declared(settings: GPUSettings) -> Iterable[str]:
    """Return the resources of whole GPUs that are known without a device."""
    patterns = settings.resources.gpus
    names = [pattern.name for pattern in patterns]
    if not any(pattern.pattern == "*" for pattern in patterns):
        names.append(GPU_RESOURCE)
    mode = settings.sharing.mode
    for entry in mode.entries if mode else ():
        if entry.name in names:
            names.append(mode.name_of(entry))  # type: ignore[union-attr] # the loop has entries
            if entry.devices == "all":
                names.remove(entry.name)
    return dict.fromkeys(names)
