"""The configuration of the smarter-device-manager: a list of expressions for the names of device files."""

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from hub import Excluded, Settings, Unmatched
from plugins.generic.settings.goregex import compile_go
from plugins.generic.settings.resource import MAX_RESOURCES, Resource
from plugins.generic.settings.selectors import Count

PREFIX = "smarter-devices/"

NVIDIA = "nvidia-gpu"
"""The entry that does not match names in /dev, but stands for the integrated GPU of a Jetson."""


class SmarterEntry(Settings, frozen=True):
    """An entry of the list."""

    devicematch: str
    """A regular expression, found anywhere in the path below /dev."""
    nummaxdevices: Count = 0
    """How many containers can use each file at the same time."""

    def __post_init__(self) -> None:
        try:
            compile_go(self.devicematch)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f'devicematch is "{self.devicematch}", expected a regular expression: {error}') from None


class SmarterResources(NamedTuple):
    """What the entries define for the files that exist now."""

    resources: list[Resource]
    files: Mapping[str, str]
    """The paths below /dev, by resource."""
    others: list[Excluded | Unmatched]
    """Why files and entries are not served."""


def smarter_resources(entries: Sequence[SmarterEntry], names: Sequence[str]) -> SmarterResources:
    """Return a resource for each file that an entry matches.

    Args:
        entries: The entries.
        names: The paths below /dev.
    """
    resources: dict[str, Resource] = {}
    files: dict[str, str] = {}
    others: list[Excluded | Unmatched] = []
    for entry in entries:
        if entry.devicematch == NVIDIA:
            others.append(Excluded(NVIDIA, "plugins.gpu serves NVIDIA GPUs"))
            continue
        matches = list(_matches(entry, names))
        if not matches:
            others.append(Unmatched(f"no file in /dev matches {entry.devicematch}"))
        for name in matches:
            resource = _resource(entry, name)
            if resource.name not in resources and len(resources) >= MAX_RESOURCES:
                others.append(Excluded(f"/dev/{name}", f"there are {MAX_RESOURCES} resources already"))
                continue
            resources.setdefault(resource.name, resource)
            first = files.setdefault(resource.name, name)
            if first != name:
                problem = f"its resource, {resource.name}, is already used for /dev/{first}"
                others.append(Excluded(f"/dev/{name}", problem))
    return SmarterResources(list(resources.values()), files, others)


def still_served(entries: Sequence[SmarterEntry], files: Mapping[str, str]) -> list[str]:
    """Return those resources whose files an entry matches, whether or not the files exist."""
    return [name for name, file in files.items() if any(any(_matches(entry, [file])) for entry in entries)]


def _matches(entry: SmarterEntry, names: Sequence[str]) -> Iterator[str]:
    found = compile_go(entry.devicematch)
    return (name for name in names if found.search(name))


def _resource(entry: SmarterEntry, name: str) -> Resource:
    return Resource(
        name=PREFIX + re.sub("[^A-Za-z0-9_-]", "_", name),
        files=(glob.escape(f"/dev/{name}"),),
        count=entry.nummaxdevices,
        id="{share}",
    )
