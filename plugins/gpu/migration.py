"""What changes on a node that migrates from NVIDIA's plugin and keeps its file.

NVIDIA's parser accepts `rename`, `devices` and `resources`, but NVIDIA's plugin ignores them with a warning. The hub
applies them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from plugins.gpu.discovery.facts import Gpu
from plugins.gpu.resources import plan
from plugins.gpu.settings.file import GPUSettings
from plugins.gpu.settings.sharing import ResourcePatterns, SharedResource, SharingMode, SharingSection

_IGNORED = "NVIDIA's plugin ignores this"
_IGNORED_AND_ALL = f"{_IGNORED} and shares all of them"


def differences(settings: GPUSettings, gpus: Sequence[Gpu]) -> Iterator[str]:
    """Name each key that has a different effect here, then say what that means for the resources of these GPUs."""
    for kind in ("gpus", "mig", "migs"):
        for number, pattern in enumerate(getattr(settings.resources, kind)):
            where = f"resources.{kind}[{number}]"
            yield f'{where}: devices that match "{pattern.pattern}" become {pattern.name}; {_IGNORED}'
    if mode := settings.sharing.mode:
        where = "sharing.mps" if settings.sharing.mps else "sharing.timeSlicing"
        for number, entry in enumerate(mode.resources):
            yield from _of_entry(f"{where}.resources[{number}]", mode, entry)
    if gpus:
        yield from _of_resources(settings, gpus)


def _of_entry(where: str, mode: SharingMode, entry: SharedResource) -> Iterator[str]:
    theirs, ours = mode.name_of(_as_nvidia(entry)), mode.name_of(entry)
    if theirs != ours:
        yield f"{where}.rename: shared devices become {ours} instead of {theirs}; {_IGNORED}"
    if isinstance(entry.devices, int):
        yield f"{where}.devices: shares only {entry.devices} of the {entry.name} devices; {_IGNORED_AND_ALL}"
    elif entry.devices != "all":
        named = ", ".join(map(str, entry.devices)) or "none"
        yield f"{where}.devices: shares only these {entry.name} devices: {named}; {_IGNORED_AND_ALL}"


def _of_resources(settings: GPUSettings, gpus: Sequence[Gpu]) -> Iterator[str]:
    theirs, ours = (
        Counter(share.resource for share in plan(each, gpus).shares)
        for each in (as_nvidia_applies_them(settings), settings)
    )
    for resource in dict.fromkeys([*theirs, *ours]):
        if theirs[resource] != ours[resource]:
            yield f"devices of {resource} on this node: {theirs[resource]} with NVIDIA's plugin, {ours[resource]} here"


def as_nvidia_applies_them(settings: GPUSettings) -> GPUSettings:
    """Return the settings as NVIDIA's plugin applies them."""
    sharing = settings.sharing
    modes = {
        name: msgspec.structs.replace(mode, resources=tuple(map(_as_nvidia, mode.resources)))
        for name, mode in (("time_slicing", sharing.time_slicing), ("mps", sharing.mps))
        if mode
    }
    return msgspec.structs.replace(settings, resources=ResourcePatterns(), sharing=SharingSection(**modes))


def _as_nvidia(entry: SharedResource) -> SharedResource:
    return msgspec.structs.replace(entry, rename="", devices="all")
