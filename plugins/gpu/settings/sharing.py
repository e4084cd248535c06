"""`resources` and `sharing`: what devices are called, and how many containers share one."""

import os
import re

from msgspec.structs import force_setattr

from hub import Settings
from plugins.gpu.settings.selectors import check_selector

GPU_RESOURCE = "nvidia.com/gpu"
"""What GPUs are advertised as that no pattern names."""

NAME_CHARACTERS = 63
"""The longest resource name, domain included, that NVIDIA's plugin takes."""

SHARED = ".shared"
"""What `renameByDefault` adds to a resource's name."""


def resource_name(name: str) -> str:
    """A resource's full name; NVIDIA's domain is added where it has none.

    Raises:
        ValueError: no kubelet would take it.
    """
    prefix = os.environ.get("RESOURCE_PREFIX") or "nvidia.com"
    full = name if "/" in name else f"{prefix}/{name}"
    if len(full) > NAME_CHARACTERS:
        raise ValueError(
            f'the resource name "{full}" has {len(full)} characters, at most {NAME_CHARACTERS} are allowed'
        )
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?", full):
        raise ValueError(
            f'"{full}" is no resource name, expected small letters, digits, "-" and "." after "nvidia.com/"'
        )
    return full


class Pattern(Settings, frozen=True):
    """Devices whose product name (or MIG profile) matches a pattern are of this resource."""

    pattern: str
    """`*` stands for any text; found anywhere in the name, as NVIDIA's plugin does."""
    name: str
    """The resource; NVIDIA's domain is added where it has none."""

    def __post_init__(self) -> None:
        force_setattr(self, "name", resource_name(self.name))

    def matches(self, text: str) -> bool:
        """Whether a product or profile is meant."""
        return bool(re.search(".*".join(map(re.escape, self.pattern.split("*"))), text))


class ResourcePatterns(Settings, frozen=True):
    """`resources`; the first pattern that matches names the resource."""

    gpus: tuple[Pattern, ...] = ()
    """What GPUs are called, by their product name."""
    mig: tuple[Pattern, ...] = ()
    """What MIG devices are called, by their profile."""
    migs: tuple[Pattern, ...] = ()
    """The same as `mig`, NVIDIA's own name for it."""


class SharedResource(Settings, frozen=True):
    """Devices of a resource that several containers share."""

    name: str
    """The resource whose devices are shared; NVIDIA's domain is added where it has none."""
    replicas: int
    """How many containers share a device; at least 2."""
    rename: str = ""
    """What the shared devices are advertised as. Empty: as `name`, or as `renameByDefault` has it."""
    devices: str | int | tuple[int | str, ...] = "all"
    """`all`, so many, or a list of indices, MIG indices ("0:1") or UUIDs."""

    def __post_init__(self) -> None:
        force_setattr(self, "name", resource_name(self.name))
        if self.rename:
            force_setattr(self, "rename", resource_name(self.rename))
        if self.replicas < 2:  # noqa: PLR2004 - one is no sharing
            raise ValueError(f"replicas is {self.replicas}, expected at least 2")
        if isinstance(self.devices, str) and self.devices != "all":
            raise ValueError(f'devices is "{self.devices}", expected "all", a number, or a list')
        if isinstance(self.devices, int) and self.devices < 1:
            raise ValueError(f"devices is {self.devices}, expected at least 1")
        if isinstance(self.devices, tuple):
            for selector in self.devices:
                check_selector(selector, pci=False)


class SharingMode(Settings, frozen=True, rename="camel"):
    """`sharing.timeSlicing` or `sharing.mps`."""

    resources: tuple[SharedResource, ...]
    """What is shared."""
    rename_by_default: bool = False
    """Whether `.shared` is added to the name of a resource that is shared."""
    fail_requests_greater_than_one: bool | None = None
    """Whether a container that asks for more than one share is refused. Nothing said: yes for MPS, else no."""
    strategy: str = ""
    """A relic of NVIDIA's file; only the empty text is known."""

    def __post_init__(self) -> None:
        if self.strategy:
            raise ValueError(f'strategy is "{self.strategy}", expected none: there is only one')
        if not self.resources:
            raise ValueError("resources is empty, expected at least one")
        whole: set[str] = set()
        for number, resource in enumerate(self.resources):
            if resource.name in whole:
                raise ValueError(f"resources[{number}]: all devices of {resource.name} are shared by an entry before")
            if resource.devices == "all":
                whole.add(resource.name)

    def name_of(self, resource: SharedResource) -> str:
        """What shared devices of a resource are advertised as."""
        return resource.rename or (resource.name + SHARED if self.rename_by_default else resource.name)


class SharingSection(Settings, frozen=True, rename="camel"):
    """`sharing`: one of the two, or none."""

    time_slicing: SharingMode | None = None
    mps: SharingMode | None = None

    def __post_init__(self) -> None:
        if self.time_slicing and self.mps:
            raise ValueError("there are both timeSlicing and mps, expected one of them")

    @property
    def mode(self) -> SharingMode | None:
        """How devices are shared, if they are."""
        return self.mps or self.time_slicing

    @property
    def single_requests(self) -> bool:
        """Whether a container may have only one shared device; MPS means so unless told otherwise, as NVIDIA's does."""
        if self.mode is None:
            return False
        said = self.mode.fail_requests_greater_than_one
        return self.mps is not None if said is None else said
